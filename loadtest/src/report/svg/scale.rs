//! Where a value stands on an axis, and which values are worth a tick. An axis starts at zero or is marked as logarithmic.

/// The scale of one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Equal steps.
    Linear {
        /// Value at the start.
        low: f64,
        /// Value at the end, above `low`.
        high: f64,
    },
    /// Equal ratios.
    Log {
        /// Value at the start, above zero.
        low: f64,
        /// Value at the end, above `low`.
        high: f64,
    },
}

impl Scale {
    /// From zero to a round value at or above `most`.
    pub fn from_zero(most: f64) -> Self {
        if !most.is_finite() || most <= 0.0 {
            return Self::Linear { low: 0.0, high: 1.0 };
        }
        let step = step(most / 4.0);
        Self::Linear { low: 0.0, high: (most / step - 1e-9).ceil() * step }
    }

    /// Around zero, wide enough for both ends, for differences that may have either sign.
    pub fn around_zero(low: f64, high: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        if !(low.is_finite() && high.is_finite()) || low == high {
            return Self::Linear { low: -1.0, high: 1.0 };
        }
        let step = step((high - low) / 5.0);
        Self::Linear { low: (low / step).floor() * step, high: (high / step).ceil() * step }
    }

    /// Exactly from one value to another.
    pub fn exact(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self::Linear { low, high }
    }

    /// Logarithmic over values above zero, widened to 1, 2 or 5 times a power of ten.
    pub fn log(least: f64, most: f64) -> Self {
        let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
        let most = if most.is_finite() && most > least { most } else { least * 10.0 };
        let rounds = || rounds(least / 10.0, most * 10.0);
        let low = rounds().rfind(|round| *round <= least * (1.0 + 1e-9)).unwrap_or(least);
        let high = rounds().find(|round| *round >= most * (1.0 - 1e-9)).unwrap_or(most);
        Self::Log { low, high: if high > low { high } else { low * 10.0 } }
    }

    /// Whether it must be marked.
    pub fn is_log(&self) -> bool {
        matches!(self, Self::Log { .. })
    }

    /// Where a value stands, from 0 at the start to 1 at the end; what is outside stands at the nearer end.
    pub fn place(&self, value: f64) -> f64 {
        let share = match *self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, .. } if value <= low => 0.0,
            Self::Log { low, high } => (value / low).ln() / (high / low).ln(),
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// About so many round values in it.
    pub fn ticks(&self, about: usize) -> Vec<f64> {
        match *self {
            Self::Linear { low, high } => {
                let step = step((high - low) / about.max(1) as f64);
                multiples(low, high, step)
            }
            Self::Log { low, high } => {
                let inside: Vec<f64> = rounds(low, high).filter(|round| *round <= high * (1.0 + 1e-9)).collect();
                if inside.len() <= about + 2 {
                    return inside;
                }
                let tens: Vec<f64> = inside.into_iter().filter(|round| is_power_of_ten(*round)).collect();
                let every = tens.len().div_ceil(about.max(1)).max(1);
                tens.into_iter().step_by(every).collect()
            }
        }
    }

    /// Round values of a clock in seconds: 1, 2, 5, 10, 15, 30, 60 and so on.
    pub fn clock_ticks(&self, about: usize) -> Vec<f64> {
        const STEPS: [f64; 15] =
            [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0];
        let Self::Linear { low, high } = *self else { return self.ticks(about) };
        let wanted = (high - low) / about.max(1) as f64;
        let step = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| step(wanted));
        if high - low < 2.0 { self.ticks(about) } else { multiples(low, high, step) }
    }
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil();
    let last = (high / step + 1e-9).floor();
    let many = (last - first).clamp(0.0, 1000.0) as usize;
    (0..=many).map(|number| (first + number as f64) * step).collect()
}

/// The least of 1, 2 or 5 times a power of ten that is not below `wanted`.
fn step(wanted: f64) -> f64 {
    if !wanted.is_finite() || wanted <= 0.0 {
        return 1.0;
    }
    let ten = 10f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|times| times * ten)
        .find(|step| *step >= wanted * (1.0 - 1e-9))
        .unwrap_or(ten)
}

/// 1, 2 and 5 times powers of ten from about `low` to about `high`.
fn rounds(low: f64, high: f64) -> impl DoubleEndedIterator<Item = f64> {
    let first = low.log10().floor().clamp(-300.0, 300.0) as i32;
    let last = high.log10().ceil().clamp(-300.0, 300.0) as i32;
    (first..=last)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|times| times * 10f64.powi(power)))
        .filter(move |round| *round >= low * (1.0 - 1e-9))
}

fn is_power_of_ten(value: f64) -> bool {
    let power = value.log10();
    (power - power.round()).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_start_at_zero_and_end_round() {
        assert_eq!(Scale::from_zero(187.0), Scale::Linear { low: 0.0, high: 200.0 });
        assert_eq!(Scale::from_zero(200.0), Scale::Linear { low: 0.0, high: 200.0 });
        assert_eq!(Scale::from_zero(f64::NAN), Scale::Linear { low: 0.0, high: 1.0 });
        assert_eq!(Scale::from_zero(200.0).ticks(4), vec![0.0, 50.0, 100.0, 150.0, 200.0]);
    }

    #[test]
    fn logarithmic_axes_hold_all_they_were_made_for() {
        for (least, most) in [(3.0, 4.0), (1.0, 1.0), (12.5e3, 9.9e9), (0.0, 5.0), (7.0, 7.5e2)] {
            let scale = Scale::log(least, most);
            let Scale::Log { low, high } = scale else { panic!("not logarithmic") };
            assert!(low > 0.0 && low < high, "{low} {high}");
            assert!(least <= 0.0 || (low <= least && high >= most), "{low}..{high} for {least}..{most}");
            assert!(!scale.ticks(5).is_empty() && scale.ticks(5).len() <= 7);
        }
        let scale = Scale::log(1.0, 10_000.0);
        assert!((scale.place(100.0) - 0.5).abs() < 1e-9);
        assert_eq!(scale.place(-5.0), 0.0);
        assert_eq!(scale.ticks(5).len(), 5);
    }

    #[test]
    fn differences_have_zero_inside() {
        let Scale::Linear { low, high } = Scale::around_zero(-3.0, 41.0) else { panic!("not linear") };
        assert!(low <= -3.0 && high >= 41.0);
        assert!(Scale::around_zero(5.0, 9.0).place(0.0) == 0.0);
    }

    #[test]
    fn a_clock_ticks_as_clocks_do() {
        assert_eq!(Scale::exact(0.0, 90.0).clock_ticks(6), vec![0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0]);
        assert!(Scale::exact(0.0, 1.0).clock_ticks(5).len() > 2);
    }
}
