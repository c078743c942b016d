//! Files, oddities and refusals.

use super::*;
use crate::{option_enum, options};

option_enum! {
    enum Flush {
        Sync = "SYNC_FLUSH",
        Async = "ASYNC_FLUSH",
    }
}

options! {
    struct Options {
        /// Largest body.
        max_message_size: u32 = "maxMessageSize" or 4 << 20, unit "bytes";
        /// File size.
        log_file_size: u64 = "mappedFileSizeCommitLog" or 1 << 30, also "mapedFileSizeCommitLog" | "x";
        /// When.
        flush: Flush = "flushDiskType" or Flush::Async;
        /// Hour.
        delete_when: String = "deleteWhen" or "04".to_owned();
        /// Name.
        broker_name: Option<String> = "brokerName" or None;
    }
}

fn load(text: &str) -> Result<(Options, Vec<String>), String> {
    let entries = parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let mut options = Options::default();
    let notes = apply("b.conf", &entries, &mut [&mut options], &["haListenPort"]);
    let notes = notes.map_err(|error| error.to_string())?;
    Ok((options, notes.iter().map(Note::to_string).collect()))
}

#[test]
fn what_is_odd_but_clear_is_honoured_and_noted() {
    let (options, notes) = load(
        "# comment\n\nmaxMessageSize= 65536 \nmapedFileSizeCommitLog=1024\nflushDiskType=SYNC_fLUSH\n\
         deletewhen=05\nhaListenPort=1\nmaxMesageSize=7\nsomethingElse=1\nbrokerName=\nmaxMessageSize=70000\n",
    )
    .unwrap();
    assert_eq!(options.max_message_size, 70_000);
    assert_eq!(options.log_file_size, 1024);
    assert_eq!(options.flush, Flush::Sync);
    assert_eq!(options.delete_when, "05");
    assert_eq!(options.broker_name, None);
    expect_test::expect![[r#"
        b.conf:4: mapedFileSizeCommitLog is taken for mappedFileSizeCommitLog
        b.conf:5: flushDiskType=SYNC_fLUSH is taken for SYNC_FLUSH
        b.conf:6: deletewhen is taken for deleteWhen
        b.conf:7: haListenPort has no effect in Skylark
        b.conf:8: unknown key maxMesageSize, ignored; did you mean maxMessageSize?
        b.conf:9: unknown key somethingElse, ignored
        b.conf:10: brokerName has no value, ignored
        b.conf:11: maxMessageSize was given in line 3 already, this one holds"#]]
    .assert_eq(&notes.join("\n"));
}

#[test]
fn a_value_that_cannot_be_read_stops_the_start() {
    let check = |text: &str, expect: &str| assert_eq!(load(text).unwrap_err(), expect);
    check(
        "\nflushDiskType=SYNCFLUSH",
        "b.conf:2: flushDiskType=SYNCFLUSH, expected SYNC_FLUSH or ASYNC_FLUSH",
    );
    check(
        "maxMessageSize=64k",
        "b.conf:1: maxMessageSize=64k, expected an integer from 0 to 4294967295",
    );
    check("a=\\u12", "line 1: \\u without four hex digits");
}

#[test]
fn text_is_read_as_java_reads_it() {
    let check = |text: &[u8], expect: &[(&str, &str, usize)]| {
        let entries = parse(text).unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.as_str(), entry.line))
            .collect();
        assert_eq!(found, expect);
    };
    check(
        b"a=b\r\nc : d\r\n e f",
        &[("a", "b", 1), ("c", "d", 2), ("e", "f", 3)],
    );
    check(
        b"a\\=b=c\\\n   d\\\\\nx",
        &[("a=b", "cd\\", 1), ("x", "", 3)],
    );
    check(
        b"! x\n#y\\\nz=\\u00e9\\ud83d\\ude00\\q",
        &[("z", "é\u{1F600}q", 3)],
    );
    check(b"a=\xe9", &[("a", "é", 1)]);
    check("a=é".as_bytes(), &[("a", "é", 1)]);
    check(b"a==b", &[("a", "=b", 1)]);
    check(b"a\\", &[("a", "", 1)]);
}

#[test]
fn declarations_can_be_printed() {
    let options = Options::default();
    let declared = options.declared();
    let first = &declared[0];
    assert_eq!(
        (first.key, first.unit, first.doc),
        ("maxMessageSize", Some("bytes"), " Largest body.\n")
    );
    assert_eq!(
        ((first.default)(), options.show(2)),
        ("4194304".to_owned(), "ASYNC_FLUSH".to_owned())
    );
}
