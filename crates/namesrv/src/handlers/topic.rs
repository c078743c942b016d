//! Lists of topics, and single topics that come and go.

use protocol::bodies::TopicRoute;
use protocol::fastjson;
use protocol::headers::nameserver::{DeleteTopic, RegisterTopic, TopicsByCluster};
use remoting::Request;

use crate::Shared;
use crate::dispatch::{Answer, Answered, Refusal};
use crate::routes::Units;

impl Shared {
    /// GET_ALL_TOPIC_LIST_FROM_NAMESERVER 206.
    pub(crate) fn all_topics(&self) -> Answered {
        if !self.config.enable_all_topic_list {
            return Err(Refusal::Disabled);
        }
        Answer::body(fastjson::to_vec(&self.routes.read().topic_list()))
    }

    /// GET_TOPICS_BY_CLUSTER 224.
    pub(crate) fn topics_by_cluster(&self, request: &Request) -> Answered {
        self.check_lists_enabled()?;
        let header: TopicsByCluster<'_> = request.header()?;
        let topics = self
            .routes
            .read()
            .topics_of_cluster(&header.cluster.to_str());
        Answer::body(fastjson::to_vec(&topics))
    }

    /// GET_SYSTEM_TOPIC_LIST_FROM_NS 304.
    pub(crate) fn system_topics(&self) -> Answered {
        Answer::body(fastjson::to_vec(&self.routes.read().system_topics()))
    }

    /// GET_UNIT_TOPIC_LIST 311, GET_HAS_UNIT_SUB_TOPIC_LIST 312, GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST
    /// 313.
    pub(crate) fn unit_topics(&self, units: Units) -> Answered {
        self.check_lists_enabled()?;
        Answer::body(fastjson::to_vec(&self.routes.read().unit_topics(units)))
    }

    fn check_lists_enabled(&self) -> Result<(), Refusal> {
        match self.config.enable_topic_list {
            true => Ok(()),
            false => Err(Refusal::Disabled),
        }
    }

    /// DELETE_TOPIC_IN_NAMESRV 216.
    pub(crate) fn delete_topic(&self, request: &Request) -> Answered {
        let header: DeleteTopic<'_> = request.header()?;
        let cluster = header.cluster_name.filter(|cluster| !cluster.is_empty());
        let cluster = cluster.map(|cluster| cluster.to_str());
        self.routes
            .write()
            .delete_topic(&header.topic.to_str(), cluster.as_deref());
        if let Some(withheld) = self.log.allow() {
            tracing::info!(withheld, peer = %request.peer().remote_addr(), topic = %header.topic, "topic deleted");
        }
        Ok(Answer::default())
    }

    /// REGISTER_TOPIC_IN_NAMESRV 217.
    pub(crate) fn register_topic(&self, request: &Request) -> Answered {
        let header: RegisterTopic<'_> = request.header()?;
        if !request.body().is_empty() {
            let route: TopicRoute = fastjson::from_slice(request.body())?;
            self.routes
                .write()
                .register_topic(header.topic.to_str().into_owned(), route.queue_datas)?;
        }
        Ok(Answer::default())
    }
}
