//! Which keys a simulated provider accepts, and when: what a test of rotation holds the gateway's promise against.
//!
//! A key has periods. Inside one it is accepted, outside it is refused exactly as an unknown one is: that is all a client of the real
//! service sees of a revoked key. A request that was accepted is served to its end, also when the key is revoked meanwhile, as real services
//! do. The periods that were are kept, so that a test can ask afterwards what had been possible at an instant.

use super::fault::duration;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// A key and when it is accepted.
///
/// ```
/// use igris_load::simulator::KeyTerms;
///
/// // Revoked a minute after the start; refused for the first ten seconds; good twice.
/// for text in ["sk-old@..60s", "sk-new@10s..", "sk-odd@..5s,20s..30s", "sk-always"] {
///     assert!(text.parse::<KeyTerms>().is_ok(), "{text}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    key: String,
    /// From when, until when; the end is no part of it.
    periods: Vec<(Duration, Option<Duration>)>,
}

/// One key's periods; the last may have no end.
struct Known {
    key: String,
    periods: Vec<Period>,
}

#[derive(Clone, Copy)]
struct Period {
    from: Instant,
    until: Option<Instant>,
}

/// The keys of one simulator.
pub(super) struct Keyring {
    keys: RwLock<Vec<Known>>,
}

// === impl KeyTerms ===

impl KeyTerms {
    /// A key that is always accepted.
    pub fn always(key: impl Into<String>) -> Self {
        Self { key: key.into(), periods: vec![(Duration::ZERO, None)] }
    }

    /// A key that is never accepted; see [`Simulator::accept_key`](super::Simulator::accept_key).
    pub fn never(key: impl Into<String>) -> Self {
        Self { key: key.into(), periods: Vec::new() }
    }

    /// A key that is accepted from then on.
    pub fn from(key: impl Into<String>, from: Duration) -> Self {
        Self { key: key.into(), periods: vec![(from, None)] }
    }

    /// A key that is accepted until then.
    pub fn until(key: impl Into<String>, until: Duration) -> Self {
        Self { key: key.into(), periods: vec![(Duration::ZERO, Some(until))] }
    }

    /// The same, accepted in one more period.
    #[must_use]
    pub fn and(mut self, from: Duration, until: Option<Duration>) -> Self {
        self.periods.push((from, until));
        self
    }

    /// The key's text.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn begin(self, zero: Instant) -> Known {
        let at = |after: Duration| zero + after;
        let periods = self.periods.iter().map(|(from, until)| Period { from: at(*from), until: until.map(at) });
        Known { key: self.key, periods: periods.collect() }
    }
}

impl FromStr for KeyTerms {
    type Err = String;

    /// Reads `KEY` or `KEY@PERIOD[,PERIOD…]`, a period being `FROM..UNTIL`, `FROM..`, `..UNTIL` or `..`, in durations from the start. A key
    /// with an `@` in it needs its periods: what follows the last one is read as such.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((key, periods)) = text.rsplit_once('@') else { return Ok(Self::always(text)) };
        if key.is_empty() {
            return Err("there is no key before the @".to_owned());
        }
        let periods = periods.split(',').map(period).collect::<Result<_, _>>()?;
        Ok(Self { key: key.to_owned(), periods })
    }
}

fn period(text: &str) -> Result<(Duration, Option<Duration>), String> {
    let form = || format!("{text:?} is not a period such as 0s..60s, 60s.. or ..60s");
    let (from, until) = text.split_once("..").ok_or_else(form)?;
    let at = |text: &str| if text.is_empty() { Ok(None) } else { duration(text).map(Some) };
    let (from, until) = (at(from)?.unwrap_or_default(), at(until)?);
    match until {
        Some(until) if until <= from => Err(format!("the period {text:?} ends before it begins")),
        _ => Ok((from, until)),
    }
}

// === impl Keyring ===

impl Keyring {
    /// Keys whose periods count from `zero`; none means any key.
    pub(super) fn new(terms: Vec<KeyTerms>, zero: Instant) -> Self {
        Self { keys: RwLock::new(terms.into_iter().map(|terms| terms.begin(zero)).collect()) }
    }

    /// Whether a key is accepted at that instant.
    pub(super) fn accepts(&self, key: &str, at: Instant) -> bool {
        let keys = self.read();
        keys.is_empty() || keys.iter().any(|known| known.key == key && known.periods.iter().any(|it| it.holds(at)))
    }

    /// Whether anything was ever said of a key.
    pub(super) fn names(&self, key: &str) -> bool {
        self.read().iter().any(|known| known.key == key)
    }

    /// Every key with whether it is accepted at that instant.
    pub(super) fn standing(&self, at: Instant) -> Vec<(String, bool)> {
        let accepted = |known: &Known| known.periods.iter().any(|period| period.holds(at));
        self.read().iter().map(|known| (known.key.clone(), accepted(known))).collect()
    }

    /// Whether one period of a key covers all of that time.
    pub(super) fn accepted_throughout(&self, key: &str, from: Instant, until: Instant) -> bool {
        let covers = |period: &Period| period.holds(from) && period.holds(until);
        let keys = self.read();
        keys.is_empty() || keys.iter().any(|known| known.key == key && known.periods.iter().any(covers))
    }

    /// Replaces all keys and what was known of them.
    pub(super) fn replace(&self, terms: Vec<KeyTerms>, now: Instant) {
        *self.write() = terms.into_iter().map(|terms| terms.begin(now)).collect();
    }

    /// Gives one key other periods from now on; those that were stay known.
    pub(super) fn change(&self, terms: KeyTerms, now: Instant) {
        let mut keys = self.write();
        let new = terms.begin(now);
        let Some(known) = keys.iter_mut().find(|known| known.key == new.key) else { return keys.push(new) };
        known.periods.retain(|period| period.from < now);
        for period in &mut known.periods {
            period.until = Some(period.until.map_or(now, |until| until.min(now)));
        }
        // A period that goes on unbroken is one.
        let goes_on = |new: &Period| new.from == now;
        let mut periods = new.periods;
        let last = known.periods.last_mut().filter(|last| last.until == Some(now));
        if let (Some(last), Some(at)) = (last, periods.iter().position(goes_on)) {
            last.until = periods.remove(at).until;
        }
        known.periods.append(&mut periods);
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Known>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Known>> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Period {
    fn holds(&self, at: Instant) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn terms_are_read_and_wrong_ones_refused() {
        let read = |text: &str| text.parse::<KeyTerms>();
        assert_eq!(read("sk-a"), Ok(KeyTerms::always("sk-a")));
        assert_eq!(read("sk-a@.."), Ok(KeyTerms::always("sk-a")));
        assert_eq!(read("sk-a@..60s"), Ok(KeyTerms::until("sk-a", 60 * SECOND)));
        assert_eq!(read("sk@a@1m.."), Ok(KeyTerms::from("sk@a", 60 * SECOND)));
        let twice = KeyTerms::until("k", 5 * SECOND).and(20 * SECOND, Some(30 * SECOND));
        assert_eq!(read("k@..5s,20s..30s"), Ok(twice));
        for wrong in ["@..", "k@", "k@5s", "k@5s..5s", "k@5s..4s", "k@..5s,", "k@x..", "k@-1s.."] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_accepted_from_the_first_instant_of_a_period_and_no_more_at_its_end() {
        let zero = Instant::now();
        let ring = Keyring::new(vec![KeyTerms::from("a", SECOND).and(5 * SECOND, Some(6 * SECOND))], zero);
        let nanosecond = Duration::from_nanos(1);
        assert!(!ring.accepts("a", zero + SECOND - nanosecond) && ring.accepts("a", zero + SECOND));
        let ring = Keyring::new(vec![KeyTerms::until("a", SECOND), KeyTerms::never("b")], zero);
        assert!(ring.accepts("a", zero + SECOND - nanosecond) && !ring.accepts("a", zero + SECOND));
        assert!(!ring.accepts("b", zero) && !ring.accepts("c", zero));
        assert!(Keyring::new(Vec::new(), zero).accepts("anything", zero), "no keys: any");
    }

    #[test]
    fn what_was_accepted_stays_known_when_a_key_is_switched() {
        let zero = Instant::now();
        let at = |seconds: u32| zero + SECOND * seconds;
        let ring = Keyring::new(vec![KeyTerms::always("a")], zero);
        ring.change(KeyTerms::never("a"), at(10));
        assert!(!ring.accepts("a", at(10)) && ring.accepted_throughout("a", at(1), at(9)));
        assert!(!ring.accepted_throughout("a", at(9), at(10)));
        ring.change(KeyTerms::always("a"), at(20));
        assert!(!ring.accepts("a", at(19)) && ring.accepts("a", at(20)));
        assert!(!ring.accepted_throughout("a", at(9), at(21)), "two periods are not one");
        ring.change(KeyTerms::always("a"), at(30));
        assert!(ring.accepted_throughout("a", at(21), at(40)), "nothing changed at 30");
        ring.change(KeyTerms::always("new"), at(30));
        assert!(ring.accepts("new", at(30)) && !ring.accepts("new", at(29)));
    }
}
