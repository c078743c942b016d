//! The list of what is supported: one match over request codes. The span of a request is here and nowhere else.

use std::sync::Arc;

use protocol::codes::{self, request};
use remoting::{Peer, Request, Service};

use crate::broker::Broker;
use crate::handlers::send::{self, Sends};
use crate::handlers::{
    answer, answer_cold, client, group, lock, offset, pop, pull, query, recall, relay, reply,
    reset, send_back, topic, transaction,
};

/// A broker as connections see it.
pub(crate) struct Gate(pub(crate) Arc<Broker>);

impl Service for Gate {
    fn handle(&self, peer: &Arc<Peer>, requests: Vec<Request>) {
        let broker = &self.0;
        let _span =
            tracing::trace_span!("requests", peer = %peer.remote_addr(), count = requests.len())
                .entered();
        let mut sends = Sends::of(&requests);
        for request in requests {
            tracing::trace!(code = request.code, body = request.body().len());
            dispatch(broker, &mut sends, request);
        }
        sends.append(broker);
    }

    fn closed(&self, peer: &Arc<Peer>) {
        self.0.holds.closed(peer.id());
        client::closed(&self.0, peer);
    }
}

fn dispatch(broker: &Arc<Broker>, sends: &mut Sends, request: Request) {
    // Whatever comes behind a send finds its message stored.
    if !send::CODES.contains(&request.code) {
        sends.append(broker);
    }
    match codes::uncut(request.code) {
        request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
            sends.add(broker, request)
        }
        request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => pull::pull(broker, request),
        request::QUERY_CONSUMER_OFFSET => answer(request, |request| offset::query(broker, request)),
        request::UPDATE_CONSUMER_OFFSET => {
            answer(request, |request| offset::update(broker, request))
        }
        request::SEARCH_OFFSET_BY_TIMESTAMP => answer_cold(broker, request, offset::search),
        request::GET_MAX_OFFSET => answer(request, |request| offset::max(broker, request)),
        request::GET_MIN_OFFSET => answer(request, |request| offset::min(broker, request)),
        request::GET_EARLIEST_MSG_STORETIME => answer_cold(broker, request, offset::earliest),
        request::HEART_BEAT => answer(request, |request| client::heartbeat(broker, request)),
        request::UNREGISTER_CLIENT => {
            answer(request, |request| client::unregister(broker, request))
        }
        request::GET_CONSUMER_LIST_BY_GROUP => {
            answer(request, |request| client::list(broker, request))
        }
        request::CHECK_CLIENT_CONFIG => {
            answer(request, |request| client::check_config(broker, request))
        }
        request::CONSUMER_SEND_MSG_BACK => send_back::send_back(broker, request),
        request::END_TRANSACTION => transaction::end(broker, request),
        request::RESUME_CHECK_HALF_MESSAGE => transaction::resume(broker, request),
        request::QUERY_MESSAGE => answer_cold(broker, request, query::query),
        request::VIEW_MESSAGE_BY_ID => answer_cold(broker, request, query::view),
        request::RECALL_MESSAGE => recall::recall(broker, request),
        request::LOCK_BATCH_MQ => answer(request, |request| lock::lock(broker, request)),
        request::UNLOCK_BATCH_MQ => answer(request, |request| lock::unlock(broker, request)),
        request::SEND_REPLY_MESSAGE | request::SEND_REPLY_MESSAGE_V2 => {
            reply::reply(broker, request)
        }
        request::INVOKE_BROKER_TO_RESET_OFFSET => answer_cold(broker, request, reset::reset),
        request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => relay::status(broker, request),
        request::GET_CONSUMER_RUNNING_INFO => relay::running_info(broker, request),
        request::CONSUME_MESSAGE_DIRECTLY => relay::consume_directly(broker, request),
        request::GET_CONSUMER_CONNECTION_LIST => {
            answer(request, |request| group::consumers(broker, request))
        }
        request::GET_PRODUCER_CONNECTION_LIST => {
            answer(request, |request| group::producers(broker, request))
        }
        request::GET_TOPIC_STATS_INFO => answer_cold(broker, request, topic::stats),
        request::GET_TOPIC_CONFIG => answer(request, |request| topic::config(broker, request)),
        request::GET_SUBSCRIPTIONGROUP_CONFIG => {
            answer(request, |request| group::config(broker, request))
        }
        request::GET_CONSUME_STATS => answer_cold(broker, request, group::stats),
        request::QUERY_TOPIC_CONSUME_BY_WHO => {
            answer(request, |request| group::groups_of_topic(broker, request))
        }
        request::QUERY_TOPICS_BY_CONSUMER => {
            answer(request, |request| group::topics_of_group(broker, request))
        }
        request::QUERY_SUBSCRIPTION_BY_CONSUMER => {
            answer(request, |request| group::subscription(broker, request))
        }
        request::QUERY_ASSIGNMENT => pop::assignment(broker, request),
        request::SET_MESSAGE_REQUEST_MODE => pop::set_mode(broker, request),
        request::POP_MESSAGE => pop::pop(broker, request),
        request::ACK_MESSAGE => pop::ack(broker, request),
        request::BATCH_ACK_MESSAGE => pop::batch_ack(broker, request),
        request::CHANGE_MESSAGE_INVISIBLETIME => pop::change_invisible(broker, request),
        request::NOTIFICATION => pop::notification(broker, request),
        _ => request.refuse_unknown(),
    }
}
