//! `cargo xtask fixtures`: golden frames. Real clients talk to Apache's servers through a recording proxy, once with
//! JSON headers and once with binary ones; a few exchanges of each kind are kept for crates/protocol's tests.
//!
//! The servers bind 127.0.0.2 and advertise 127.0.0.1, where the proxy listens on the same ports: so every frame
//! goes through it without a byte being changed, those between the broker and the nameserver too.
mod frames;
mod recorder;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::apache::{BROKER_NAME, READY_LIMIT, SMALL_HEAP, config, start_broker, start_namesrv};
use crate::fixtures::frames::select;
use crate::fixtures::recorder::Recorder;
use crate::java::Java;
use crate::ports;
use crate::shell::{root, run};
use crate::wire::wait_registered;

/// The most that all the files together may weigh.
const BYTES_MAX: usize = 500_000;

const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

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
    let serialize = format!("-Drocketmq.serialize.type={}", codec.to_uppercase());
    let (namesrv_port, broker_port) = (ports::free()?, ports::free()?);
    let to_namesrv = Recorder::start(proxied(namesrv_port))?;
    let to_broker = Recorder::start(proxied(broker_port))?;

    let bind = format!("bindAddress={BEHIND}\n");
    let namesrv_config = config("namesrv", home.path(), namesrv_port, broker_port)? + &bind;
    let namesrv = start_namesrv(java, home.path(), &namesrv_config, &[&serialize])?;
    let broker_config = config("broker", home.path(), namesrv_port, broker_port)? + &bind;
    let broker = start_broker(
        java,
        home.path(),
        &broker_config,
        &[SMALL_HEAP, &[&serialize]].concat(),
    )?;
    wait_registered(
        SocketAddr::from((BEHIND, namesrv_port)),
        BROKER_NAME,
        READY_LIMIT,
    )?;
    let address = format!("127.0.0.1:{namesrv_port}");
    let traffic = traffic(java, home.path(), &serialize, &address);
    let stopped = broker.stop(std::time::Duration::from_secs(60));
    if let Err(error) = traffic {
        return Err(error.context(format!(
            "with {codec} headers, the broker's last words: {:?}",
            stopped
        )));
    }
    drop(namesrv);

    Ok(vec![
        (
            "namesrv",
            text(
                codec,
                "a client, a broker (C) and their nameserver (S)",
                to_namesrv.finish(),
            ),
        ),
        (
            "broker",
            text(codec, "clients (C) and a broker (S)", to_broker.finish()),
        ),
    ])
}

fn proxied(port: u16) -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((BEHIND, port)),
    )
}

/// The clients' part of it.
fn traffic(java: &Java, home: &Path, serialize: &str, namesrv: &str) -> Result<()> {
    let mut command = java.program(&["-Xmx512m", serialize])?;
    command
        .arg(format!("-DnamesrvAddr={namesrv}"))
        .arg(format!("-Duser.home={}", home.display()));
    run(command.arg("compat.FixtureTraffic").current_dir(home))
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
