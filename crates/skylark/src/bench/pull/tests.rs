//! What counts as read, told by a broker that answers from a script.

use std::io::Write;
use std::net::TcpListener;

use protocol::frame::Codec;

use super::*;

/// Reads a queue of messages 0 to 9 from a broker whose answers are these codes with these next offsets; errors by code,
/// and the remark of each.
fn read_from(answers: &[(i32, i64)]) -> Vec<(i32, String)> {
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
    let mut out = BytesMut::new();
    for (code, next) in answers {
        let command = CommandOut {
            code: *code,
            flag: 1,
            ..CommandOut::default()
        };
        let header = PullMessageResponse {
            suggest_which_broker_id: 0,
            next_begin_offset: QueueOffset(*next),
            min_offset: QueueOffset(0),
            max_offset: QueueOffset(10),
            offset_delta: None,
            topic_sys_flag: None,
            group_sys_flag: None,
            forbidden_type: None,
        };
        encode_command(&mut out, Codec::Json, &command, &header, 0).unwrap();
    }
    broker.write_all(&out).unwrap();
    let reader = Reader {
        queue_id: 3,
        first: QueueOffset(0),
        end: QueueOffset(10),
        next: QueueOffset(0),
    };
    let puller = Puller {
        target: &target,
        hold: false,
        sub_version: 0,
    };
    let span = Span {
        counted_from: monotonic(),
        until: None,
    };
    let tally = read(
        connection,
        vec![reader],
        &puller,
        span,
        None,
        &Live::default(),
    )
    .unwrap();
    let errors = tally.errors.into_iter();
    errors
        .map(|(code, failures)| (code, failures.remark))
        .collect()
}

#[test]
fn a_queue_read_to_its_end_is_no_error() {
    assert_eq!(
        read_from(&[(response::SUCCESS, 7), (response::SUCCESS, 10)]),
        []
    );
}

#[test]
fn nothing_before_the_end_is_an_error() {
    let errors = read_from(&[(response::SUCCESS, 7), (response::PULL_NOT_FOUND, 7)]);
    assert_eq!(
        errors,
        [(
            response::PULL_NOT_FOUND,
            "queue 3 has nothing at 7, though it should reach to 10".to_owned()
        )]
    );
}

#[test]
fn what_is_stepped_over_is_an_error_and_the_rest_is_read() {
    let moved = response::PULL_OFFSET_MOVED;
    let errors = read_from(&[(moved, 4), (response::SUCCESS, 10)]);
    assert_eq!(
        errors,
        [(
            moved,
            "queue 3 has nothing at 0, though it should reach to 10".to_owned()
        )]
    );
}
