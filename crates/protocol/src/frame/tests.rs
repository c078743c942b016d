//! Whole, partial and impossible frames.

use super::*;

fn check(bytes: &[u8], expect: Result<Option<usize>, FrameError>) {
    let found = cut(bytes, 64).map(|cut| cut.map(|cut| cut.end));
    assert_eq!(found, expect, "{bytes:?}");
}

#[test]
fn lengths_are_judged_as_soon_as_they_arrive() {
    check(&[], Ok(None));
    check(&[0, 0, 0], Ok(None));
    check(&[0, 0, 0, 4], Ok(None));
    check(&[0, 0, 0, 4, 0, 0, 0, 0], Ok(Some(8)));
    check(&[0, 0, 0, 6, 1, 0, 0, 1, b'h'], Ok(None));
    check(&[0, 0, 0, 6, 1, 0, 0, 1, b'h', b'b', 9], Ok(Some(10)));
    check(&[0, 0, 0, 3], Err(FrameError::Length(3)));
    check(&[0xff, 0xff, 0xff, 0xff], Err(FrameError::Length(-1)));
    let too_long = |bytes| FrameError::TooLong {
        bytes,
        bytes_max: 64,
    };
    check(&[0, 0, 0, 61], Err(too_long(65)));
    check(&[0x7f, 0xff, 0xff, 0xff], Err(too_long(0x8000_0003)));
    check(&[0, 0, 0, 4, 2, 0, 0, 0], Err(FrameError::Codec(2)));
    let header_length = FrameError::HeaderLength {
        header: 1,
        available: 0,
    };
    check(&[0, 0, 0, 4, 0, 0, 0, 1], Err(header_length));
}

#[test]
fn split_shares_the_buffer_and_leaves_the_rest() {
    let mut buf = BytesMut::from(&[0, 0, 0, 6, 1, 0, 0, 1, b'h', b'b', 9, 9][..]);
    let frame = split(&mut buf, 64).unwrap().unwrap();
    assert_eq!(frame.codec, Codec::Rocketmq);
    assert_eq!((&frame.header[..], &frame.body[..]), (&b"h"[..], &b"b"[..]));
    assert_eq!(&buf[..], [9, 9]);
    assert_eq!(split(&mut buf, 64), Ok(None));
}
