//! Advertised addresses: which are chosen, which are refused, which are doubted.

use super::{AddressError, Advertised, advertised, choose, doubt};

#[test]
fn the_most_reachable_address_is_chosen() {
    for (addresses, expected) in [
        (vec!["127.0.0.1", "10.0.0.5", "192.168.1.2"], "10.0.0.5"),
        (vec!["127.0.0.1", "10.0.0.5", "203.0.113.9"], "203.0.113.9"),
        (vec!["2001:db8::1", "172.16.0.1"], "172.16.0.1"),
        (vec!["::1", "fe80::1", "2001:db8::1"], "2001:db8::1"),
        (vec!["127.0.0.1", "::1"], "127.0.0.1"),
        (vec![], "127.0.0.1"),
    ] {
        let chosen = choose(addresses.iter().map(|ip| ip.parse().unwrap()));
        assert_eq!(chosen.to_string(), expected, "{addresses:?}");
    }
}

#[tokio::test]
async fn a_configured_address_is_taken_as_it_is_written() {
    for (configured, text) in [
        ("192.0.2.7", "192.0.2.7:10911"),
        ("127.0.0.1", "127.0.0.1:10911"),
        ("2001:db8::1", "[2001:db8::1]:10911"),
        ("[2001:db8::1]", "[2001:db8::1]:10911"),
        ("localhost", "localhost:10911"),
    ] {
        assert_eq!(
            advertised(Some(configured), 10911).await.unwrap().text,
            text
        );
    }
    assert_eq!(
        advertised(Some("localhost"), 1).await.unwrap().socket,
        "127.0.0.1:1".parse().unwrap()
    );
    assert!(
        !advertised(None, 1)
            .await
            .unwrap()
            .socket
            .ip()
            .is_unspecified()
    );
}

#[tokio::test]
async fn an_address_nobody_can_connect_to_is_explained() {
    for configured in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"] {
        let error = advertised(Some(configured), 10911).await.unwrap_err();
        assert!(matches!(error, AddressError::NotOne(_)), "{configured}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("brokerIP1={configured}: clients can't connect")),
            "{error}"
        );
    }
    let error = advertised(Some("no.such.host.invalid"), 10911)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("brokerIP1=no.such.host.invalid: neither an IP address nor"),
        "{error}"
    );
}

#[test]
fn loopback_is_doubted_when_a_nameserver_is_elsewhere() {
    let loopback = Advertised {
        text: "127.0.0.1:1".into(),
        socket: "127.0.0.1:1".parse().unwrap(),
    };
    let outside = Advertised {
        text: "192.0.2.7:1".into(),
        socket: "192.0.2.7:1".parse().unwrap(),
    };
    for (advertised, nameservers, doubted) in [
        (&loopback, vec![], false),
        (
            &loopback,
            vec!["127.0.0.1:9876", "localhost:9876", "[::1]:9876"],
            false,
        ),
        (&loopback, vec!["127.0.0.1:9876", "192.0.2.1:9876"], true),
        (&loopback, vec!["rocketmq-nameserver1:9876"], true),
        (&outside, vec!["192.0.2.1:9876"], false),
    ] {
        let nameservers: Vec<String> = nameservers.into_iter().map(str::to_owned).collect();
        assert_eq!(
            doubt(advertised, &nameservers).is_some(),
            doubted,
            "{advertised:?} {nameservers:?}"
        );
    }
}
