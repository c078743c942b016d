//! What the benches of this crate share: a store on the real disk and messages for it.
#![expect(clippy::expect_used, reason = "a bench")]

use std::net::{Ipv4Addr, SocketAddr};

use protocol::record::Record;
use protocol::{LogOffset, QueueOffset};
use store::{Batch, Config, Disk, EntryTag, Store};
use tempfile::TempDir;

/// As the Java client sends them.
const PROPERTIES: &[u8] =
    b"UNIQ_KEY\x017F00000153C05E4B2D8A5C1D0A9B3F7E\x02WAIT\x01true\x02TAGS\x01TagA\x02";
pub(crate) const TOPIC: &str = "Orders";
pub(crate) const NOW_MS: i64 = 1_795_348_800_000;

/// An open store, in a directory that goes with it.
pub(crate) struct Bench {
    pub(crate) store: Store,
    body: Vec<u8>,
    _home: TempDir,
}

impl Bench {
    pub(crate) fn open(body_bytes: usize, sync_flush: bool) -> Bench {
        // Beside the build: where temporary files go by custom may be memory.
        let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let config = Config {
            sync_flush,
            index_enabled: false,
            log_file_bytes: 256 << 20,
            ..Config::new(home.path())
        };
        let (store, _) = Store::open(config, Disk::Os).expect("the store opens");
        Bench {
            store,
            body: vec![b'.'; body_bytes],
            _home: home,
        }
    }

    /// So many records, encoded.
    pub(crate) fn batch(&self, count: usize) -> Batch {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_911));
        let record = Record {
            queue_id: 0,
            flag: 0,
            queue_offset: QueueOffset(0),
            log_offset: LogOffset(0),
            sys_flag: 0,
            born_timestamp: NOW_MS,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &self.body,
            topic: TOPIC,
            properties: PROPERTIES,
        };
        let mut batch = Batch::with_capacity(count * (self.body.len() + 200));
        for _ in 0..count {
            let pushed = batch.push(&self.store, &record, EntryTag::Code(0));
            pushed.expect("it fits a record");
        }
        batch
    }

    pub(crate) fn append(&self, batch: &mut Batch) {
        self.store.append(batch, NOW_MS).expect("room on the disk");
    }
}
