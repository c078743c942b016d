//! LOCK 41 and UNLOCK 42: queues for orderly consumers.

use protocol::bodies::{LockBatch, LockBatchResponse, UnlockBatch};
use protocol::command::NoHeader;
use protocol::fastjson;
use remoting::Request;

use super::{Answer, body};
use crate::broker::Broker;
use crate::limits;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// 41: takes or renews locks; answers with the queues that the client owns now.
pub(crate) fn lock(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let wanted: LockBatch = body(request)?;
    let queues = wanted.mq_set.iter();
    let names = queues.flat_map(|queue| [&queue.topic, &queue.broker_name]);
    for name in names.chain([&wanted.consumer_group, &wanted.client_id]) {
        if name.len() > limits::LOCK_NAME_MAX {
            let (bytes, limit) = (name.len(), limits::LOCK_NAME_MAX);
            return Err(Refusal::system(format!(
                "a name of {bytes} bytes, limit {limit}"
            )));
        }
    }
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
