//! Configuration files, first of all a handbook's with all its oddities.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use rustix::process::Signal;

use crate::process::{Server, run, skylark};

/// A file of the handbook's cluster with two masters and two slaves; paths, hosts and ports moved to where the test may be.
fn handbook(name: &str, dir: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/2m-2s-sync")
        .join(name);
    let text = fs::read_to_string(from).unwrap();
    let text = text
        .replace("{dir}", dir.to_str().unwrap())
        .replace("{namesrv1}", "127.0.0.1:1")
        .replace("{namesrv2}", "localhost:2")
        .replace("{port}", "0");
    let to = dir.join(name);
    fs::write(&to, text).unwrap();
    to
}

#[test]
fn the_masters_of_the_handbook_start_as_they_are() {
    for name in ["broker-a", "broker-b"] {
        let dir = tempfile::tempdir().unwrap();
        let file = handbook(&format!("{name}.properties"), dir.path());
        let server = Server::start(skylark().args(["broker", "-c"]).arg(&file));
        let boot = format!("The broker[{name}, ");
        assert!(server.screen.starts_with(&boot), "{}", server.screen);
        assert!(dir.path().join("store/commitlog").is_dir());
        server.signal(Signal::TERM);
        let (code, said) = server.ended();
        assert_eq!(code, Some(0), "{said}");
        let odd: String = said
            .lines()
            .filter_map(|line| line.split_once(&format!("{name}.properties:")))
            .map(|(_, note)| format!("{note}\n"))
            .collect();
        expect![[r#"
            9: deletewhen is taken for deleteWhen
            11: mapedFileSizeCommitLog is taken for mappedFileSizeCommitLog
            12: mapedFileSizeConsumeQueue is taken for mappedFileSizeConsumeQueue
            22: flushDiskType=SYNC_fLUSH is taken for SYNC_FLUSH
        "#]]
        .assert_eq(&odd);
    }
}

#[test]
fn the_handbook_means_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = handbook("broker-a.properties", dir.path());
    let (code, screen, said) = run(skylark().args(["broker", "-p", "-c"]).arg(&file));
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let keys = [
        "brokerRole",
        "flushDiskType",
        "deleteWhen",
        "fileReservedTime",
        "diskMaxUsedSpaceRatio",
        "maxMessageSize",
        "defaultTopicQueueNums",
        "mappedFileSizeCommitLog",
        "mappedFileSizeConsumeQueue",
    ];
    let shown: String = screen
        .lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(&format!("{key}="))))
        .map(|line| format!("{line}\n"))
        .collect();
    expect![[r#"
        brokerRole=SYNC_MASTER
        defaultTopicQueueNums=4
        maxMessageSize=65536
        flushDiskType=SYNC_FLUSH
        mappedFileSizeCommitLog=1073741824
        mappedFileSizeConsumeQueue=300000
        fileReservedTime=120
        deleteWhen=04
        diskMaxUsedSpaceRatio=88
    "#]]
    .assert_eq(&shown);
}

#[test]
fn the_slaves_of_the_handbook_are_refused_in_a_sentence() {
    for name in ["broker-a-s.properties", "broker-b-s.properties"] {
        let dir = tempfile::tempdir().unwrap();
        let file = handbook(name, dir.path());
        let (code, screen, said) = run(skylark()
            .args(["broker", "-c"])
            .arg(&file)
            .env("SKYLARK_LOG", "error"));
        assert_eq!((code, screen.as_str()), (Some(1), ""));
        expect![[r#"
            skylark: brokerRole=SLAVE: this build does not replicate yet, so it can't be a slave; a later release will
        "#]].assert_eq(&said);
    }
}

fn check_refused(text: &str, expect: Expect) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    fs::write(&file, text).unwrap();
    let (code, screen, said) = run(skylark().args(["broker", "-c"]).arg(&file));
    assert_eq!((code, screen.as_str()), (Some(1), ""));
    expect.assert_eq(&said.replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn values_that_can_not_be_kept() {
    check_refused(
        "flushDiskType=SYNC_FLASH\n",
        expect![[r#"
        skylark: DIR/broker.conf:1: flushDiskType=SYNC_FLASH, expected SYNC_FLUSH or ASYNC_FLUSH
    "#]],
    );
    check_refused(
        "namesrvAddr=here\n",
        expect![[r#"
        skylark: DIR/broker.conf:1: namesrvAddr=here, expected host:port, several of them separated by ;
    "#]],
    );
    check_refused(
        "storeType=defaultRocksDB\n",
        expect![[r#"
        skylark: storeType=defaultRocksDB: other engines than the default one are not there yet; leave the key out to start without
    "#]],
    );
    check_refused(
        "listenPort=0\ninSyncReplicas=2\nbrokerRole=SYNC_MASTER\n",
        expect![[r#"
            skylark: inSyncReplicas=2: this build does not replicate yet, so no message could ever be acknowledged; leave the key out or set it to 1
        "#]],
    );
    check_refused(
        "listenPort=0\nbrokerIP1=0.0.0.0\n",
        expect![[r#"
        skylark: brokerIP1=0.0.0.0: clients can't connect to this address; give one of this machine's addresses, or leave the key out to use the first one that is not loopback
    "#]],
    );
}

#[test]
fn a_file_that_is_not_there() {
    let (code, _, said) = run(skylark().args(["broker", "-c", "/no/such.conf"]));
    assert_eq!(code, Some(1));
    expect![[r#"
        skylark: can't read the configuration: /no/such.conf: No such file or directory (os error 2)
    "#]]
    .assert_eq(&said);
}

#[test]
fn nameservers_come_from_the_command_line_the_file_or_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    fs::write(&file, "namesrvAddr=file:1\n").unwrap();
    let check = |args: &[&str], expect: &str| {
        let mut command = skylark();
        command
            .args(["broker", "-p"])
            .args(args)
            .env("NAMESRV_ADDR", "environment:1");
        let (_, screen, _) = run(&mut command);
        assert!(
            screen.contains(&format!("\nnamesrvAddr={expect}\n")),
            "{screen}"
        );
    };
    check(&[], "environment:1");
    check(&["-c", file.to_str().unwrap()], "file:1");
    check(
        &["-c", file.to_str().unwrap(), "-n", "argument:1"],
        "argument:1",
    );
}
