//! A group's bits in the bit maps that Apache's broker may keep beside messages (enableCalcFilterBitMap). Skylark keeps none, but
//! Apache's broker does not read a consumerFilter.json without the bits that it would give itself.

use protocol::bodies::BloomFilterData;

#[cfg(test)]
mod tests;

/// How many bits there are, and how many of them are each group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bloom {
    bits: i32,
    each: i32,
}

impl Bloom {
    /// For so many groups, with so many false hits in a hundred.
    pub(crate) fn new(error_rate: i32, groups: i32) -> Bloom {
        let error_rate = f64::from(error_rate.clamp(1, 99)) / 100.0;
        // In Apache's words, whose rounding counts.
        let log = |base: f64, of: f64| of.ln() / base.ln();
        let each = log(0.5, error_rate).ceil() as i32;
        let bits =
            f64::from(groups.max(1)) * log(2.0, 1.0 / error_rate) * log(2.0, std::f64::consts::E);
        let bytes = (bits.ceil() / 8.0).ceil();
        Bloom {
            bits: (bytes * 8.0) as i32,
            each,
        }
    }

    pub(crate) fn of(&self, group: &str, topic: &str) -> BloomFilterData {
        let hash = murmur3(format!("{group}#{topic}").as_bytes());
        let (first, second) = (hash as i32, (hash >> 32) as i32);
        let position = |turn: i32| {
            let combined = first.wrapping_add(turn.wrapping_mul(second));
            let positive = if combined < 0 { !combined } else { combined };
            positive % self.bits
        };
        BloomFilterData {
            bit_num: self.bits,
            bit_pos: (1..=self.each).map(position).collect(),
        }
    }
}

/// The first half of MurmurHash3 in its form with 128 bits for machines of 64, seed 0.
fn murmur3(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let block = u128::from_le_bytes(*block);
        h1 ^= mix1(block as u64);
        h1 = h1.rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2((block >> 64) as u64);
        h2 = h2.rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    let last = u128::from_le_bytes(last);
    h1 ^= mix1(last as u64) ^ bytes.len() as u64;
    h2 ^= mix2((last >> 64) as u64) ^ bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

fn finish(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}
