//! How connections and servers end.

use super::*;

#[tokio::test]
async fn waiting_calls_fail_at_once_when_the_connection_ends() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let call = client.call(KEEP, &NoHeader, Body::None, PATIENCE);
    eventually(|| server.echo.kept.lock().len() == 1).await;
    let (_, kept) = server.echo.kept.lock().pop().unwrap();
    kept.peer().abort();
    assert_eq!(in_time(call).await.unwrap_err(), CallError::Closed);
    let late = client.call(ECHO, &NoHeader, Body::None, PATIENCE);
    assert_eq!(in_time(late).await.unwrap_err(), CallError::Closed);
    // Whoever still has the request can answer it without harm.
    kept.send(0, None, &NoHeader, Body::None);
    server.stop().await;
}

#[tokio::test]
async fn a_stopping_server_lets_answers_leave() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let call = client.call(KEEP, &NoHeader, Body::None, PATIENCE);
    eventually(|| server.echo.kept.lock().len() == 1).await;
    let (echo, addr) = (Arc::clone(&server.echo), server.addr);
    let stopping = tokio::spawn(server.stop());
    // The listener is gone before the connections are.
    eventually(|| std::net::TcpListener::bind(addr).is_ok()).await;
    // Requests that come now are not taken any more.
    let late = client.call(ECHO, &NoHeader, Body::None, PATIENCE);
    let (_, kept) = echo.kept.lock().pop().unwrap();
    kept.send(0, None, &NoHeader, vec![1; 1_000_000]);
    assert_eq!(in_time(call).await.unwrap().body().len(), 1_000_000);
    assert_eq!(in_time(late).await.unwrap_err(), CallError::Closed);
    in_time(stopping).await.unwrap();
    assert_eq!(echo.closed.lock().len(), 1);
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_ever() {
    let drain = Duration::from_millis(100);
    let server = serve(Limits {
        drain,
        ..Limits::default()
    });
    let client = server.connect().await;
    let call = client.call(KEEP, &NoHeader, Body::None, PATIENCE);
    eventually(|| server.echo.kept.lock().len() == 1).await;
    let echo = Arc::clone(&server.echo);
    server.stop().await;
    assert_eq!(in_time(call).await.unwrap_err(), CallError::Closed);
    assert_eq!(echo.kept.lock().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::await_holding_lock,
    reason = "so the handler is stuck for as long as the test wants"
)]
async fn a_stopping_server_leaves_a_stuck_handler_behind() {
    let server = serve(Limits {
        drain: Duration::from_millis(50),
        ..Limits::default()
    });
    let (client, echo) = (server.connect().await, Arc::clone(&server.echo));
    let stuck = echo.stuck.lock();
    client.notify(STICK, &NoHeader, Body::None).unwrap();
    // Not by the runtime's timer: the worker that is about to get stuck may be the one that looks after timers, and the
    // other one takes over only when it is woken, as `stop` does.
    let deadline = std::time::Instant::now() + PATIENCE;
    while echo.batches.lock().is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.stop().await;
    drop(stuck);
}

#[tokio::test]
async fn closing_our_side_lets_what_we_said_arrive() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    for _ in 0..100 {
        client.notify(LOSE, &NoHeader, vec![0; 10_000]).unwrap();
    }
    client.close().await;
    eventually(|| server.echo.handled() == 100).await;
    server.stop().await;
}

#[tokio::test]
async fn nobody_there() {
    let unused = net::listen("127.0.0.1:0".parse().unwrap(), 1)
        .unwrap()
        .local_addr()
        .unwrap();
    for (addr, expect) in [
        (
            unused.to_string(),
            format!("can't connect to {unused}: Connection refused (os error 111)"),
        ),
        (
            "nonsense".to_owned(),
            "can't resolve nonsense: invalid socket address".to_owned(),
        ),
    ] {
        let error = connect(&addr, Arc::new(NoRequests), &Limits::default())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = serve(Limits::default());
    let error = Server::bind(&[server.addr], Limits::default()).unwrap_err();
    let expect = format!(
        "can't listen on {}: Address already in use (os error 98)",
        server.addr
    );
    assert_eq!(error.to_string(), expect);
    server.stop().await;
}

/// As of a process that was just killed.
#[tokio::test]
async fn a_port_that_becomes_free_is_waited_for() {
    let server = serve(Limits::default());
    let addr = server.addr;
    let binding = tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _inside = runtime.enter();
            Server::bind(&[addr], Limits::default()).map(|bound| bound.local_addrs().to_vec())
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!binding.is_finished(), "somebody else has the port");
    server.stop().await;
    assert_eq!(binding.await.unwrap().unwrap(), [addr]);
}

#[tokio::test]
async fn names_are_resolved() {
    let server = serve(Limits::default());
    let addr = format!("localhost:{}", server.addr.port());
    let client = connect(&addr, Arc::new(NoRequests), &Limits::default())
        .await
        .unwrap();
    assert_eq!(client.remote_addr(), server.addr);
    client
        .call(ECHO, &NoHeader, Body::None, PATIENCE)
        .await
        .unwrap();
    server.stop().await;
}
