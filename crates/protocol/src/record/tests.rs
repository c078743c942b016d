//! Records: round trip, strictness, batches.

use super::*;

fn record() -> Record<'static> {
    Record {
        queue_id: 3,
        flag: 9,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: "127.0.0.1:50000".parse().unwrap(),
        store_timestamp: 0,
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"hello",
        topic: "Topic",
        properties: b"KEYS\x01k\x02",
    }
}

#[test]
fn holes_are_stamped_whatever_the_hosts() {
    for born in ["127.0.0.1:50000", "[::1]:50000"] {
        for store in ["10.0.0.1:10911", "[fe80::1]:10911"] {
            let record = Record {
                born_host: born.parse().unwrap(),
                store_host: store.parse().unwrap(),
                ..record()
            };
            let mut out = BytesMut::new();
            let size = record.encode(&mut out).unwrap();
            assert_eq!(size, out.len());
            stamp(&mut out, QueueOffset(5), LogOffset(77), 1_700_000_000_001);
            let decoded = Record::decode(&out, true).unwrap();
            let expect = Record {
                queue_offset: QueueOffset(5),
                log_offset: LogOffset(77),
                store_timestamp: 1_700_000_000_001,
                sys_flag: decoded.record.sys_flag,
                ..record
            };
            assert_eq!(decoded.record, expect);
            assert_eq!(decoded.size, size);
        }
    }
}
