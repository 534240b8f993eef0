//! Simulated spending of many kinds, for trying forecasts on: weeks with a season, growth, runaway days, outages, long silences, steps.

/// A kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Working days and weekends, with noise.
    Weekly,
    /// The same, growing by a fifth a month.
    Growth,
    /// The same, with a day in fifty that costs six times as much.
    Spikes,
    /// The same, with one to three days of nothing now and then.
    Outages,
    /// Two days in three cost nothing, the others very different amounts.
    Sparse,
    /// The same as weekly, at a new level every two months or so.
    Steps,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Weekly, Self::Growth, Self::Spikes, Self::Outages, Self::Sparse, Self::Steps];

    /// Dollars of each day; the first day is `first_day` of the Unix epoch.
    pub fn simulate(self, seed: u64, first_day: u64, days: usize) -> Vec<f64> {
        let mut dice = fastrand::Rng::with_seed(seed);
        let weekend = 0.2 + 0.5 * dice.f64();
        let (mut level, mut silent) = (10.0 * (3.0 * normal(&mut dice)).exp().clamp(0.01, 100.0), 0);
        let mut costs = Vec::with_capacity(days);
        for day in 0..days {
            let season = if (first_day + day as u64 + 3) % 7 >= 5 { weekend } else { 1.0 };
            let noise = (0.15 * normal(&mut dice)).exp();
            if self == Self::Growth {
                level *= 1.2f64.powf(1.0 / 30.0);
            }
            if self == Self::Steps && dice.f64() < 1.0 / 60.0 {
                level *= if dice.bool() { 1.5 } else { 0.65 };
            }
            if self == Self::Outages && dice.f64() < 1.0 / 30.0 {
                silent = dice.usize(1..=3);
            }
            let mut cost = level * season * noise;
            if self == Self::Spikes && dice.f64() < 0.02 {
                cost *= 6.0;
            }
            if self == Self::Sparse {
                cost = if dice.f64() < 1.0 / 3.0 { level * (0.6 * normal(&mut dice)).exp() } else { 0.0 };
            }
            if silent > 0 {
                (silent, cost) = (silent - 1, 0.0);
            }
            costs.push(cost);
        }
        costs
    }
}

fn normal(dice: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0
}
