//! `skylark store dump`: all that is in a store as JSON lines, read by way of our store as a broker would.
//!
//! The lines are defined, byte for byte, by the comment of `compat/src/main/java/compat/StoreRead.java`, which prints the
//! same from Apache's store: what differs between the two is a fault of one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use chrono::{Local, TimeZone};
use protocol::record::{Decoded, Record};
use protocol::{QueueOffset, properties};
use remoting::clock::Clock;
use store::{LocalTime, Queue, QueueEntry, ReadLimits, Store};

use super::Layout;

/// Log offsets that are listed for a key.
const KEY_OFFSETS_MAX: usize = 64;

/// The keys seen in each topic. Names sort as Java's strings do.
type Keys = BTreeMap<Name, BTreeSet<Name>>;
type Name = (Vec<u16>, String);

fn name(text: &str) -> Name {
    (text.encode_utf16().collect(), text.to_owned())
}

pub(super) fn dump(layout: &Layout, mut out: impl Write) -> anyhow::Result<()> {
    let (store, recovery) = Store::open(layout.paths.clone(), layout.disk.clone())?;
    if !recovery.clean {
        let (from, end) = (recovery.scanned_from.0, recovery.end.0);
        eprintln!("the store was not closed: recovered, with the log read from {from} to {end}");
    }
    while store.build_index(now())? {}
    lines(&store, &mut out)?;
    out.flush()?;
    Ok(store.close()?)
}

/// New index files are named after the time on the wall.
fn now() -> LocalTime {
    let epoch_ms = Clock::System.now_ms();
    let local = Local.timestamp_millis_opt(epoch_ms).single();
    LocalTime {
        epoch_ms,
        utc_offset_s: local.map_or(0, |local| local.offset().local_minus_utc()),
    }
}

fn lines(store: &Store, out: &mut impl Write) -> anyhow::Result<()> {
    let mut keys = Keys::new();
    let mut topics: Vec<_> = store.topics().iter().map(|topic| name(topic)).collect();
    topics.sort();
    for (_, topic) in &topics {
        for queue in store.queues(topic) {
            queue_lines(store, &queue, &mut keys, out)?;
        }
    }
    for ((_, topic), keys) in &keys {
        for (_, key) in keys {
            key_line(store, topic, key, out)?;
        }
    }
    let (min, max) = (store.log_min().0, store.log_end().0);
    writeln!(out, r#"{{"kind":"log","min":{min},"max":{max}}}"#)?;
    Ok(())
}

fn queue_lines(
    store: &Store,
    queue: &Queue,
    keys: &mut Keys,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (topic, id) = (string(queue.topic()), queue.id());
    let (min, max) = (queue.min().0, queue.max_visible().0);
    writeln!(
        out,
        r#"{{"kind":"queue","topic":{topic},"queueId":{id},"min":{min},"max":{max}}}"#
    )?;
    let limits = ReadLimits {
        messages_max: 1,
        ..ReadLimits::default()
    };
    for at in min..max {
        let mut entry = None;
        let read = store.read(queue, QueueOffset(at), &limits, |found| {
            entry.get_or_insert(*found).queue_offset == found.queue_offset
        })?;
        let Some(entry) = entry else { continue };
        match read.records.iter().next() {
            Some(record) => {
                let found = Record::decode(&record, false)?;
                writeln!(out, "{}", message(&entry, &found))?;
                remember_keys(&found.record, keys);
            }
            None => {
                let (log, size) = (entry.log_offset.0, entry.size);
                writeln!(
                    out,
                    r#"{{"kind":"missing","topic":{topic},"queueId":{id},"queueOffset":{at},"logOffset":{log},"size":{size}}}"#
                )?;
            }
        }
    }
    Ok(())
}

fn message(entry: &QueueEntry, found: &Decoded<'_>) -> String {
    let Record {
        body,
        topic,
        properties,
        ..
    } = found.record;
    let record = &found.record;
    let body: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    // Of equal names the last one counts, as in Java's map.
    let sorted: BTreeMap<Name, &str> = properties::iter(properties)
        .map(|(key, value)| (name(key), value))
        .collect();
    let pairs = sorted
        .iter()
        .map(|((_, key), value)| format!("{}:{}", string(key), string(value)));
    let numbers = [
        ("queueId", i64::from(record.queue_id)),
        ("queueOffset", record.queue_offset.0),
        ("logOffset", entry.log_offset.0),
        ("size", i64::from(entry.size)),
        ("tagsCode", entry.tags_code),
        ("storeTimestamp", record.store_timestamp),
        ("bornTimestamp", record.born_timestamp),
    ];
    let rest = [
        ("sysFlag", i64::from(record.sys_flag)),
        ("flag", i64::from(record.flag)),
        ("reconsumeTimes", i64::from(record.reconsume_times)),
        (
            "preparedTransactionOffset",
            record.prepared_transaction_offset,
        ),
        ("bodyCrc", i64::from(found.body_crc)),
    ];
    let members = |numbers: &[(&str, i64)]| -> String {
        numbers
            .iter()
            .map(|(key, number)| format!(r#","{key}":{number}"#))
            .collect()
    };
    format!(
        r#"{{"kind":"message","topic":{}{},"bornHost":{},"storeHost":{}{},"body":"{body}","properties":{{{}}}}}"#,
        string(topic),
        members(&numbers),
        host(record.born_host),
        host(record.store_host),
        members(&rest),
        pairs.collect::<Vec<_>>().join(",")
    )
}

fn remember_keys(record: &Record<'_>, keys: &mut Keys) {
    let of_topic = keys.entry(name(record.topic)).or_default();
    if let Some(text) = properties::find(record.properties, properties::KEYS) {
        // As Java splits: blanks at the end make no empty keys, others do.
        of_topic.extend(text.trim_end_matches(' ').split(' ').map(name));
    }
    if let Some(unique) = properties::find(record.properties, properties::UNIQ_KEY) {
        of_topic.insert(name(unique));
    }
}

fn key_line(store: &Store, topic: &str, key: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let found = store.query(topic, key, KEY_OFFSETS_MAX, 0, i64::MAX)?;
    let mut offsets = Vec::new();
    for record in &found.records {
        offsets.push(Record::decode(record, false)?.record.log_offset.0);
    }
    offsets.sort_unstable();
    let offsets: Vec<_> = offsets.iter().map(i64::to_string).collect();
    let (topic, key, offsets) = (string(topic), string(key), offsets.join(","));
    writeln!(
        out,
        r#"{{"kind":"key","topic":{topic},"key":{key},"logOffsets":[{offsets}]}}"#
    )?;
    Ok(())
}

/// An address as Java writes it: all eight groups of an IPv6 one.
fn host(addr: SocketAddr) -> String {
    let port = addr.port();
    string(&match addr.ip() {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => {
            let groups: Vec<_> = ip
                .segments()
                .iter()
                .map(|group| format!("{group:x}"))
                .collect();
            format!("[{}]:{port}", groups.join(":"))
        }
    })
}

fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
