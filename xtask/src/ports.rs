//! Free ports on loopback, below the range that outgoing connections take theirs from, so that no client of a
//! test is given one between our look and the server's bind.
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;
/// What a broker on port P opens beside P: the VIP port P-2 and the replication port P+1.
const BELOW: u16 = 2;
const ABOVE: u16 = 1;

/// A port P with P-2 to P+1 free, another one at each call.
pub(crate) fn free() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let step = BELOW + ABOVE + 1;
    let places = COUNT / step;
    let own = (std::process::id().wrapping_mul(7919) % u32::from(places)) as u16;
    for _ in 0..places {
        let place = (own + NEXT.fetch_add(1, Ordering::Relaxed)) % places;
        let port = FIRST + place * step + BELOW;
        if (port - BELOW..=port + ABOVE)
            .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_taken_ones_are_passed_over() {
        let first = free().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 4)).unwrap();
        assert!(![first, first + 4].contains(&free().unwrap()));
    }
}
