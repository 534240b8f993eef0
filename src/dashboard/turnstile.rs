//! Guesses at a token: a few a minute from one address, and a bound over all addresses. A right token is never counted.

use crate::limits::dashboard::{GUESSERS_MAX, GUESSES_EACH, GUESSES_IN_ALL, GUESSES_WINDOW};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong tokens of the window under way.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    began: Option<Instant>,
    by_address: HashMap<IpAddr, u32>,
    in_all: u32,
}

impl Turnstile {
    /// Whether an address may try; if not, when again.
    pub(super) fn opens(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let left = match self.began {
            Some(began) => GUESSES_WINDOW.saturating_sub(now.saturating_duration_since(began)),
            None => Duration::ZERO,
        };
        if left.is_zero() {
            *self = Self::default();
            return Ok(());
        }
        let own = self.by_address.get(&from).copied().unwrap_or(0);
        let strange = own == 0 && self.by_address.len() >= GUESSERS_MAX;
        if own >= GUESSES_EACH || self.in_all >= GUESSES_IN_ALL || strange { Err(left) } else { Ok(()) }
    }

    /// Counts a wrong one; whether it is the first of its window.
    pub(super) fn count(&mut self, from: IpAddr, now: Instant) -> bool {
        self.began.get_or_insert(now);
        *self.by_address.entry(from).or_default() += 1;
        self.in_all += 1;
        self.in_all == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_few_guesses_a_window_and_others_have_theirs() {
        let (mut turnstile, now) = (Turnstile::default(), Instant::now());
        let [one, other] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        for guess in 0..GUESSES_EACH {
            assert!(turnstile.opens(one, now).is_ok(), "{guess}");
            assert_eq!(turnstile.count(one, now), guess == 0);
        }
        assert_eq!(turnstile.opens(one, now), Err(GUESSES_WINDOW));
        assert!(turnstile.opens(other, now).is_ok());
        assert!(turnstile.opens(one, now + GUESSES_WINDOW).is_ok());
    }

    #[test]
    fn all_addresses_together_have_a_bound() {
        let (mut turnstile, now) = (Turnstile::default(), Instant::now());
        let address = |n: u32| IpAddr::from([10, 0, (n / 250) as u8, (n % 250) as u8]);
        let tried = (0..).find(|n| {
            let open = turnstile.opens(address(*n), now).is_ok();
            if open {
                turnstile.count(address(*n), now);
            }
            !open
        });
        assert_eq!(tried, Some(GUESSES_IN_ALL.min(GUESSERS_MAX as u32)));
    }
}
