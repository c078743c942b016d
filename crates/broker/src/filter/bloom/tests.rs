//! Bits that Apache's own filter gives.

use super::Bloom;

#[test]
fn the_bits_are_apaches() {
    for (error_rate, groups, bits, name, expected) in [
        (20, 32, 112, "G1#T1", &[36, 12, 100][..]),
        (20, 32, 112, "g#t", &[22, 87, 58]),
        (
            20,
            32,
            112,
            "CID_some_longer_group_name#TopicTest",
            &[25, 42, 33],
        ),
        (20, 32, 112, "組#题", &[108, 5, 14]),
        (20, 64, 216, "G1#T1", &[68, 60, 52]),
        (
            10,
            128,
            616,
            "CID_some_longer_group_name#TopicTest",
            &[193, 434, 481, 165],
        ),
        (1, 1, 16, "g#t", &[6, 7, 10, 12, 1, 15, 2]),
        (99, 5, 8, "G1#T1", &[4]),
        (50, 1_000, 1_448, "G1#T1", &[1_012]),
    ] {
        let (group, topic) = name.split_once('#').unwrap();
        let data = Bloom::new(error_rate, groups).of(group, topic);
        assert_eq!(data.bit_num, bits, "{error_rate} {groups}");
        if !expected.is_empty() {
            assert_eq!(data.bit_pos, expected, "{error_rate} {groups} {name}");
        }
    }
}

#[test]
fn whole_blocks_and_parts_of_them_are_hashed() {
    let bloom = Bloom::new(20, 32);
    let positions = |text: &str| {
        let hash = super::murmur3(text.as_bytes());
        let turn = |turn: i32| {
            let combined = (hash as i32).wrapping_add(turn.wrapping_mul((hash >> 32) as i32));
            (if combined < 0 { !combined } else { combined }) % bloom.bits
        };
        [turn(1), turn(2), turn(3)]
    };
    assert_eq!(positions(""), [0, 0, 0]);
    assert_eq!(positions("0123456789abcde"), [87, 93, 12]);
    assert_eq!(positions("0123456789abcdef"), [11, 47, 60]);
    assert_eq!(positions("0123456789abcdef0"), [60, 67, 74]);
}

#[test]
fn impossible_settings_are_brought_to_the_nearest_possible_ones() {
    assert_eq!(Bloom::new(0, 0), Bloom::new(1, 1));
    assert_eq!(Bloom::new(100, -5), Bloom::new(99, 1));
}
