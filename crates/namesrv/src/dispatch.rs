//! From a request to its answer: the one list of what a nameserver does, and the one place where
//! its errors become codes and remarks.

use std::sync::Arc;

use protocol::bodies::RegisterBrokerError;
use protocol::codes::{request as codes, response};
use protocol::command::{Header, HeaderError, NoHeader};
use protocol::fastjson;
use protocol::headers::nameserver::{
    AddWritePermResponse, GetKvConfigResponse, QueryDataVersionResponse, RegisterBrokerResponse,
    WipeWritePermResponse,
};
use protocol::text::Text;
use remoting::{Peer, Request, Service};

use crate::Shared;
use crate::kv::KvError;
use crate::routes::{Master, RegisterError, Units};

/// A successful answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) header: AnswerHeader,
    pub(crate) body: Vec<u8>,
}

/// The headers there are.
#[derive(Debug, Default)]
pub(crate) enum AnswerHeader {
    #[default]
    None,
    Master(Master),
    Value(String),
    Changed(bool),
    Wiped(i32),
    Added(i32),
}

/// Why a request is not carried out. The words are Apache's where it has some.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(" request type {0} not supported")]
    Unknown(i32),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("crc32 not match")]
    Checksum,
    #[error("Failed to decode RegisterBrokerBody, {0}")]
    Registration(#[from] RegisterBrokerError),
    #[error(transparent)]
    NotRegistered(#[from] RegisterError),
    #[error("body, {0}")]
    Body(#[from] fastjson::Error),
    #[error("name server not ready")]
    NotReady,
    #[error(
        "No topic route info in name server for the topic: {0}\n\
         See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
    )]
    NoRoute(String),
    #[error("namespace or key is null")]
    NoNamespaceOrKey,
    #[error("No config item, Namespace: {namespace} Key: {key}")]
    NoKey { namespace: String, key: String },
    #[error("No config item, Namespace: {0}")]
    NoNamespace(String),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("too many changes of the configuration wait for the disk")]
    Busy,
    #[error("disable")]
    Disabled,
    #[error("configuration can't be changed while running: change the file and restart")]
    FixedConfig,
}

pub(crate) type Answered = Result<Answer, Refusal>;

impl Service for Shared {
    fn handle(&self, peer: &Arc<Peer>, requests: Vec<Request>) {
        for request in requests {
            match request.code {
                codes::PUT_KV_CONFIG | codes::DELETE_KV_CONFIG => self.change_kv(request),
                _ => {
                    let answered = self.answer(peer, &request);
                    finish(request, answered);
                }
            }
        }
    }

    fn closed(&self, peer: &Arc<Peer>) {
        self.routes.write().closed(peer.id());
    }
}

/// Sends the answer.
pub(crate) fn finish(request: Request, answered: Answered) {
    match answered {
        Ok(answer) => answer.send(request),
        Err(refusal) => {
            let peer = request.peer().remote_addr();
            tracing::debug!(%peer, code = request.code, "refused: {refusal}");
            request.refuse(refusal.code(), &refusal.to_string());
        }
    }
}

impl Shared {
    fn answer(&self, peer: &Arc<Peer>, request: &Request) -> Answered {
        match request.code {
            codes::GET_ROUTEINFO_BY_TOPIC => self.route_info(request),
            codes::REGISTER_BROKER => self.register_broker(peer, request),
            codes::UNREGISTER_BROKER => self.unregister_broker(request),
            codes::QUERY_DATA_VERSION => self.query_data_version(request),
            codes::GET_BROKER_CLUSTER_INFO => self.cluster_info(),
            codes::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write_perm(request),
            codes::ADD_WRITE_PERM_OF_BROKER => self.add_write_perm(request),
            codes::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => self.all_topics(),
            codes::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(request),
            codes::REGISTER_TOPIC_IN_NAMESRV => self.register_topic(request),
            codes::GET_TOPICS_BY_CLUSTER => self.topics_by_cluster(request),
            codes::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.system_topics(),
            codes::GET_UNIT_TOPIC_LIST => self.unit_topics(Units::Unit),
            codes::GET_HAS_UNIT_SUB_TOPIC_LIST => self.unit_topics(Units::UnitSub),
            codes::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => self.unit_topics(Units::UnitSubOfNonUnit),
            codes::GET_KV_CONFIG => self.find_kv(request),
            codes::GET_KVLIST_BY_NAMESPACE => self.kv_list(request),
            codes::GET_NAMESRV_CONFIG => self.show_config(),
            codes::UPDATE_NAMESRV_CONFIG => Err(Refusal::FixedConfig),
            unknown => Err(Refusal::Unknown(unknown)),
        }
    }
}

impl Answer {
    pub(crate) fn body(body: Vec<u8>) -> Answered {
        Ok(Answer {
            body,
            ..Answer::default()
        })
    }

    pub(crate) fn header(header: AnswerHeader) -> Answered {
        Ok(Answer {
            header,
            ..Answer::default()
        })
    }

    fn send(self, request: Request) {
        fn success<'h>(request: Request, header: &impl Header<'h>, body: Vec<u8>) {
            request.reply(response::SUCCESS, None, header, body);
        }
        let body = self.body;
        match &self.header {
            AnswerHeader::None => success(request, &NoHeader, body),
            AnswerHeader::Master(master) => {
                let header = RegisterBrokerResponse {
                    ha_server_addr: master.ha_server_addr.as_deref().map(Text::plain),
                    master_addr: master.addr.as_deref().map(Text::plain),
                };
                success(request, &header, body);
            }
            AnswerHeader::Value(value) => {
                success(
                    request,
                    &GetKvConfigResponse {
                        value: Some(Text::plain(value)),
                    },
                    body,
                );
            }
            &AnswerHeader::Changed(changed) => {
                success(request, &QueryDataVersionResponse { changed }, body)
            }
            &AnswerHeader::Wiped(count) => {
                success(
                    request,
                    &WipeWritePermResponse {
                        wipe_topic_count: count,
                    },
                    body,
                );
            }
            &AnswerHeader::Added(count) => {
                success(
                    request,
                    &AddWritePermResponse {
                        add_topic_count: count,
                    },
                    body,
                );
            }
        }
    }
}

impl Refusal {
    fn code(&self) -> i32 {
        match self {
            Refusal::Unknown(_) => response::REQUEST_CODE_NOT_SUPPORTED,
            Refusal::NoRoute(_) => response::TOPIC_NOT_EXIST,
            Refusal::NoKey { .. } | Refusal::NoNamespace(_) => response::QUERY_NOT_FOUND,
            Refusal::Busy => response::SYSTEM_BUSY,
            Refusal::FixedConfig => response::NO_PERMISSION,
            Refusal::Header(_)
            | Refusal::Checksum
            | Refusal::Registration(_)
            | Refusal::NotRegistered(_)
            | Refusal::Body(_)
            | Refusal::NotReady
            | Refusal::NoNamespaceOrKey
            | Refusal::Kv(_)
            | Refusal::Disabled => response::SYSTEM_ERROR,
        }
    }
}
