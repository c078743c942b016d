//! A chain against a plain byte vector.

use super::*;
use proptest::prelude::*;

fn sent(chain: &Chain, slices_max: usize) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); slices_max];
    let filled = chain.slices(&mut slices);
    slices[..filled]
        .iter()
        .flat_map(|slice| slice.to_vec())
        .collect()
}

#[test]
fn a_large_body_is_not_copied() {
    let body = Bytes::from(vec![7; 4096]);
    let mut chain = Chain::default();
    chain.heads.extend_from_slice(b"head");
    chain.push_body(body.clone().into());
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(chain.slices(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), body.as_ptr());
}

#[derive(Clone, Debug)]
enum Step {
    Head(usize),
    Body(usize),
    Write(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..40usize).prop_map(Step::Head),
        prop_oneof![0..40usize, 500..1500usize].prop_map(Step::Body),
        (1..4000usize).prop_map(Step::Write),
    ]
}

proptest! {
    #[test]
    fn behaves_as_a_byte_queue(steps in prop::collection::vec(step(), 1..60), slices_max in 1..5usize) {
        let mut chain = Chain::default();
        let mut model: Vec<u8> = Vec::new();
        let mut next = 0u8;
        let mut fill = |len: usize| {
            (0..len).map(|_| { next = next.wrapping_add(1); next }).collect::<Vec<u8>>()
        };
        for step in steps {
            match step {
                Step::Head(len) => {
                    let bytes = fill(len);
                    chain.heads.extend_from_slice(&bytes);
                    model.extend(bytes);
                }
                Step::Body(len) => {
                    let bytes = fill(len);
                    model.extend(&bytes);
                    let (left, right) = bytes.split_at(len / 3);
                    chain.push_body(vec![Bytes::copy_from_slice(left), Bytes::copy_from_slice(right)].into());
                }
                Step::Write(len) => {
                    let offered = sent(&chain, slices_max);
                    prop_assert!(model.starts_with(&offered));
                    prop_assert_eq!(offered.is_empty(), model.is_empty());
                    let len = len.min(offered.len());
                    chain.advance(len);
                    model.drain(..len);
                }
            }
            prop_assert_eq!(chain.len(), model.len());
        }
    }
}
