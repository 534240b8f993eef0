//! How the targets of a model are ordered, by name.
//!
//! The names are those of the contract; the product's longer forms mean the same.

/// An ordering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Sampled from what each target has earned.
    #[default]
    Thompson,
    /// Fastest first.
    Latency,
    /// Cheapest first.
    Cost,
    /// Best first, by the owner's table.
    Quality,
    /// By weight, at random.
    Weighted,
    /// As listed.
    Ordered,
    /// Fastest first, a second one when the deadline is in danger (rule Q4).
    Hedged,
}

/// Every word for a policy; its own name stands first.
pub const POLICIES: &[(&str, Policy)] = &[
    ("thompson", Policy::Thompson),
    ("latency", Policy::Latency),
    ("cost", Policy::Cost),
    ("quality", Policy::Quality),
    ("weighted", Policy::Weighted),
    ("ordered", Policy::Ordered),
    ("hedged", Policy::Hedged),
    // The names of the product's pages.
    ("thompson-sampling", Policy::Thompson),
    ("latency-optimized", Policy::Latency),
    ("cost-optimized", Policy::Cost),
    ("quality-optimized", Policy::Quality),
];

impl Policy {
    /// Every policy, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Thompson, Self::Latency, Self::Cost, Self::Quality, Self::Weighted, Self::Ordered, Self::Hedged];

    /// Reads a policy by its name or the product's alias for it.
    pub fn parse(text: &str) -> Option<Self> {
        POLICIES.iter().find(|(word, _)| *word == text).map(|(_, policy)| *policy)
    }

    /// Its own name, `thompson` and so on.
    pub fn as_str(self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self).map_or("", |(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for (word, policy) in POLICIES {
            assert_eq!(Policy::parse(word), Some(*policy));
            assert_eq!(Policy::parse(policy.as_str()), Some(*policy));
        }
        assert_eq!(Policy::parse("best"), None);
        assert!(Policy::ALL.iter().enumerate().all(|(place, policy)| place == *policy as usize));
    }
}
