//! What a broker does to a paced run.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use protocol::frame::Codec;

use super::super::target::Target;
use super::*;

/// A connection to a broker, its side of it, and a window of so many requests.
fn connected(window: usize) -> (Connection, TcpStream, Frames) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target {
        broker: listener.local_addr().unwrap().to_string(),
        topic: "T".to_owned(),
        topics: 1,
        queues: 1,
        size: 100,
        codec: Codec::Json,
    };
    let connection = target.connect().unwrap();
    let (broker, _) = listener.accept().unwrap();
    (
        connection,
        broker,
        Frames::new(&target, 1, window, 0).unwrap(),
    )
}

fn pace(rate: u64, messages: u64) -> Pace {
    Pace {
        origin: monotonic(),
        rate,
        messages,
        batch: 1,
        connections: 1,
        counted_from: Duration::ZERO,
        run: None,
    }
}

#[test]
fn a_broker_that_goes_away_ends_the_run_though_the_window_is_full() {
    let (connection, mut broker, frames) = connected(2);
    let pace = pace(1_000_000, 1_000);
    std::thread::scope(|scope| {
        let live = Live::default();
        let run = scope.spawn(move || send(connection, frames, &pace, 0, &live));
        // The whole window: what would be written next waits for an answer.
        let mut window = [0; 2];
        broker.read_exact(&mut window).unwrap();
        drop(broker);
        let error = run.join().unwrap().err().unwrap().to_string();
        assert!(error.contains("broker"), "{error}");
    });
}

#[test]
fn a_run_that_is_stopped_waits_for_the_answers_to_what_it_sent() {
    let (connection, mut broker, frames) = connected(2);
    let pace = pace(1_000, 1_000_000);
    let live = Live::default();
    let answered = std::thread::scope(|scope| {
        let run = scope.spawn(|| send(connection, frames, &pace, 0, &live));
        let (mut bytes, mut answered) = (Vec::new(), 0);
        let mut read = [0; 4096];
        while let count @ 1.. = broker.read(&mut read).unwrap() {
            bytes.extend_from_slice(&read[..count]);
            while let Some(frame) = protocol::frame::cut(&bytes, 1 << 20).unwrap() {
                let opaque = protocol::command::json_head(&bytes[frame.header])
                    .unwrap()
                    .opaque;
                bytes.drain(..frame.end);
                let header = format!(r#"{{"code":0,"flag":1,"opaque":{opaque}}}"#);
                let length = header.len() as u32;
                let lengths = [(length + 4).to_be_bytes(), length.to_be_bytes()].concat();
                broker.write_all(&lengths).unwrap();
                broker.write_all(header.as_bytes()).unwrap();
                answered += 1;
                if answered == 20 {
                    live.stop();
                }
            }
        }
        let sent = run.join().unwrap().unwrap().messages;
        assert_eq!(sent, answered);
        sent
    });
    assert!((20..1_000).contains(&answered), "{answered}");
}
