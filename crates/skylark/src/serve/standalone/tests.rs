//! The first screen.

use expect_test::expect;

use super::*;

#[test]
fn the_first_screen_says_what_runs_where_and_what_to_try() {
    let screen = Screen {
        namesrv: SocketAddr::from(([0, 0, 0, 0], 9876)),
        data: PathBuf::from("skylark-data"),
        flush: "ASYNC_FLUSH",
        name: "box".to_owned(),
        cluster: "DefaultCluster".to_owned(),
    };
    let broker = [10911, 10909].map(|port| SocketAddr::from(([0, 0, 0, 0], port)));
    expect![[r#"
        Skylark 0.1.0, speaks RocketMQ 5.3.3
          nameserver  0.0.0.0:9876
          broker      0.0.0.0:10911 and 0.0.0.0:10909, box of DefaultCluster, clients are sent to 192.0.2.7:10911
          data        skylark-data, ASYNC_FLUSH
          ready in 7 ms

        Try it from another terminal: skylark bench produce -n 127.0.0.1:9876 --seconds 3
        Or with any RocketMQ client:  export NAMESRV_ADDR=127.0.0.1:9876
        Ctrl-C stops it.
    "#]].assert_eq(&screen.text(&broker, "192.0.2.7:10911", "ready in 7 ms"));
}

fn check_nameservers(own: &str, given: &[&str], expect: &[&str]) {
    let interfaces = [[127, 0, 0, 1], [192, 0, 2, 7]].map(IpAddr::from);
    let mut nameservers: Vec<_> = given.iter().map(ToString::to_string).collect();
    add_own(&mut nameservers, own.parse().unwrap(), &interfaces);
    assert_eq!(nameservers, expect, "own {own}, given {given:?}");
}

#[test]
fn the_own_nameserver_is_told_once_whatever_it_is_called() {
    for own in [
        "127.0.0.1:9876",
        "localhost:9876",
        "192.0.2.7:9876",
        "0.0.0.0:9876",
    ] {
        check_nameservers(
            "0.0.0.0:9876",
            &[own, "other:9876"],
            &["127.0.0.1:9876", "other:9876"],
        );
    }
    check_nameservers("192.0.2.7:9876", &["192.0.2.7:9876"], &["192.0.2.7:9876"]);
}

#[test]
fn nameservers_elsewhere_are_told_too() {
    check_nameservers("0.0.0.0:9876", &[], &["127.0.0.1:9876"]);
    for other in ["127.0.0.1:9877", "192.0.2.8:9876", "other:9876"] {
        check_nameservers("0.0.0.0:9876", &[other], &["127.0.0.1:9876", other]);
    }
    check_nameservers(
        "192.0.2.7:9876",
        &["127.0.0.1:9876"],
        &["192.0.2.7:9876", "127.0.0.1:9876"],
    );
}
