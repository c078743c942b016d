//! LOCK 41 and UNLOCK 42: queues for orderly consumers.

use protocol::bodies::{LockBatch, LockBatchResponse, UnlockBatch};
use protocol::command::NoHeader;
use protocol::fastjson;
use remoting::Request;

use super::{Answer, body};
use crate::broker::Broker;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// 41: takes or renews locks; answers with the queues that the client owns now.
pub(crate) fn lock(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let wanted: LockBatch = body(request)?;
    let now_ms = broker.clock.now_ms();
    let owned = broker.locks.lock().acquire(
        &wanted.consumer_group,
        &wanted.client_id,
        wanted.mq_set,
        now_ms,
    );
    let response = LockBatchResponse {
        lock_ok_mq_set: owned,
    };
    Ok(Answer::body(fastjson::to_vec(&response)))
}

/// 42: gives locks back.
pub(crate) fn unlock(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let given: UnlockBatch = body(request)?;
    broker
        .locks
        .lock()
        .release(&given.consumer_group, &given.client_id, &given.mq_set);
    Ok(Answer::done())
}
