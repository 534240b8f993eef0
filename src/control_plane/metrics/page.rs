//! The figures of one moment, before anybody writes them down in some format.

use super::families::Family;
use super::histogram::Spread;

/// All families that have something to say, in order.
#[derive(Default)]
pub struct Page {
    pub families: Vec<(&'static Family, Vec<Sample>)>,
}

/// One series.
pub struct Sample {
    /// The values of the family's labels, in its order.
    pub labels: Vec<String>,
    pub value: Value,
}

/// What it has come to.
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Any number.
    Number(f64),
    /// Durations.
    Spread(Spread),
}

impl Page {
    /// A family without labels.
    pub fn one(&mut self, family: &'static Family, value: impl Into<Value>) {
        self.each(family, [(Vec::new(), value.into())]);
    }

    /// A family with its series; one without any is left out.
    pub fn each(&mut self, family: &'static Family, series: impl IntoIterator<Item = (Vec<String>, Value)>) {
        let sample = |(labels, value): (Vec<String>, Value)| {
            debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
            Sample { labels, value }
        };
        let samples: Vec<Sample> = series.into_iter().map(sample).collect();
        if !samples.is_empty() {
            self.families.push((family, samples));
        }
    }

    /// Puts the families in the order in which they are described.
    pub fn sort(&mut self) {
        let place = |family: &Family| super::families::FAMILIES.iter().position(|known| known.name == family.name);
        self.families.sort_by_key(|(family, _)| place(family));
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Count(u64::from(truth))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Spread> for Value {
    fn from(spread: Spread) -> Self {
        Self::Spread(spread)
    }
}
