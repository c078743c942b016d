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
    // Anybody may lock for a group, a member or not, as in Apache; but somebody has to.
    if !wanted.mq_set.is_empty() {
        named("consumerGroup", &wanted.consumer_group)?;
        named("clientId", &wanted.client_id)?;
    }
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
    named("consumerGroup", &given.consumer_group)?;
    broker
        .locks
        .lock()
        .release(&given.consumer_group, &given.client_id, &given.mq_set);
    Ok(Answer::done())
}

fn named(field: &str, name: &str) -> Result<(), Refusal> {
    match name {
        "" => Err(Refusal::system(format!("{field} is missing"))),
        _ => Ok(()),
    }
}
