//! docs/compat.md says of every request code whether it is answered: ask a running broker and nameserver.

use std::time::Duration;

use broker::Broker;
use namesrv::{KvFile, Nameserver};
use protocol::codes::{request, response};
use protocol::command::NoHeader;
use remoting::clock::Clock;
use remoting::{Body, Limits, NoRequests};
use store::Disk;

const TABLE: &str = include_str!("../../../docs/compat.md");

/// A row of the table.
struct Row {
    code: i32,
    name: &'static str,
    server: &'static str,
    status: &'static str,
}

fn rows() -> Vec<Row> {
    let rows = TABLE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some(Row {
            code: cells.next()?.trim().parse().ok()?,
            name: cells.next()?.trim(),
            server: cells.next()?.trim(),
            status: cells.next()?.trim(),
        })
    });
    rows.collect()
}

#[test]
fn every_code_has_a_row() {
    let rows = rows();
    for (code, name) in request::ALL {
        let row = rows.iter().find(|row| row.code == *code);
        assert_eq!(row.map(|row| row.name), Some(*name), "code {code}");
    }
    assert_eq!(rows.len(), request::ALL.len());
}

#[tokio::test]
async fn the_table_says_what_is_answered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kv_file = KvFile {
        path: dir.path().join("kvConfig.json").display().to_string(),
        content: None,
        replace: Box::new(|_| Ok(())),
    };
    let config = namesrv::Config {
        bind_address: "127.0.0.1".to_owned(),
        listen_port: 0,
        ..namesrv::Config::default()
    };
    let nameserver = Nameserver::start(config, kv_file, Clock::System)
        .await
        .expect("a nameserver");
    let mut config = broker::Config::new(dir.path().join("store"));
    config.bind_address = [127, 0, 0, 1].into();
    config.listen_port = 0;
    config.advertised_host = Some("127.0.0.1".to_owned());
    config.store.log_file_bytes = 1 << 20;
    let broker = Broker::start(config, Disk::Os, Clock::System)
        .await
        .expect("a broker");

    for (server, addr) in [
        ("nameserver", nameserver.addrs()[0]),
        ("broker", broker.addrs()[0]),
    ] {
        let limits = Limits::default();
        let connection =
            remoting::connect(&addr.to_string(), std::sync::Arc::new(NoRequests), &limits)
                .await
                .expect("a connection");
        for row in rows() {
            let answered = row.server.split(", ").any(|name| name == server)
                && matches!(row.status, "done" | "partial");
            let call = connection.call(row.code, &NoHeader, Body::None, Duration::from_secs(10));
            let reply = call.await.expect("an answer");
            let unsupported = reply.code == response::REQUEST_CODE_NOT_SUPPORTED;
            assert_eq!(
                answered, !unsupported,
                "{server} answers {} {} with code {}, the table says {}",
                row.code, row.name, reply.code, row.status
            );
        }
        connection.close().await;
    }
    broker.shutdown().await.expect("a clean end");
    nameserver.shutdown().await;
}
