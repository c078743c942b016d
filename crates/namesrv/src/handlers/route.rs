//! Where topics and brokers are.

use protocol::fastjson;
use protocol::headers::nameserver::RouteInfo;
use remoting::Request;

use crate::Shared;
use crate::dispatch::{Answer, Answered, Refusal};
use crate::kv::ORDER_TOPIC_CONFIG;

/// Clients from this version on (`MQVersion` V4_9_4) read standard JSON.
const STANDARD_JSON_SINCE: i32 = 401;

impl Shared {
    /// GET_ROUTEINFO_BY_TOPIC 105.
    pub(crate) fn route_info(&self, request: &Request) -> Answered {
        if !self.is_ready() {
            return Err(Refusal::NotReady);
        }
        let header: RouteInfo<'_> = request.header()?;
        let topic = header.topic.to_str();
        let route = self
            .routes
            .read()
            .route(&topic, self.config.support_acting_master);
        let Some(mut route) = route else {
            return Err(Refusal::NoRoute(topic.into_owned()));
        };
        if self.config.order_message_enable {
            route.order_topic_conf = self.kv.find(ORDER_TOPIC_CONFIG, &topic);
        }
        let wants_standard = header.accept_standard_json_only.unwrap_or_default();
        Answer::body(
            match wants_standard || request.version >= STANDARD_JSON_SINCE {
                true => fastjson::to_vec_standard(&route),
                false => fastjson::to_vec(&route),
            },
        )
    }

    /// GET_BROKER_CLUSTER_INFO 106.
    pub(crate) fn cluster_info(&self) -> Answered {
        let info = self.routes.read().cluster_info();
        Answer::body(fastjson::to_vec(&info))
    }

    /// After a start, brokers may be given time to register before anybody is told that a topic
    /// does not exist.
    fn is_ready(&self) -> bool {
        let waited_ms = self.clock.now_ms() - self.started_ms;
        !self.config.need_wait_for_service
            || waited_ms >= i64::from(self.config.wait_seconds_for_service) * 1000
    }
}
