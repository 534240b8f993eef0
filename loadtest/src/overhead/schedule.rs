//! Which request of which pair leaves when: a pure function of the setup and its seed.
//!
//! A pair is one ask to each target. Targets take turns within it, in an order drawn for each pair, so that whatever the first
//! request of a pair does to the second, it does to all targets alike. Requests of a pair leave a fixed time apart.

use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;
use std::time::Duration;

/// The plan of all pairs.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Pairs, warm-up not included.
    pub pairs: u64,
    /// Targets, the direct one included.
    pub targets: usize,
    /// Pairs a second.
    pub rate: f64,
    /// Decides the orders.
    pub seed: u64,
}

impl Schedule {
    /// When the request of a pair to a target leaves, from the start of the run.
    pub fn at(&self, pair: u64, target: usize) -> Duration {
        let slot = 1.0 / (self.rate * self.targets as f64);
        Duration::from_secs_f64(pair as f64 / self.rate + self.place(pair, target) as f64 * slot)
    }

    /// Its turn within the pair, from 0.
    pub fn place(&self, pair: u64, target: usize) -> usize {
        let mut order: Vec<usize> = (0..self.targets).collect();
        let mut rng = Pcg64::seed_from_u64(self.seed ^ pair.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for last in (1..self.targets).rev() {
            order.swap(last, rng.random_range(0..=last));
        }
        order.iter().position(|which| *which == target).unwrap_or(0)
    }

    /// The number by which the provider knows the request; none is used twice within a run.
    pub fn id(&self, pair: u64, target: usize) -> u64 {
        // The seed tells apart two runs against one provider; 24 bits of pairs and 8 of targets are more than a run may have.
        (self.seed & 0x7f_ffff) << 32 | pair << 8 | target as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_as_frequent_and_no_two_requests_leave_together() {
        let schedule = Schedule { pairs: 6000, targets: 3, rate: 100.0, seed: 5 };
        let mut orders = std::collections::BTreeMap::<Vec<usize>, u32>::new();
        for pair in 0..schedule.pairs {
            let places: Vec<usize> = (0..3).map(|target| schedule.place(pair, target)).collect();
            assert_eq!(places.iter().sum::<usize>(), 3, "{places:?}");
            *orders.entry(places).or_default() += 1;
        }
        // Six orders, 1000 each; chi-square with 5 degrees of freedom stays below 20.5 but once in 1000.
        let off: f64 = orders.values().map(|count| (f64::from(*count) - 1000.0).powi(2) / 1000.0).sum();
        assert!(orders.len() == 6 && off < 20.5, "{orders:?}");
        let mut instants: Vec<_> = (0..100).flat_map(|pair| (0..3).map(move |target| (pair, target))).collect();
        instants.sort_by_key(|(pair, target)| schedule.at(*pair, *target));
        let apart = instants.windows(2).map(|two| schedule.at(two[1].0, two[1].1) - schedule.at(two[0].0, two[0].1));
        assert!(apart.min().is_some_and(|least| least > Duration::from_micros(3300)));
    }
}
