//! Requests and answers in both directions.

use super::*;
use protocol::codes::response;

#[tokio::test]
async fn many_calls_at_once_get_their_own_answers() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let calls: Vec<_> = (0..1000u32)
        .map(|n| {
            (
                n,
                client.call(ECHO, &NoHeader, n.to_be_bytes().to_vec(), PATIENCE),
            )
        })
        .collect();
    for (n, call) in calls {
        let reply = call.await.unwrap();
        assert_eq!((reply.code, &reply.body()[..]), (0, &n.to_be_bytes()[..]));
    }
    let largest = server.echo.batches.lock().iter().copied().max();
    assert!(
        largest > Some(1),
        "frames that arrived together were not handled together"
    );
    client.close().await;
    server.stop().await;
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let calls: Vec<_> = (0..10u8)
        .map(|n| client.call(KEEP, &NoHeader, vec![n], PATIENCE))
        .collect();
    eventually(|| server.echo.kept.lock().len() == 10).await;
    for (body, reply) in std::mem::take(&mut *server.echo.kept.lock())
        .into_iter()
        .rev()
    {
        reply.send(0, None, &NoHeader, body);
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(in_time(call).await.unwrap().body()[..], [n as u8]);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_may_ask_too() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let reply = client
        .call(ASK_BACK, &NoHeader, b"who?".to_vec(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(reply.body(), "who?");
    server.stop().await;
}

#[tokio::test]
async fn one_way_requests_are_not_answered() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    for code in [ECHO, LOSE, 999] {
        client.notify(code, &NoHeader, Body::None).unwrap();
    }
    // Had they been answered, these answers would have come first.
    check_alive(&client).await;
    assert_eq!(server.echo.handled(), 4);
    server.stop().await;
}

#[tokio::test]
async fn unknown_lost_and_panicking_requests_are_answered() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let other = server.connect().await;
    for (code, expect, remark) in [
        (
            999,
            response::REQUEST_CODE_NOT_SUPPORTED,
            " request type 999 not supported",
        ),
        (
            LOSE,
            response::SYSTEM_ERROR,
            "request type 5 was dropped unanswered",
        ),
        (
            PANIC,
            response::SYSTEM_ERROR,
            "request type 3 was dropped unanswered",
        ),
    ] {
        let reply = in_time(client.call(code, &NoHeader, Body::None, PATIENCE))
            .await
            .unwrap();
        assert_eq!(
            (reply.code, reply.remark.as_deref()),
            (expect, Some(remark))
        );
    }
    for client in [client, other] {
        check_alive(&client).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_call_times_out_and_its_late_answer_disturbs_nobody() {
    let server = serve(Limits::default());
    let client = server.connect().await;
    let timeout = Duration::from_millis(20);
    let error = client
        .call(KEEP, &NoHeader, Body::None, timeout)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no answer within 20 ms");
    let (_, late) = server.echo.kept.lock().pop().unwrap();
    late.send(0, None, &NoHeader, b"late".to_vec());
    assert_eq!(
        client
            .call(ECHO, &NoHeader, b"x".to_vec(), PATIENCE)
            .await
            .unwrap()
            .body(),
        "x"
    );
    server.stop().await;
}
