//! Why the first candidate stands first, in one sentence for people.

use super::decision::Considered;
use super::policy::Policy;

/// Says why. Candidates stand in the order in which they were to be tried, rejected ones last.
pub fn reason(policy: Policy, exploration: bool, candidates: &[Considered]) -> String {
    let usable: Vec<&Considered> = candidates.iter().filter(|candidate| candidate.rejection.is_none()).collect();
    let mut sentence = match (usable.len(), exploration) {
        (0, _) => format!("{}: nobody may be asked", policy.as_str()),
        (1, _) => format!("{}: the only one that may be asked", policy.as_str()),
        (count, true) => format!("{}: asked to learn about it, of {count}; another looks better", policy.as_str()),
        (count, false) => format!("{}: {} of {count}", policy.as_str(), strength(policy)),
    };
    if usable.first().is_some_and(|first| first.warm) {
        sentence.push_str("; its cache is thought to hold the prompt's beginning");
    }
    let mut rejections: Vec<&str> =
        candidates.iter().filter_map(|candidate| candidate.rejection).map(|why| why.as_str()).collect();
    if !rejections.is_empty() {
        let count = rejections.len();
        rejections.sort_unstable();
        rejections.dedup();
        sentence.push_str(&format!("; {count} rejected ({})", rejections.join(", ")));
    }
    sentence
}

fn strength(policy: Policy) -> &'static str {
    match policy {
        Policy::Thompson => "the best draw from what each has earned,",
        Policy::Latency => "the fastest",
        Policy::Cost => "the cheapest",
        Policy::Quality => "the best by the owner's ranking,",
        Policy::Weighted => "drawn by weight,",
        Policy::Ordered => "the first as listed,",
        Policy::Hedged => "the fastest, another is asked when the deadline is in danger,",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ProviderId;
    use crate::routing::lane::LaneKey;
    use crate::routing::need::Rejection;
    use std::sync::Arc;

    fn candidate(warm: bool, rejection: Option<Rejection>) -> Considered {
        let lane = LaneKey { provider: ProviderId::new("p"), model: Arc::from("m"), credential: None };
        let key_role = None;
        Considered { lane, score: 0.0, cost: None, latency_us: None, error_rate: None, warm, key_role, rejection }
    }

    #[test]
    fn a_sentence_names_what_decided() {
        let halted = candidate(false, Some(Rejection::BreakerOpen));
        let said = |candidates: &[Considered]| reason(Policy::Cost, false, candidates);
        assert_eq!(said(&[candidate(false, None)]), "cost: the only one that may be asked");
        assert_eq!(said(&[candidate(false, None), candidate(false, None)]), "cost: the cheapest of 2");
        let warm = said(&[candidate(true, None), candidate(false, None), halted.clone(), halted.clone()]);
        assert!(warm.ends_with("beginning; 2 rejected (breaker_open)"), "{warm}");
        assert_eq!(said(&[halted]), "cost: nobody may be asked; 1 rejected (breaker_open)");
        let learns = reason(Policy::Thompson, true, &[candidate(false, None), candidate(false, None)]);
        assert!(learns.contains("another looks better"), "{learns}");
    }
}
