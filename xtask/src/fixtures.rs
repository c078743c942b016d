//! `cargo xtask fixtures`: golden frames. Real clients talk to Apache's servers through a recording proxy, once with
//! JSON headers and once with binary ones; a few exchanges of each kind are kept for crates/protocol's tests.
//!
//! The servers listen on 127.0.0.1 and are known as 127.0.0.2, where the proxy listens on the same ports: so every
//! frame goes through it without a byte being changed, those between the broker and the nameserver too.
mod frames;
mod recorder;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::apache::{SMALL_HEAP, STOP_LIMIT, Site};
use crate::fixtures::frames::select;
use crate::fixtures::recorder::Recorder;
use crate::java::Java;
use crate::shell::{root, run};

/// The most that all the files together may weigh.
const BYTES_MAX: usize = 500_000;

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub(crate) fn execute() -> Result<()> {
    let java = Java::find()?;
    java.build()?;
    let directory = root().join("crates/protocol/tests/golden");
    fs::create_dir_all(&directory)?;
    let mut total = 0;
    for codec in ["json", "rocketmq"] {
        for (scenario, text) in record(&java, codec)? {
            let file = directory.join(format!("{scenario}-{codec}.frames"));
            println!(
                "{}: {} lines, {} bytes",
                file.display(),
                text.lines().count(),
                text.len()
            );
            total += text.len();
            fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
    }
    ensure!(
        total <= BYTES_MAX,
        "{total} bytes of golden frames, more than {BYTES_MAX}: keep fewer of a kind"
    );
    Ok(())
}

/// One run of servers and clients with one codec; the files' names and texts.
fn record(java: &Java, codec: &str) -> Result<Vec<(&'static str, String)>> {
    let home = tempfile::Builder::new()
        .prefix("skylark-fixtures-")
        .tempdir()?;
    let site = Site::new(home.path(), PROXY)?;
    let to_namesrv = Recorder::start(proxied(site.namesrv_port))?;
    let to_broker = Recorder::start(proxied(site.broker_port))?;

    let serialize = format!("-Drocketmq.serialize.type={}", codec.to_uppercase());
    let namesrv = site.start_namesrv(java, &[&serialize])?;
    let broker = site.start_broker(java, &[SMALL_HEAP, &[&serialize]].concat())?;
    let traffic = traffic(java, &site, codec).with_context(|| {
        format!(
            "{codec} headers; the broker's last words:\n{}",
            broker.tail(30)
        )
    });
    // Its farewell is a fixture too.
    broker.stop(STOP_LIMIT)?;
    traffic?;
    drop(namesrv);

    let (with_namesrv, with_broker) = (
        "a client and a broker (C), a nameserver (S)",
        "clients (C), a broker (S)",
    );
    Ok(vec![
        ("namesrv", text(codec, with_namesrv, to_namesrv.finish())),
        ("broker", text(codec, with_broker, to_broker.finish())),
    ])
}

fn proxied(port: u16) -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::from((PROXY, port)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    )
}

/// The clients' part of it.
fn traffic(java: &Java, site: &Site, codec: &str) -> Result<()> {
    let mut command = java.program(&["-Xmx512m"])?;
    command
        .arg(format!("-Duser.home={}", site.home.display()))
        .arg("compat.FixtureTraffic");
    command
        .arg(format!("{PROXY}:{}", site.namesrv_port))
        .arg(codec.to_uppercase());
    run(command.current_dir(&site.home))
}

fn text(codec: &str, scenario: &str, recorded: Vec<recorder::Recorded>) -> String {
    let mut text = format!(
        "# {codec} headers, {scenario}; RocketMQ 5.3.3, written by `cargo xtask fixtures`\n"
    );
    for frame in select(recorded) {
        text.push(if frame.from_client { 'C' } else { 'S' });
        text.push(' ');
        for byte in &frame.bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}
