//! Accepting from several sockets.

use super::*;

#[tokio::test]
async fn a_crowd_at_one_address_does_not_shut_the_other_out() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(&[any, any], Limits::default()).unwrap();
    let mut waiting = Vec::new();
    for at in [0, 0, 0, 1] {
        let addr = server.local_addrs()[at].to_string();
        waiting.push(net::connect(&addr, Duration::from_secs(20)).await.unwrap());
    }
    let (mut first, mut accepted) = (0, Vec::new());
    for _ in 0..2 {
        let (stream, _) = accept(&server.listeners, &mut first).await.unwrap();
        accepted.push(stream.local_addr().unwrap());
    }
    assert_eq!(accepted, server.local_addrs());
}
