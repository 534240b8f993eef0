//! Where chance comes from: one small generator for each question that is left to it.
//!
//! Every draw of a run belongs to a purpose, a request and a turn, and has a generator (PCG-XSL-RR 128/64) of its own that is
//! seeded with these and the plan's seed. So a request's content does not depend on which thread asks, nor in what order, and
//! giving a plan one more distribution changes nothing that was drawn before.

use rand_pcg::Pcg64Mcg;

/// What is being drawn. The numbers are part of what a seed means: they stay.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The gaps of a random rhythm; one generator for the whole run.
    Gaps = 1,
    /// Which share of the traffic.
    Share = 2,
    /// Which tenant, where tenants have weights.
    Tenant = 3,
    /// Tokens of the prompt.
    PromptLength = 4,
    /// Tokens of the answer.
    OutputLength = 5,
    /// Turns of the session.
    Turns = 6,
    /// How long a person thinks before a turn.
    Think = 7,
    /// Which words.
    Words = 8,
    /// Which of the shared prefixes.
    Prefix = 9,
    /// Tokens of a shared prefix; the request is the prefix's number.
    PrefixLength = 10,
    /// Whether the turn asks for a tool.
    Tool = 11,
}

/// The generator of one draw.
pub(super) fn generator(seed: u64, purpose: Purpose, index: u64, turn: u32) -> Pcg64Mcg {
    let subject = (purpose as u64) << 32 | u64::from(turn);
    let high = scramble(scramble(seed ^ scramble(subject)).wrapping_add(index.wrapping_mul(GOLDEN)));
    let low = scramble(high ^ GOLDEN);
    Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low))
}

/// A single draw from [0, 1).
pub(super) fn fraction(seed: u64, purpose: Purpose, index: u64, turn: u32) -> f64 {
    use rand::RngCore as _;
    (generator(seed, purpose, index, turn).next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn scramble(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_pinned_and_apart() {
        let draw = |purpose, index, turn| fraction(1, purpose, index, turn);
        assert_eq!(draw(Purpose::Share, 0, 0), draw(Purpose::Share, 0, 0));
        let all = [
            draw(Purpose::Share, 0, 0),
            draw(Purpose::Share, 1, 0),
            draw(Purpose::Share, 0, 1),
            draw(Purpose::Tenant, 0, 0),
            fraction(2, Purpose::Share, 0, 0),
        ];
        assert!(all.iter().all(|one| (0.0..1.0).contains(one)));
        assert!((0..5).all(|a| (0..a).all(|b| all[a] != all[b])), "{all:?}");
    }

    #[test]
    fn fractions_are_even_over_requests() {
        let mean = (0..10_000).map(|index| fraction(7, Purpose::Share, index, 0)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.015, "{mean}");
    }
}
