//! When a fault strikes, and whom; and the manners of a provider that is well.
//!
//! A rule looks at the requests that fit its filters and its window, counts them, and strikes those it picks. Rules are numbered
//! from 1 in the order of the [`Behaviour`] that holds them; the first that strikes a request wins.

use super::fault::Fault;
use super::latency::{Latency, fraction};
use super::quota::Quota;
use super::surface::Surface;
use super::text::mix;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which of the requests that a rule looks at it strikes; the first is number 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// All of them.
    Always,
    /// Each with this probability, drawn from the server's seed.
    Probability(f64),
    /// Only this one.
    Nth(u64),
    /// So many at the beginning.
    First(u64),
    /// Every so-many-th.
    Every(u64),
}

/// A fault, when it strikes, and whom. Clones share one count of requests.
#[derive(Clone, Debug)]
pub struct FaultRule {
    fault: Fault,
    when: When,
    scope: Scope,
    skip: u64,
    text: Option<String>,
    looked_at: Arc<AtomicU64>,
    struck: Arc<AtomicU64>,
}

/// Which requests a rule looks at; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scope {
    pub(super) model: Option<String>,
    pub(super) key: Option<String>,
    pub(super) dialect: Option<Surface>,
    pub(super) stream: Option<bool>,
    /// A field that must be there, and the glob of its value.
    pub(super) field: Option<(String, String)>,
    /// From when until when, counted from the moment the behaviour was set.
    pub(super) from: Duration,
    pub(super) until: Option<Duration>,
}

/// What a rule sees of a request.
pub(super) struct Subject<'a> {
    pub(super) key: &'a str,
    pub(super) model: &'a str,
    pub(super) surface: Surface,
    pub(super) stream: bool,
    pub(super) fields: &'a [(String, String)],
    /// Time since the behaviour was set.
    pub(super) since: Duration,
    /// Whether its connection has served another before.
    pub(super) reused: bool,
}

/// A fault that strikes, and the number of its rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    /// `None` where the request itself asked for it.
    pub(super) rule: Option<u32>,
}

/// Everything about a simulated provider that may change while it runs.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Wait before the first byte.
    pub latency: Latency,
    /// Wait for every prompt token that no cache knows, before the first byte and on top of `latency`.
    pub prefill_per_token: Duration,
    /// Wait between two events of a stream; counted on a schedule, so that it does not drift.
    pub event_gap: Duration,
    /// The same as a distribution, in place of `event_gap` unless it is [`Latency::None`].
    pub gap: Latency,
    /// Words of an answer whose request does not say otherwise.
    pub tokens: u32,
    /// Events that leave in one write when there is no gap.
    pub events_per_write: u32,
    /// Bytes of one write at most: cuts events anywhere.
    pub write_bytes: Option<usize>,
    /// How many requests a key may make of a model.
    pub quota: Option<Quota>,
    /// The first rule that strikes wins.
    pub faults: Vec<FaultRule>,
}

// === impl FaultRule ===

impl FaultRule {
    /// A rule that looks at every request for the work of a model.
    pub fn new(fault: Fault, when: When) -> Self {
        let (looked_at, struck) = (Arc::default(), Arc::default());
        Self { fault, when, scope: Scope::default(), skip: 0, text: None, looked_at, struck }
    }

    /// Looks only at requests for this model; `*` stands for anything.
    #[must_use]
    pub fn for_model(mut self, model: impl Into<String>) -> Self {
        self.scope.model = Some(model.into());
        self
    }

    /// Looks only at requests that show this key; `*` stands for anything.
    #[must_use]
    pub fn for_key(mut self, key: impl Into<String>) -> Self {
        self.scope.key = Some(key.into());
        self
    }

    /// Looks only at requests of this dialect.
    #[must_use]
    pub fn for_dialect(mut self, surface: Surface) -> Self {
        self.scope.dialect = Some(surface);
        self
    }

    /// Looks only at requests that want a stream, or only at those that do not.
    #[must_use]
    pub fn for_streams(mut self, stream: bool) -> Self {
        self.scope.stream = Some(stream);
        self
    }

    /// Looks only at requests with such a field in their head; `*` in the value stands for anything.
    #[must_use]
    pub fn for_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.scope.field = Some((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Looks only at requests that arrive in this time, counted from the moment the behaviour was set; the end is no part of it.
    #[must_use]
    pub fn between(mut self, from: Duration, until: Option<Duration>) -> Self {
        (self.scope.from, self.scope.until) = (from, until);
        self
    }

    /// Lets so many of the requests it looks at pass before it begins to count.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    pub(super) fn scoped(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(super) fn written(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// The rule as it was written, or the short name of its fault.
    pub fn text(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.fault.name())
    }

    /// What it does.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// When it strikes.
    pub fn when(&self) -> When {
        self.when
    }

    /// Requests it has struck.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Requests it has looked at.
    pub fn looked_at(&self) -> u64 {
        self.looked_at.load(Ordering::Relaxed)
    }

    fn strikes(&self, seed: u64, subject: &Subject<'_>) -> bool {
        if !self.scope.holds(subject) {
            return false;
        }
        let number = self.looked_at.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(number) = number.checked_sub(self.skip).filter(|number| *number > 0) else { return false };
        let strikes = match self.when {
            When::Always => true,
            When::Probability(share) => fraction(mix(seed, number)) < share,
            When::Nth(wanted) => number == wanted,
            When::First(count) => number <= count,
            When::Every(step) => step > 0 && number.is_multiple_of(step),
        };
        let strikes = strikes && (subject.reused || self.fault != Fault::StaleKeepAlive);
        self.struck.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }
}

impl Scope {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let fits = |glob: &Option<String>, found: &str| glob.as_deref().is_none_or(|glob| matches(glob, found));
        let has = |(name, glob): &(String, String)| {
            subject.fields.iter().any(|(known, value)| known == name && matches(glob, value))
        };
        fits(&self.model, subject.model)
            && fits(&self.key, subject.key)
            && self.dialect.is_none_or(|dialect| dialect == subject.surface)
            && self.stream.is_none_or(|stream| stream == subject.stream)
            && self.field.as_ref().is_none_or(has)
            && self.from <= subject.since
            && self.until.is_none_or(|until| subject.since < until)
    }
}

/// Whether a text fits a glob, in which `*` stands for anything.
fn matches(glob: &str, text: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

// === impl Behaviour ===

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Latency::None,
            prefill_per_token: Duration::ZERO,
            event_gap: Duration::ZERO,
            gap: Latency::None,
            tokens: 16,
            events_per_write: 1,
            write_bytes: None,
            quota: None,
            faults: Vec::new(),
        }
    }
}

impl Behaviour {
    /// The same behaviour with one more fault rule.
    #[must_use]
    pub fn with_fault(self, fault: Fault, when: When) -> Self {
        self.with_rule(FaultRule::new(fault, when))
    }

    /// The same behaviour with one more fault rule.
    #[must_use]
    pub fn with_rule(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }

    pub(super) fn strike(&self, seed: u64, subject: &Subject<'_>) -> Option<Struck> {
        let at = self.faults.iter().position(|rule| rule.strikes(seed, subject))?;
        Some(Struck { fault: self.faults[at].fault.clone(), rule: u32::try_from(at + 1).ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn subject<'a>(key: &'a str, model: &'a str) -> Subject<'a> {
        Subject { key, model, surface: Surface::OpenAi, stream: true, fields: &[], since: SECOND, reused: true }
    }

    #[test]
    fn rules_strike_when_they_say() {
        let struck = |when| {
            let rule = FaultRule::new(Fault::GarbageHead, when);
            let count = (1..=1000).filter(|_| rule.strikes(7, &subject("k", "m"))).count();
            assert_eq!((rule.looked_at(), rule.struck()), (1000, count as u64));
            count
        };
        assert_eq!(struck(When::Always), 1000);
        assert_eq!(struck(When::Nth(3)), 1);
        assert_eq!(struck(When::First(3)), 3);
        assert_eq!(struck(When::Every(10)), 100);
        assert!((200..300).contains(&struck(When::Probability(0.25))), "{}", struck(When::Probability(0.25)));
        let scoped = FaultRule::new(Fault::GarbageHead, When::Nth(1)).for_key("other");
        assert!(!scoped.strikes(7, &subject("k", "m")) && scoped.strikes(7, &subject("other", "m")));
        let late = FaultRule::new(Fault::GarbageHead, When::First(1)).after(2);
        let strikes: Vec<_> = (0..4).map(|_| late.strikes(7, &subject("k", "m"))).collect();
        assert_eq!(strikes, [false, false, true, false]);
    }

    #[test]
    fn every_filter_keeps_others_out_and_what_is_kept_out_is_not_counted() {
        let fields = [("x-tenant".to_owned(), "acme-eu".to_owned())];
        let fitting = || Subject { fields: &fields, ..subject("sk-1", "gpt-4o") };
        let rule = || FaultRule::new(Fault::GarbageHead, When::Nth(1));
        type Case<'a> = (FaultRule, Subject<'a>);
        let cases: [Case<'_>; 6] = [
            (rule().for_model("gpt-4*"), Subject { model: "o3", ..fitting() }),
            (rule().for_key("sk-1"), Subject { key: "sk-12", ..fitting() }),
            (rule().for_dialect(Surface::OpenAi), Subject { surface: Surface::Gemini, ..fitting() }),
            (rule().for_streams(true), Subject { stream: false, ..fitting() }),
            (rule().for_header("X-Tenant", "acme*"), Subject { fields: &[], ..fitting() }),
            (rule().between(SECOND, Some(2 * SECOND)), Subject { since: 2 * SECOND, ..fitting() }),
        ];
        for (rule, stranger) in cases {
            assert!(!rule.strikes(1, &stranger) && rule.looked_at() == 0, "{rule:?}");
            assert!(rule.strikes(1, &fitting()), "{rule:?}");
        }
    }

    #[test]
    fn globs_match_what_they_say() {
        for (glob, text) in [("*", ""), ("a*", "ab"), ("*b", "ab"), ("a*c*e", "abcde"), ("a**b", "ab"), ("", "")] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [("a", "ab"), ("a*", "ba"), ("*b", "abc"), ("a*c*e", "abde"), ("ab*b", "ab"), ("a*a", "a")]
        {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_strikes_wins_and_is_named() {
        let behaviour = Behaviour::default()
            .with_fault(Fault::status(500), When::Nth(2))
            .with_fault(Fault::status(503), When::Always);
        let numbers: Vec<_> = (0..3).map(|_| behaviour.strike(1, &subject("k", "m")).and_then(|it| it.rule)).collect();
        assert_eq!(numbers, [Some(2), Some(1), Some(2)]);
    }
}
