//! Starting, what is shown then, and ending.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{Server, called, run, skylark};

pub(crate) fn standalone(dir: &Path) -> Command {
    let mut command = skylark();
    command
        .args(["standalone", "--port", "0", "--namesrv-port", "0", "--data"])
        .arg(dir);
    command
}

/// It ends with 1 and this one line on standard error.
fn check_failure(command: &mut Command, line: &str) {
    let (code, screen, said) = run(command);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(screen, "");
    assert_eq!(said, format!("skylark: {line}\n"));
}

#[test]
fn standalone_says_what_runs_where_and_ends_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&mut standalone(dir.path()));
        assert!(server.screen.starts_with("Skylark "), "{}", server.screen);
        for word in ["nameserver ", "broker ", "clients are sent to ", "data "] {
            assert_ne!(server.word_after(word), "");
        }
        assert!(
            server.screen.contains(dir.path().to_str().unwrap()),
            "{}",
            server.screen
        );
        server.signal(signal);
        let (code, said) = server.ended();
        assert_eq!(code, Some(0), "{said}");
        assert!(!dir.path().join("abort").exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_standalone_is_small() {
    const RESIDENT_KIB_MAX: u64 = 40 << 10;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&mut standalone(dir.path()));
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let (_, resident) = status.split_once("VmRSS:").unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < RESIDENT_KIB_MAX, "{kib} KiB resident");
    server.stop();
}

/// As it is where nobody has set limits, only lower.
#[cfg(unix)]
#[test]
fn a_low_limit_of_open_files_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let server = standalone(dir.path());
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -Sn 64 && exec \"$@\"", "sh"])
        .arg(server.get_program())
        .args(server.get_args());
    let server = Server::start(&mut limited);
    let broker = server.word_after("broker ").trim_end_matches(',');
    let (code, _, said) = run(skylark()
        .args(["bench", "produce", "--broker", broker])
        .args(["--connections", "100", "--in-flight", "1"])
        .args(["--messages", "100"]));
    assert_eq!(code, Some(0), "{said}");
    let log = server.stop();
    assert!(log.contains("raised the limit of open files"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("namesrv.conf");
    let kv = dir.path().join("kvConfig.json");
    fs::write(
        &config,
        format!(
            "listenPort=0\nbindAddress=127.0.0.1\nkvConfigPath={}\n",
            kv.display()
        ),
    )
    .unwrap();
    let namesrv = Server::start(skylark().args(["namesrv", "-c"]).arg(&config));
    let addr = namesrv.word_after("address ").trim_end_matches(',');
    let config = dir.path().join("broker.conf");
    let root = dir.path().join("store");
    fs::write(
        &config,
        format!(
            "listenPort=0\nbrokerIP1=127.0.0.1\nstorePathRootDir={}\n",
            root.display()
        ),
    )
    .unwrap();
    let broker = Server::start(skylark().args(["broker", "-n", addr, "-c"]).arg(&config));
    // A broker takes leave of its nameserver first, and this one hears nothing any more.
    namesrv.signal(Signal::STOP);
    broker.signal(Signal::TERM);
    broker.signal(Signal::INT);
    let (code, said) = broker.ended();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains(" again: ending at once"), "{said}");
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let line = format!("can't listen on 0.0.0.0:{port}: Address already in use (os error 98)");
    let mut broker = skylark();
    broker
        .args([
            "standalone",
            "--namesrv-port",
            "0",
            "--port",
            &port,
            "--data",
        ])
        .arg(dir.path());
    check_failure(&mut broker, &line);
    let mut namesrv = skylark();
    namesrv
        .args([
            "standalone",
            "--port",
            "0",
            "--namesrv-port",
            &port,
            "--data",
        ])
        .arg(dir.path());
    check_failure(&mut namesrv, &format!("nameserver: {line}"));
}

#[test]
fn a_store_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&mut standalone(dir.path()));
    let path = dir.path().display();
    let line = format!(
        "store {path}: the store is in use by another process: {path}/lock: operation would block"
    );
    check_failure(&mut standalone(dir.path()), &line);
    let line = format!("a broker is running on {path}; stop it first");
    check_failure(skylark().args(["store", "verify"]).arg(dir.path()), &line);
    let (code, _, said) = run(skylark().args(["store", "queues"]).arg(dir.path()));
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("a broker is running on this directory"),
        "{said}"
    );
    server.stop();
}

#[test]
fn data_that_can_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, _, said) = run(&mut standalone(&file.join("data")));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("Not a directory") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_nameserver_by_its_apache_name() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("mqnamesrv");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skylark"), &program).unwrap();
    let config = dir.path().join("namesrv.conf");
    let kv = dir.path().join("kvConfig.json");
    fs::write(
        &config,
        format!("listenPort=0\nkvConfigPath={}\n", kv.display()),
    )
    .unwrap();
    let server = Server::start(called(&program).arg("-c").arg(&config));
    assert!(
        server.screen.contains("The Name Server boot success."),
        "{}",
        server.screen
    );
    server.stop();
    let (code, screen, _) = run(called(&program).arg("-p"));
    assert_eq!(code, Some(0));
    assert!(screen.starts_with("listenPort=9876\n"), "{screen}");
    assert_eq!(run(called(&program).arg("--nonsense")).0, Some(1));
    assert_eq!(run(skylark().arg("--nonsense")).0, Some(2));
}

#[test]
fn names_of_what_is_not_there_start_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (name, what) in [("mqproxy", "the proxy"), ("mqadmin", "the admin tool")] {
        let program = dir.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skylark"), &program).unwrap();
        for args in [&[][..], &["-n", "127.0.0.1:9876"], &["--help"]] {
            let line = format!("called as {name}: {what} is not there yet, a later release has it");
            check_failure(called(&program).args(args).current_dir(&dir), &line);
        }
    }
}

#[test]
fn a_broker_does_not_need_its_nameserver_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("mqbroker");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skylark"), &program).unwrap();
    let config = dir.path().join("broker.conf");
    let text = format!(
        "listenPort=0\nbrokerName=a\nbrokerIP1=127.0.0.1\nstorePathRootDir={}/store\n",
        dir.path().display()
    );
    fs::write(&config, text).unwrap();
    let down = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let server = Server::start(called(&program).arg("-configFile").arg(&config).args([
        "-n",
        &down,
        "autoCreateTopicEnable=true",
    ]));
    let boot = "The broker[a, 127.0.0.1:";
    assert!(server.screen.starts_with(boot), "{}", server.screen);
    assert!(
        server.screen.contains(&format!(
            "boot success. serializeType=JSON and name server is {down}"
        )),
        "{}",
        server.screen
    );
    server.signal(Signal::TERM);
    let (code, said) = server.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the argument autoCreateTopicEnable=true has no effect"),
        "{said}"
    );
}

#[test]
fn a_filter_that_can_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    check_failure(
        standalone(dir.path()).env("SKYLARK_LOG", "broker=loud"),
        "SKYLARK_LOG=broker=loud: expected a level, or a list like info,broker=debug",
    );
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = skylark()
        .args(["broker", "-p"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}
