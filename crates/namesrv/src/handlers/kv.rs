//! Key-value configuration.

use protocol::command::HeaderError;
use protocol::fastjson;
use protocol::headers::nameserver::{DeleteKvConfig, GetKvConfig, KvListByNamespace, PutKvConfig};
use remoting::Request;

use crate::Shared;
use crate::dispatch::{Answer, AnswerHeader, Answered, Refusal};

impl Shared {
    /// PUT_KV_CONFIG 100. Waits for the disk; happens by hand only.
    pub(crate) fn put_kv(&self, request: &Request) -> Answered {
        let header: PutKvConfig<'_> = request.header().map_err(|error| match error {
            HeaderError::Missing {
                field: "namespace" | "key",
            } => Refusal::NoNamespaceOrKey,
            other => Refusal::Header(other),
        })?;
        let (namespace, key, value) = (
            header.namespace.to_str(),
            header.key.to_str(),
            header.value.to_str(),
        );
        self.kv.put(&namespace, &key, &value)?;
        tracing::info!(peer = %request.peer().remote_addr(), %namespace, %key, %value, "configuration put");
        Ok(Answer::default())
    }

    /// GET_KV_CONFIG 101.
    pub(crate) fn find_kv(&self, request: &Request) -> Answered {
        let header: GetKvConfig<'_> = request.header()?;
        let (namespace, key) = (header.namespace.to_str(), header.key.to_str());
        match self.kv.find(&namespace, &key) {
            Some(value) => Answer::header(AnswerHeader::Value(value)),
            None => Err(Refusal::NoKey {
                namespace: namespace.into_owned(),
                key: key.into_owned(),
            }),
        }
    }

    /// DELETE_KV_CONFIG 102. Waits for the disk; happens by hand only.
    pub(crate) fn delete_kv(&self, request: &Request) -> Answered {
        let header: DeleteKvConfig<'_> = request.header()?;
        let (namespace, key) = (header.namespace.to_str(), header.key.to_str());
        self.kv.delete(&namespace, &key)?;
        tracing::info!(peer = %request.peer().remote_addr(), %namespace, %key, "configuration deleted");
        Ok(Answer::default())
    }

    /// GET_KVLIST_BY_NAMESPACE 219.
    pub(crate) fn kv_list(&self, request: &Request) -> Answered {
        let header: KvListByNamespace<'_> = request.header()?;
        let namespace = header.namespace.to_str();
        match self.kv.namespace(&namespace) {
            Some(table) => Answer::body(fastjson::to_vec(&table)),
            None => Err(Refusal::NoNamespace(namespace.into_owned())),
        }
    }
}
