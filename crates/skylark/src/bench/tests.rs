//! Work shared out among connections.

use super::*;

#[test]
fn shares_add_up_and_differ_by_one_at_most() {
    for (total, workers) in [(0, 1), (10, 3), (1000, 4), (3, 8)] {
        let shares: Vec<_> = (0..workers)
            .map(|number| share(total, workers, number))
            .collect();
        assert_eq!(shares.iter().sum::<u64>(), total);
        assert!(shares[0] - shares[shares.len() - 1] <= 1);
    }
}
