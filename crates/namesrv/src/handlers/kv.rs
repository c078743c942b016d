//! Key-value configuration. Changes wait for the disk, so they are made one after the other by a
//! task of their own, and not by the connection's.

use std::sync::Arc;

use protocol::codes::request as codes;
use protocol::command::HeaderError;
use protocol::fastjson;
use protocol::headers::nameserver::{DeleteKvConfig, GetKvConfig, KvListByNamespace, PutKvConfig};
use remoting::Request;
use tokio::sync::mpsc;

use crate::Shared;
use crate::dispatch::{Answer, AnswerHeader, Answered, Refusal, finish};
use crate::kv::Kv;

impl Shared {
    /// PUT_KV_CONFIG 100, DELETE_KV_CONFIG 102: answered when it is on the disk.
    pub(crate) fn change_kv(&self, request: Request) {
        if let Err(error) = self.kv_changes.try_send(request) {
            finish(error.into_inner(), Err(Refusal::Busy));
        }
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

/// Makes the changes; ends when nobody can ask for one any more.
pub(crate) async fn make_changes(kv: Arc<Kv>, mut changes: mpsc::Receiver<Request>) {
    while let Some(request) = changes.recv().await {
        let kv = Arc::clone(&kv);
        let made = tokio::task::spawn_blocking(move || {
            let answered = change(&kv, &request);
            finish(request, answered);
        });
        if let Err(error) = made.await {
            tracing::error!("a change of the key-value configuration failed: {error}");
        }
    }
}

fn change(kv: &Kv, request: &Request) -> Answered {
    let peer = request.peer().remote_addr();
    if request.code == codes::DELETE_KV_CONFIG {
        let header: DeleteKvConfig<'_> = request.header()?;
        let (namespace, key) = (header.namespace.to_str(), header.key.to_str());
        kv.delete(&namespace, &key)?;
        tracing::info!(%peer, %namespace, %key, "configuration deleted");
        return Ok(Answer::default());
    }
    let header: PutKvConfig<'_> = request.header().map_err(|error| match error {
        HeaderError::Missing {
            field: "namespace" | "key",
        } => Refusal::NoNamespaceOrKey,
        other => Refusal::Header(other),
    })?;
    let (namespace, key) = (header.namespace.to_str(), header.key.to_str());
    let value = header.value.to_str();
    kv.put(&namespace, &key, &value)?;
    tracing::info!(%peer, %namespace, %key, %value, "configuration put");
    Ok(Answer::default())
}
