//! Brokers come, show signs of life, change and go.

use std::sync::Arc;

use protocol::bodies::{DataVersion, RegisterBrokerBody};
use protocol::fastjson;
use protocol::headers::nameserver::{
    QueryDataVersion, RegisterBroker, UnregisterBroker, WritePerm,
};
use protocol::record::crc31;
use protocol::text::Text;
use remoting::{Peer, Request};

use crate::Shared;
use crate::dispatch::{Answer, AnswerHeader, Answered, Refusal};
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::routes::BrokerAddr;

/// First byte of a zlib stream as Java writes it.
const ZLIB: &[u8] = b"\x78";

impl Shared {
    /// REGISTER_BROKER 103.
    pub(crate) fn register_broker(&self, peer: &Arc<Peer>, request: &Request) -> Answered {
        let header: RegisterBroker<'_> = request.header()?;
        let body = request.body();
        if header.body_crc32 != 0 && header.body_crc32 as u32 != crc31(body) {
            return Err(Refusal::Checksum);
        }
        // A 5.3.3 broker with compressedRegister=true compresses but says that it does not, and
        // Apache's nameserver then refuses it. No JSON starts like a zlib stream.
        let registration = match header.compressed || body.starts_with(ZLIB) {
            _ if body.is_empty() => RegisterBrokerBody::default(),
            true => RegisterBrokerBody::decode_compressed(body, request.version)?,
            false => RegisterBrokerBody::decode(body)?,
        };
        let topics = registration.topic_config_serialize_wrapper;
        let delete_missing = self.config.delete_topic_with_broker_registration;
        let master = self.routes.write().register(
            &header,
            topics,
            peer,
            self.clock.now_ms(),
            delete_missing,
        )?;
        let ordered = match self.config.return_order_topic_config_to_broker {
            true => self.kv.namespace(ORDER_TOPIC_CONFIG),
            false => None,
        };
        let body = ordered
            .map(|table| fastjson::to_vec(&table))
            .unwrap_or_default();
        Ok(Answer {
            header: AnswerHeader::Master(master),
            body,
        })
    }

    /// UNREGISTER_BROKER 104.
    pub(crate) fn unregister_broker(&self, request: &Request) -> Answered {
        let header: UnregisterBroker<'_> = request.header()?;
        let addr = broker_addr(header.cluster_name, header.broker_addr);
        self.routes
            .write()
            .unregister(&addr, &header.broker_name.to_str());
        Ok(Answer::default())
    }

    /// QUERY_DATA_VERSION 322: whether a broker's topics differ from those registered; a sign of
    /// life, too.
    pub(crate) fn query_data_version(&self, request: &Request) -> Answered {
        let header: QueryDataVersion<'_> = request.header()?;
        let theirs: Option<DataVersion> = match request.body().is_empty() {
            true => None,
            false => Some(fastjson::from_slice(request.body())?),
        };
        let addr = broker_addr(header.cluster_name, header.broker_addr);
        let mut routes = self.routes.write();
        let ours = routes.data_version(&addr);
        routes.heard(&addr, self.clock.now_ms());
        let changed = ours.is_none() || ours != theirs;
        let body = ours.map(|ours| fastjson::to_vec(&ours)).unwrap_or_default();
        Ok(Answer {
            header: AnswerHeader::Changed(changed),
            body,
        })
    }

    /// WIPE_WRITE_PERM_OF_BROKER 205.
    pub(crate) fn wipe_write_perm(&self, request: &Request) -> Answered {
        let header: WritePerm<'_> = request.header()?;
        let topics = self
            .routes
            .write()
            .wipe_write_perm(&header.broker_name.to_str());
        if let Some(withheld) = self.log.allow() {
            tracing::info!(withheld, peer = %request.peer().remote_addr(), broker = %header.broker_name, topics, "write permission wiped");
        }
        Answer::header(AnswerHeader::Wiped(topics))
    }

    /// ADD_WRITE_PERM_OF_BROKER 327.
    pub(crate) fn add_write_perm(&self, request: &Request) -> Answered {
        let header: WritePerm<'_> = request.header()?;
        let topics = self
            .routes
            .write()
            .add_write_perm(&header.broker_name.to_str());
        if let Some(withheld) = self.log.allow() {
            tracing::info!(withheld, peer = %request.peer().remote_addr(), broker = %header.broker_name, topics, "write permission added");
        }
        Answer::header(AnswerHeader::Added(topics))
    }
}

fn broker_addr(cluster: Text<'_>, addr: Text<'_>) -> BrokerAddr {
    BrokerAddr {
        cluster: cluster.to_str().into_owned(),
        addr: addr.to_str().into_owned(),
    }
}
