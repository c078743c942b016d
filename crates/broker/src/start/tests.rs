//! Starting: what is refused with one line, what comes back after a stop.

use store::disk::{Disk, SimDisk};

use super::StartError;
use crate::config::{Config, Role};
use crate::testing::{self, Fixture};
use crate::{Broker, Running};
use remoting::clock::Clock;

async fn start(change: impl FnOnce(&mut Config)) -> Result<Running, StartError> {
    let mut config = testing::config();
    change(&mut config);
    Broker::start(
        config,
        Disk::Sim(SimDisk::new(1)),
        Clock::manual(testing::NOW_MS),
    )
    .await
}

async fn refused(change: impl FnOnce(&mut Config)) -> String {
    match start(change).await {
        Ok(_) => panic!("it started"),
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line}");
            line
        }
    }
}

#[tokio::test]
async fn what_can_not_work_is_explained_in_one_line() {
    let slave = refused(|config| config.role = Role::Slave).await;
    assert!(
        slave.starts_with("brokerRole=SLAVE: this build does not replicate yet"),
        "{slave}"
    );
    let replicas = refused(|config| config.in_sync_replicas = 2).await;
    assert!(
        replicas.starts_with("inSyncReplicas=2: this build does not replicate yet"),
        "{replicas}"
    );
    let address = refused(|config| config.advertised_host = Some("0.0.0.0".into())).await;
    assert!(
        address.starts_with("brokerIP1=0.0.0.0: clients can't connect"),
        "{address}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let fixture = Fixture::start().await;
    let port = fixture.running.addrs()[0].port();
    let line = refused(|config| config.listen_port = port).await;
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_store_in_use_is_named() {
    let fixture = Fixture::start().await;
    let second = Broker::start(
        testing::config(),
        Disk::Sim(fixture.sim.clone()),
        fixture.clock.clone(),
    )
    .await;
    let line = second.err().expect("it is locked").to_string();
    assert!(
        line.starts_with("store /store: the store is in use by another process"),
        "{line}"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn unreadable_metadata_is_named() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    disk.create_dir_all("/store/config".as_ref()).unwrap();
    for file in ["topics.json", "topics.json.bak"] {
        disk.replace(
            format!("/store/config/{file}").as_ref(),
            b"{\"topicConfigTable\":{",
        )
        .unwrap();
    }
    let failed = Broker::start(testing::config(), disk, Clock::manual(0)).await;
    let line = failed.err().expect("it can't start").to_string();
    assert!(
        line.starts_with("/store/config/topics.json: JSON, byte"),
        "{line}"
    );
    assert!(
        line.contains("its copy /store/config/topics.json.bak: JSON, byte"),
        "{line}"
    );
}
