//! One that asks little beside a crowd that keeps much coming. What it waits for is counted in requests, not in time: all
//! runs on one thread, so there is one turn at a time.

use super::*;

const CROWD: usize = 64;
/// Requests of each.
const EACH: usize = 400;

/// Runs `test` on a runtime like a server's, with one worker.
fn on_one_thread(test: impl Future<Output = ()> + Send + 'static) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().worker_threads(1).event_interval(2);
    let runtime = runtime.build().unwrap();
    runtime.block_on(async { tokio::spawn(test).await.unwrap() });
}

/// Connections on which much has been sent, and one on which nothing has.
async fn crowd(server: &Running, frames: &[u8]) -> (Vec<net::Stream>, net::Stream) {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(raw(server).await);
    }
    let polite = raw(server).await;
    for stream in &mut crowd {
        stream.write_all(frames).await.unwrap();
    }
    (crowd, polite)
}

/// Requests that are handed on before one that the polite one sends now.
async fn handed_on_before(server: &Running, polite: &mut net::Stream) -> usize {
    let request = request_frame(COUNT, 1, b"");
    let before = server.echo.handled();
    polite.write_all(&request).await.unwrap();
    let mut read = BytesMut::new();
    loop {
        assert!(in_time(polite.read_buf(&mut read)).await.unwrap() > 0);
        if let Some(frame) = protocol::frame::split(&mut read, 1000).unwrap() {
            let count: usize = std::str::from_utf8(&frame.body).unwrap().parse().unwrap();
            return count - before - 1;
        }
    }
}

#[test]
fn who_asks_little_waits_for_a_few_turns() {
    on_one_thread(async {
        let server = serve(Limits::default());
        let frames = request_frame(ECHO, 1, b"").repeat(EACH);
        let (crowd, mut polite) = crowd(&server, &frames).await;
        while server.echo.handled() < CROWD * EACH / 4 {
            tokio::task::yield_now().await;
        }
        let first = handed_on_before(&server, &mut polite).await;
        let second = handed_on_before(&server, &mut polite).await;
        assert!(server.echo.handled() < CROWD * EACH, "they are still at it");
        assert!(first.max(second) <= 2 * 128, "{first}, {second}");
        drop(crowd);
        server.stop().await;
    });
}

#[test]
fn a_crowd_that_waited_for_room_stands_in_line() {
    on_one_thread(async {
        let server = serve(Limits {
            waiting_bytes_soft: 256 << 10,
            ..Limits::default()
        });
        let frames = request_frame(KEEP, 1, &[0; 200]).repeat(EACH);
        let (crowd, mut polite) = crowd(&server, &frames).await;
        for _ in 0..3 {
            let mut seen = 0;
            while seen < server.echo.handled() {
                seen = server.echo.handled();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            server.answer_all();
            let before = handed_on_before(&server, &mut polite).await;
            assert!(before <= 2 * 128, "{before}");
        }
        assert!(server.echo.handled() < CROWD * EACH, "they are still at it");
        drop(crowd);
        eventually(|| {
            server.echo.kept.lock().clear();
            server.echo.closed.lock().len() == CROWD
        })
        .await;
        server.stop().await;
    });
}

#[test]
fn who_is_closed_keeps_no_turn() {
    on_one_thread(async {
        let server = serve(Limits::default());
        let (mut closed, mut next) = (raw(&server).await, raw(&server).await);
        let many = request_frame(ECHO, 1, b"").repeat(48);
        let last = request_frame(CLOSE, 1, b"");
        closed
            .write_all(&[&many[..], &last].concat())
            .await
            .unwrap();
        eventually(|| server.echo.handled() == 48 + 1).await;
        next.write_all(&many).await.unwrap();
        eventually(|| server.echo.handled() == 48 + 1 + 48).await;
        assert!(server.echo.closed.lock().is_empty(), "one still lingers");
        drop((closed, next));
        server.stop().await;
    });
}
