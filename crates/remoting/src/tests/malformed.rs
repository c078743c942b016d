//! Bytes that are no frames: they end their own connection and nothing else.

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Sends `bytes` on a connection of its own; `closes` if the server is to end it by itself.
async fn check(server: &Running, bytes: &[u8]) {
    let mut stream = raw(server).await;
    // A good request before the bad bytes is still answered.
    stream
        .write_all(&[&request_frame(ECHO, 1, b"before")[..], bytes].concat())
        .await
        .unwrap();
    let read = read_to_end(&mut stream).await;
    assert!(read.ends_with(b"before"), "{bytes:?}");
}

#[tokio::test]
async fn malformed_frames_close_their_connection_only() {
    let server = serve(Limits::default());
    let bystander = server.connect().await;
    let json = |header: &[u8]| {
        let length = (4 + header.len() as u32).to_be_bytes();
        let mark = (header.len() as u32).to_be_bytes();
        [&length[..], &mark[..], header].concat()
    };
    let cases: &[(&str, Vec<u8>)] = &[
        ("negative length", (-1i32).to_be_bytes().to_vec()),
        ("least length", i32::MIN.to_be_bytes().to_vec()),
        ("length 0", vec![0; 4]),
        ("length 3", vec![0, 0, 0, 3]),
        (
            "one over 16 MiB",
            ((16 << 20) + 1 - 4i32).to_be_bytes().to_vec(),
        ),
        ("greatest length", i32::MAX.to_be_bytes().to_vec()),
        ("header longer than its frame", vec![0, 0, 0, 8, 0, 0, 0, 5]),
        ("greatest header", vec![0, 0, 0, 8, 0, 0xff, 0xff, 0xff]),
        ("unknown codec", vec![0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0]),
        ("no JSON", json(b"hello")),
        ("unfinished JSON", json(b"{\"code\":1")),
        ("no code", json(b"{\"opaque\":1}")),
        ("empty header", json(b"")),
        (
            "binary header cut short",
            vec![0, 0, 0, 8, 1, 0, 0, 4, 0, 1, 0, 0],
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in cases {
        println!("{name}");
        check(&server, bytes).await;
    }
    check_alive(&bystander).await;
    server.stop().await;
}

#[tokio::test]
async fn a_frame_cut_off_by_the_sender_is_forgotten() {
    let server = serve(Limits::default());
    let frame = request_frame(ECHO, 1, &[1; 100]);
    for length in [1, 4, 7, 8, 20, frame.len() - 1] {
        let mut stream = raw(&server).await;
        stream.write_all(&frame[..length]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, b"");
    }
    assert!(server.echo.batches.lock().is_empty());
    assert_eq!(server.echo.closed.lock().len(), 6);
    server.stop().await;
}

#[tokio::test]
async fn random_bytes_hurt_nobody() {
    let server = serve(Limits::default());
    let bystander = server.connect().await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        // Half of them look like a frame at first.
        let strategy = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..300));
        let (framed, mut bytes) = strategy.new_tree(&mut runner).unwrap().current();
        if framed && bytes.len() >= 8 {
            let length = (bytes.len() - 4) as u32;
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            let codec = bytes[4] % 2;
            bytes[4..7].copy_from_slice(&[codec, 0, 0]);
        }
        let mut stream = raw(&server).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        read_to_end(&mut stream).await;
    }
    check_alive(&bystander).await;
    server.stop().await;
}

#[tokio::test]
async fn a_frame_may_arrive_byte_by_byte_and_across_reads() {
    let server = serve(Limits::default());
    let mut stream = raw(&server).await;
    let large = vec![3; 300_000];
    let frames = [
        request_frame(ECHO, 1, b"small"),
        request_frame(ECHO, 2, &large),
        request_frame(ECHO, 3, b"last"),
    ];
    for byte in &frames[0] {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        for piece in frames[1..].concat().chunks(50_001) {
            writer.write_all(piece).await.unwrap();
        }
        writer
    });
    let mut read = BytesMut::new();
    let mut bodies = Vec::new();
    while bodies.len() < 3 {
        assert!(in_time(reader.read_buf(&mut read)).await.unwrap() > 0);
        while let Some(frame) = protocol::frame::split(&mut read, 16 << 20).unwrap() {
            bodies.push((frame.head().unwrap().opaque, frame.body));
        }
    }
    assert_eq!(
        bodies,
        [(1, "small".into()), (2, large.into()), (3, "last".into())]
    );
    drop(writing.await.unwrap());
    server.stop().await;
}
