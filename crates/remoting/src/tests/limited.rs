//! What happens at each limit.

use super::*;

fn limits() -> Limits {
    Limits {
        stall: Duration::from_millis(500),
        ..Limits::default()
    }
}

impl Running {
    pub(super) fn kept(&self) -> usize {
        self.echo.kept.lock().len()
    }

    fn answer_one(&self) {
        let (body, reply) = self.echo.kept.lock().pop().unwrap();
        reply.send(0, None, &NoHeader, body);
    }

    pub(super) fn answer_all(&self) {
        while self.kept() > 0 {
            self.answer_one();
        }
    }
}

/// Long enough for something that must not happen to happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn requests_in_flight_are_limited_by_not_reading() {
    let server = serve(Limits {
        connection_frames_max: 4,
        batch_frames_max: 4,
        ..limits()
    });
    let client = server.connect().await;
    let calls: Vec<_> = (0..10)
        .map(|_| client.call(KEEP, &NoHeader, Body::None, PATIENCE))
        .collect();
    eventually(|| server.kept() == 4).await;
    a_moment().await;
    assert_eq!(server.kept(), 4);

    server.answer_one();
    eventually(|| server.kept() >= 4).await;
    // Held requests don't count.
    server
        .echo
        .kept
        .lock()
        .iter_mut()
        .for_each(|(_, reply)| reply.hold());
    eventually(|| server.kept() >= 8).await;

    while server.kept() > 0 {
        server.answer_one();
        tokio::task::yield_now().await;
    }
    eventually(|| {
        server.answer_all();
        server.echo.handled() == 10
    })
    .await;
    server.answer_all();
    for call in calls {
        assert_eq!(in_time(call).await.unwrap().code, 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn limits_over_all_connections_hold_others_back_until_there_is_room() {
    for limits in [
        Limits {
            frames_max: 4,
            ..limits()
        },
        Limits {
            bytes_max: 4000,
            ..limits()
        },
    ] {
        let server = serve(limits);
        let (greedy, modest) = (server.connect().await, server.connect().await);
        let kept: Vec<_> = (0..4)
            .map(|_| greedy.call(KEEP, &NoHeader, vec![0; 1000], PATIENCE))
            .collect();
        eventually(|| server.kept() == 4).await;

        let mut call = modest.call(ECHO, &NoHeader, Body::None, PATIENCE);
        tokio::select! {
            _ = &mut call => panic!("there was no room"),
            () = a_moment() => {}
        }
        server.answer_one();
        assert_eq!(in_time(call).await.unwrap().code, 0);

        // Room comes back when a connection goes, too.
        drop(greedy);
        eventually(|| server.echo.closed.lock().len() == 1).await;
        server.echo.kept.lock().clear();
        check_alive(&modest).await;
        drop(kept);
        server.stop().await;
    }
}

#[tokio::test]
async fn who_has_little_under_way_is_read_while_others_wait_for_much() {
    let server = serve(Limits {
        waiting_bytes_soft: 40_000,
        ..limits()
    });
    let greedy = [server.connect().await, server.connect().await];
    let keep = |client: &Connection| client.call(KEEP, &NoHeader, vec![0; 1000], PATIENCE);
    let calls: Vec<_> = (0..100).flat_map(|_| greedy.each_ref().map(keep)).collect();
    eventually(|| server.kept() >= 34).await;
    a_moment().await;
    let taken = server.kept();
    // 36 fill what there is; then come what one read brought while there was room, 64 KiB, and the other's share.
    assert!(taken <= 36 + 60 + 16, "{taken} of 200 taken");
    let modest = server.connect().await;
    check_alive(&modest).await;
    // Up to its share, and no further: there is none to give.
    let more: Vec<_> = (0..50).map(|_| keep(&modest)).collect();
    eventually(|| server.kept() >= taken + 14).await;
    a_moment().await;
    assert!((14..18).contains(&(server.kept() - taken)));

    eventually(|| {
        server.answer_all();
        server.echo.handled() == 251
    })
    .await;
    server.answer_all();
    for call in calls.into_iter().chain(more) {
        assert_eq!(in_time(call).await.unwrap().code, 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn halves_of_frames_do_not_block_everybody_for_ever() {
    let server = serve(Limits {
        bytes_max: 50_000,
        ..limits()
    });
    let half = &request_frame(ECHO, 1, &[0; 200_000])[..60_000];
    let mut halves = [raw(&server).await, raw(&server).await];
    for stream in &mut halves {
        stream.write_all(half).await.unwrap();
    }
    // The other half may still come, but does not: both are cut, and there is room again.
    eventually(|| server.echo.closed.lock().len() == 2).await;
    let client = server.connect().await;
    check_alive(&client).await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_no_longer_read_and_then_cut() {
    let server = serve(Limits {
        batch_frames_max: 1,
        ..limits()
    });
    let bystander = server.connect().await;
    let mut stream = raw(&server).await;
    let request = request_frame(LARGE, 1, b"1000000");
    stream.write_all(&request.repeat(100)).await.unwrap();
    eventually(|| !server.echo.closed.lock().is_empty()).await;
    // Some answers fit into the socket's buffers; the rest of the requests was never looked at.
    let handled = server.echo.batches.lock().len();
    assert!(handled < 50, "{handled} requests were handled");
    check_alive(&bystander).await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_reads_slowly_gets_everything() {
    let server = serve(Limits {
        outbound_bytes_soft: 10_000,
        ..Limits::default()
    });
    let mut stream = raw(&server).await;
    let request = request_frame(LARGE, 1, b"100000");
    stream.write_all(&request.repeat(100)).await.unwrap();
    let mut read = BytesMut::new();
    let mut bytes = 0;
    while bytes < 10_000_000 {
        assert!(in_time(stream.read_buf(&mut read)).await.unwrap() > 0);
        while let Some(frame) = protocol::frame::split(&mut read, 16 << 20).unwrap() {
            bytes += frame.body.len();
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    assert_eq!(bytes, 10_000_000);
    server.stop().await;
}

#[tokio::test]
async fn large_answers_to_requests_that_came_together_all_arrive() {
    let server = serve(Limits {
        outbound_bytes_max: 32 << 20,
        ..Limits::default()
    });
    let mut stream = raw(&server).await;
    let request = request_frame(LARGE, 1, b"4000000");
    stream.write_all(&request.repeat(33)).await.unwrap();
    let mut read = BytesMut::new();
    for _ in 0..33 {
        while protocol::frame::split(&mut read, 16 << 20)
            .unwrap()
            .is_none()
        {
            let taken = in_time(stream.read_buf(&mut read)).await.unwrap();
            assert!(taken > 0, "cut though it reads");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn two_ends_with_much_to_say_do_not_wait_for_each_other() {
    let server = serve(Limits {
        stall: Duration::from_secs(2),
        ..limits()
    });
    let client = server.connect().await;
    let calls: Vec<_> = (0..50)
        .map(|_| client.call(ECHO, &NoHeader, vec![0; 1_000_000], PATIENCE))
        .collect();
    for call in calls {
        assert_eq!(in_time(call).await.unwrap().body().len(), 1_000_000);
    }
    server.stop().await;
}

#[tokio::test]
async fn too_much_waiting_for_a_peer_cuts_it_at_once() {
    let server = serve(Limits {
        outbound_bytes_max: 1 << 20,
        stall: PATIENCE,
        ..limits()
    });
    let mut stream = raw(&server).await;
    stream
        .write_all(&request_frame(ECHO, 1, b""))
        .await
        .unwrap();
    eventually(|| !server.echo.peers.lock().is_empty()).await;
    let peer = server.echo.peers.lock().pop().unwrap();
    while peer.notify(ECHO, &NoHeader, vec![0; 100_000]).is_ok() {
        tokio::task::yield_now().await;
    }
    eventually(|| !server.echo.closed.lock().is_empty()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_frame_that_does_not_get_on_is_cut() {
    let server = serve(limits());
    let mut stream = raw(&server).await;
    let frame = request_frame(ECHO, 1, &[0; 1000]);
    let mut sent = 0;
    for byte in &frame {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(sent < frame.len(), "a frame at 100 bytes/s was waited for");
    server.stop().await;
}

#[tokio::test]
async fn a_large_frame_may_take_its_time() {
    let stall = Duration::from_secs(2);
    let server = serve(Limits {
        stall,
        stall_bytes_min: 100,
        ..limits()
    });
    let mut stream = raw(&server).await;
    let frame = request_frame(ECHO, 1, &[0; 20_000]);
    // Twice the stall limit in all, and a hundred times the bytes: there is time for a busy machine.
    for piece in frame.chunks(frame.len() / 20) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(stall / 10).await;
    }
    let mut read = BytesMut::new();
    assert!(in_time(stream.read_buf(&mut read)).await.unwrap() > 0);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let server = serve(Limits {
        idle: Duration::from_secs(2),
        ..limits()
    });
    let (used, mut idle) = (server.connect().await, raw(&server).await);
    let mut closed = std::pin::pin!(read_to_end(&mut idle));
    let read = loop {
        check_alive(&used).await;
        tokio::select! {
            read = &mut closed => break read,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    };
    assert_eq!(read, b"");
    check_alive(&used).await;
    assert_eq!(server.echo.closed.lock().len(), 1);
    eventually(|| server.echo.closed.lock().len() == 2).await;
    eventually(|| used.is_closed()).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_as_they_come() {
    let server = serve(Limits {
        connections_max: 2,
        ..limits()
    });
    let first = server.connect().await;
    let second = server.connect().await;
    for client in [&first, &second] {
        check_alive(client).await;
    }
    assert_eq!(read_to_end(&mut raw(&server).await).await, b"");
    first.close().await;
    eventually(|| server.echo.closed.lock().len() == 1).await;
    let third = server.connect().await;
    check_alive(&third).await;
    server.stop().await;
}

#[tokio::test]
async fn calls_without_an_answer_are_limited() {
    let server = serve(limits());
    let limits = Limits {
        calls_max: 2,
        ..limits()
    };
    let client = connect(&server.addr.to_string(), Arc::new(NoRequests), &limits)
        .await
        .unwrap();
    let call = || client.call(KEEP, &NoHeader, Body::None, PATIENCE);
    let (_first, second) = (call(), call());
    assert_eq!(call().await.unwrap_err(), CallError::Refused(2));
    drop(second);
    let third = call();
    eventually(|| server.kept() == 3).await;
    server.answer_one();
    assert_eq!(in_time(third).await.unwrap().code, 0);
    server.echo.kept.lock().clear();
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_connections() {
    let server = serve(limits());
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(server.connect().await);
    }
    let calls: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(n, client)| client.call(ECHO, &NoHeader, n.to_string().into_bytes(), PATIENCE))
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().body(), n.to_string().as_bytes());
    }
    drop(clients);
    eventually(|| server.echo.closed.lock().len() == 1000).await;
    server.stop().await;
}
