//! What a broker does to a paced run.

use std::io::Read;
use std::net::TcpListener;

use protocol::frame::Codec;

use super::super::target::Target;
use super::*;

#[test]
fn a_broker_that_goes_away_ends_the_run_though_the_window_is_full() {
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
    let (mut broker, _) = listener.accept().unwrap();
    let frames = Frames::new(&target, 1, 2, 0).unwrap();
    let pace = Pace {
        origin: monotonic(),
        rate: 1_000_000,
        messages: 1_000,
        batch: 1,
        connections: 1,
        counted_from: Duration::ZERO,
        run: None,
    };
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
