//! Tests of the memory tail: found by offset, bounded, never a copy.

use super::*;

#[test]
fn finds_by_offset() {
    let tail = Tail::new(1 << 20);
    assert_eq!(tail.slice(0, 1), None);
    tail.push(100, Bytes::from_static(b"abcdef"), 6);
    tail.push(200, Bytes::from_static(b"ghi"), 3);
    assert_eq!(tail.slice(99, 1), None);
    assert_eq!(tail.slice(100, 6).unwrap(), "abcdef");
    assert_eq!(tail.slice(103, 3).unwrap(), "def");
    assert_eq!(tail.slice(103, 4), None, "not across chunks");
    assert_eq!(tail.slice(150, 1), None, "the blank at the end of a file");
    assert_eq!(tail.rest_of_chunk(201).unwrap().bytes, "hi");
    assert!(tail.rest_of_chunk(203).is_none());
    assert!(tail.rest_of_chunk(106).is_none());
}

#[test]
fn hands_out_the_written_buffer_itself() {
    let tail = Tail::new(1 << 20);
    let bytes = Bytes::from(vec![7; 64]);
    tail.push(0, bytes.clone(), 64);
    assert_eq!(tail.slice(8, 8).unwrap().as_ptr(), bytes[8..].as_ptr());
}

#[test]
fn drops_the_oldest_by_what_they_occupy() {
    let tail = Tail::new(100);
    tail.push(0, Bytes::from_static(b"a"), 60);
    tail.push(1, Bytes::from_static(b"b"), 40);
    assert!(tail.slice(0, 1).is_some());
    tail.push(2, Bytes::from_static(b"c"), 1);
    assert!(tail.slice(0, 1).is_none());
    assert!(tail.slice(1, 1).is_some());
    tail.push(3, Bytes::from_static(b"d"), 1000);
    assert_eq!(
        tail.slice(3, 1).unwrap(),
        "d",
        "the newest stays, whatever its size"
    );
    assert!(tail.slice(2, 1).is_none());
}
