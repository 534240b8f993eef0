//! In what rhythm requests leave, fixed before the first one does.

use super::Span;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The rhythm of a run. In every rhythm but the closed loop a request's instant is planned, and its clock starts then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Typed", into = "Typed")]
pub enum Arrivals {
    /// Closed loop: the next request leaves when one of so many connections is free. No planned instants: latency counts from the send.
    Closed,
    /// Open loop: one every 1/rate seconds.
    Constant {
        /// Requests a second.
        rate: f64,
    },
    /// Open loop: independent users, so that the time between two requests is exponential with mean 1/rate.
    Poisson {
        /// Requests a second.
        rate: f64,
    },
    /// Open loop: a rate that grows or falls evenly, then stays.
    Ramp {
        /// Requests a second at the beginning.
        from: f64,
        /// Requests a second at the end of the ramp.
        to: f64,
        /// How long the ramp takes.
        over: Span,
        /// Whether requests come as from independent users, rather than evenly.
        poisson: bool,
    },
    /// Open loop: one rate after the other; the schedule ends with the last.
    Steps {
        /// Requests a second, step by step.
        rates: Vec<f64>,
        /// How long each step is.
        each: Span,
        /// Whether requests come as from independent users, rather than evenly.
        poisson: bool,
    },
    /// Open loop: a quiet rate with a burst at the end of every period.
    Bursts {
        /// Requests a second between bursts.
        rate: f64,
        /// Requests a second inside a burst.
        burst_rate: f64,
        /// From the beginning of one period to the next.
        every: Span,
        /// How long a burst is.
        lasting: Span,
        /// Whether requests come as from independent users, rather than evenly.
        poisson: bool,
    },
    /// Open loop: the instants, and where shares ask for it the lengths, of a recorded trace in CSV; the schedule ends with the file.
    Trace {
        /// The file: BurstGPT, Azure LLM inference, or `at_s,prompt_tokens,output_tokens`; told apart by its first line.
        file: String,
        /// How much faster than recorded: 2 halves every pause.
        speed: f64,
    },
}

/// The form of a rhythm in a file: flat, so that each mistake has its line and column.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Typed {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    each: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    poisson: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Closed,
    Constant,
    Poisson,
    Ramp,
    Steps,
    Bursts,
    Trace,
}

/// The members of [`Typed`] that each kind has, `poisson` and `kind` aside.
const MEMBERS: [(Kind, &str, &[&str]); 7] = [
    (Kind::Closed, "closed", &[]),
    (Kind::Constant, "constant", &["rate"]),
    (Kind::Poisson, "poisson", &["rate"]),
    (Kind::Ramp, "ramp", &["from", "to", "over"]),
    (Kind::Steps, "steps", &["rates", "each"]),
    (Kind::Bursts, "bursts", &["rate", "burst_rate", "every", "lasting"]),
    (Kind::Trace, "trace", &["file", "speed"]),
];

// === impl Arrivals ===

impl Arrivals {
    /// Whether requests have planned instants.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Closed)
    }

    /// When the schedule ends by itself; `None` where it goes on until something else bounds it, or a file says.
    pub fn natural_end(&self) -> Option<Duration> {
        match self {
            Self::Ramp { over, .. } => Some(over.0),
            Self::Steps { rates, each, .. } => Some(each.0.saturating_mul(rates.len() as u32)),
            _ => None,
        }
    }

    /// The highest rate it asks for, requests a second; `None` where nobody can tell beforehand.
    pub fn peak_rate(&self) -> Option<f64> {
        match self {
            Self::Closed | Self::Trace { .. } => None,
            Self::Constant { rate } | Self::Poisson { rate } => Some(*rate),
            Self::Ramp { from, to, .. } => Some(from.max(*to)),
            Self::Steps { rates, .. } => rates.iter().copied().reduce(f64::max),
            Self::Bursts { rate, burst_rate, .. } => Some(rate.max(*burst_rate)),
        }
    }

    /// The same rhythm with requests that come as from independent users.
    ///
    /// # Errors
    /// A closed loop and a trace leave nothing to chance.
    pub fn randomised(self) -> Result<Self, String> {
        Ok(match self {
            Self::Constant { rate } | Self::Poisson { rate } => Self::Poisson { rate },
            Self::Ramp { from, to, over, .. } => Self::Ramp { from, to, over, poisson: true },
            Self::Steps { rates, each, .. } => Self::Steps { rates, each, poisson: true },
            Self::Bursts { rate, burst_rate, every, lasting, .. } => {
                Self::Bursts { rate, burst_rate, every, lasting, poisson: true }
            }
            Self::Closed => return Err("a closed loop has no rhythm to randomise; give a rate as well".into()),
            Self::Trace { .. } => return Err("a trace has its own rhythm; leave one of the two away".into()),
        })
    }

    /// Reads `FROM..TO` or `FROM..TO,over=30s`; without a time, `over` is what bounds the run.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn ramp(text: &str, over: Option<Span>) -> Result<Self, String> {
        let how = || format!("{text:?} is not a ramp such as 10..200,over=30s");
        let (range, given) = named(text, &["over"]).ok_or_else(how)?;
        let (from, to) = range_of(&range).ok_or_else(how)?;
        let over = match (&given[0], over) {
            (Some(time), _) => time.parse()?,
            (None, Some(over)) => over,
            (None, None) => {
                return Err(format!("the ramp {text:?} has no length; add --duration or write {text},over=30s"));
            }
        };
        Ok(Self::Ramp { from, to, over, poisson: false })
    }

    /// Reads `50,100,200,each=10s`; without a time, the steps share what bounds the run.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn steps(text: &str, duration: Option<Span>) -> Result<Self, String> {
        let how = || format!("{text:?} are no steps such as 50,100,200,each=10s");
        let (rates, given) = named(text, &["each"]).ok_or_else(how)?;
        let rates: Vec<f64> =
            rates.split(',').map(|rate| rate.trim().parse().ok()).collect::<Option<_>>().ok_or_else(how)?;
        let each = match (&given[0], duration) {
            (Some(time), _) => time.parse()?,
            (None, Some(duration)) => Span(duration.0 / rates.len().max(1) as u32),
            (None, None) => {
                return Err(format!("the steps {text:?} have no length; add --duration or write {text},each=10s"));
            }
        };
        Ok(Self::Steps { rates, each, poisson: false })
    }

    /// Reads `20..200,every=10s,for=2s`: 20 a second, and 200 in the last two seconds of every ten.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn bursts(text: &str) -> Result<Self, String> {
        let how = || format!("{text:?} are no bursts such as 20..200,every=10s,for=2s");
        let (range, given) = named(text, &["every", "for"]).ok_or_else(how)?;
        let (rate, burst_rate) = range_of(&range).ok_or_else(how)?;
        let [Some(every), Some(lasting)] = &given[..] else { return Err(how()) };
        Ok(Self::Bursts { rate, burst_rate, every: every.parse()?, lasting: lasting.parse()?, poisson: false })
    }

    /// What is wrong with it, one sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |good: bool, reason: &str| {
            if !good {
                found.push(format!("arrivals: {reason}"));
            }
        };
        let rate_like = |rate: f64| rate.is_finite() && (0.0..=RATE_MAX).contains(&rate);
        match self {
            Self::Closed => {}
            Self::Constant { rate } | Self::Poisson { rate } => {
                check(rate_like(*rate) && *rate > 0.0, "the rate must be above zero, and ten million a second at most");
            }
            Self::Ramp { from, to, over, .. } => {
                check(
                    rate_like(*from) && rate_like(*to),
                    "the ramp's rates must be between 0 and ten million a second",
                );
                check(*from > 0.0 || *to > 0.0, "a ramp from zero to zero sends nothing; raise one end");
                check(!over.0.is_zero(), "the ramp must take some time; set over, for instance to 30s");
            }
            Self::Steps { rates, each, .. } => {
                let sends = rates.iter().any(|rate| *rate > 0.0);
                check(rates.iter().all(|rate| rate_like(*rate)), "steps are rates between 0 and ten million a second");
                check(sends, "at least one step must be above zero, as in rates = [50, 100]");
                check(!each.0.is_zero(), "a step must take some time; set each, for instance to 10s");
                check(
                    rates.len() <= STEPS_MAX,
                    "there are too many steps; 10000 is the most, a ramp or a trace says more",
                );
            }
            Self::Bursts { rate, burst_rate, every, lasting, .. } => {
                check(rate_like(*rate) && rate_like(*burst_rate), "rates must be between 0 and ten million a second");
                check(*burst_rate > 0.0, "the burst's rate must be above zero");
                check(!lasting.0.is_zero() && lasting < every, "a burst must last some time, and less than its period");
            }
            Self::Trace { speed, .. } => {
                check(speed.is_finite() && *speed > 0.0, "speed must be above zero; 1 is as recorded, 2 twice as fast");
            }
        }
        found
    }
}

// === impl Typed ===

impl Typed {
    fn given(&self) -> [(&'static str, bool); 10] {
        [
            ("rate", self.rate.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("over", self.over.is_some()),
            ("rates", self.rates.is_some()),
            ("each", self.each.is_some()),
            ("burst_rate", self.burst_rate.is_some()),
            ("every", self.every.is_some()),
            ("lasting", self.lasting.is_some()),
            ("file", self.file.is_some()),
        ]
    }
}

impl TryFrom<Typed> for Arrivals {
    type Error = String;

    fn try_from(typed: Typed) -> Result<Self, String> {
        let (_, name, members) = MEMBERS[typed.kind as usize];
        for (member, given) in typed.given() {
            if given && !members.contains(&member) {
                let has = if members.is_empty() { "nothing else".into() } else { members.join(", ") };
                return Err(format!("arrivals of kind {name:?} have no {member}, but {has}; remove it or change kind"));
            }
        }
        if typed.speed.is_some() && !members.contains(&"speed") {
            return Err(format!("arrivals of kind {name:?} have no speed; remove it or set kind to \"trace\""));
        }
        let missing = |member: &str| format!("arrivals of kind {name:?} need {member}");
        let poisson = typed.poisson;
        let rate = || typed.rate.ok_or_else(|| missing("rate, for instance rate = 20"));
        let arrivals = match typed.kind {
            Kind::Closed => Self::Closed,
            Kind::Constant => Self::Constant { rate: rate()? },
            Kind::Poisson => Self::Poisson { rate: rate()? },
            Kind::Ramp => Self::Ramp {
                from: typed.from.ok_or_else(|| missing("from, for instance from = 10"))?,
                to: typed.to.ok_or_else(|| missing("to, for instance to = 200"))?,
                over: typed.over.ok_or_else(|| missing("over, for instance over = \"30s\""))?,
                poisson,
            },
            Kind::Steps => Self::Steps {
                rates: typed.rates.ok_or_else(|| missing("rates, for instance rates = [50, 100]"))?,
                each: typed.each.ok_or_else(|| missing("each, for instance each = \"10s\""))?,
                poisson,
            },
            Kind::Bursts => Self::Bursts {
                rate: rate()?,
                burst_rate: typed.burst_rate.ok_or_else(|| missing("burst_rate, for instance burst_rate = 200"))?,
                every: typed.every.ok_or_else(|| missing("every, for instance every = \"10s\""))?,
                lasting: typed.lasting.ok_or_else(|| missing("lasting, for instance lasting = \"2s\""))?,
                poisson,
            },
            Kind::Trace => Self::Trace {
                file: typed.file.ok_or_else(|| missing("file, the path of a CSV file"))?,
                speed: typed.speed.unwrap_or(1.0),
            },
        };
        if poisson { arrivals.randomised() } else { Ok(arrivals) }
    }
}

impl From<Arrivals> for Typed {
    fn from(arrivals: Arrivals) -> Self {
        let rest = Self::default();
        match arrivals {
            Arrivals::Closed => rest,
            Arrivals::Constant { rate } => Self { kind: Kind::Constant, rate: Some(rate), ..rest },
            Arrivals::Poisson { rate } => Self { kind: Kind::Poisson, rate: Some(rate), ..rest },
            Arrivals::Ramp { from, to, over, poisson } => {
                Self { kind: Kind::Ramp, from: Some(from), to: Some(to), over: Some(over), poisson, ..rest }
            }
            Arrivals::Steps { rates, each, poisson } => {
                Self { kind: Kind::Steps, rates: Some(rates), each: Some(each), poisson, ..rest }
            }
            Arrivals::Bursts { rate, burst_rate, every, lasting, poisson } => Self {
                kind: Kind::Bursts,
                rate: Some(rate),
                burst_rate: Some(burst_rate),
                every: Some(every),
                lasting: Some(lasting),
                poisson,
                ..rest
            },
            Arrivals::Trace { file, speed } => Self { kind: Kind::Trace, file: Some(file), speed: Some(speed), ..rest },
        }
    }
}

/// Takes `name=value` parts out of a list with commas; what is left, and the values by name. `None` where a name is unknown.
fn named(text: &str, names: &[&str]) -> Option<(String, Vec<Option<String>>)> {
    let mut values = vec![None; names.len()];
    let mut left = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            Some((name, value)) => values[names.iter().position(|known| *known == name)?] = Some(value.to_owned()),
            None => left.push(part),
        }
    }
    Some((left.join(","), values))
}

fn range_of(text: &str) -> Option<(f64, f64)> {
    let (from, to) = text.split_once("..")?;
    Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
}

/// Requests a second at most; more is a slip of the finger.
const RATE_MAX: f64 = 1e7;
/// Steps at most.
const STEPS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    #[test]
    fn flags_are_understood() {
        assert_eq!(
            Arrivals::ramp("10..200,over=30s", None),
            Ok(Arrivals::Ramp { from: 10.0, to: 200.0, over: seconds(30), poisson: false })
        );
        assert_eq!(Arrivals::ramp("10..200", Some(seconds(30))), Arrivals::ramp("10..200,over=30s", None));
        assert_eq!(Arrivals::steps("50, 100,each=10s", None), Arrivals::steps("50,100", Some(seconds(20))));
        let bursts = Arrivals::bursts("20..200,every=10s,for=2s").expect("as documented");
        assert_eq!(bursts.peak_rate(), Some(200.0));
        for wrong in ["10", "10..", "a..b", "1..2,each=3s"] {
            assert!(Arrivals::ramp(wrong, Some(seconds(1))).is_err(), "{wrong}");
        }
        assert!(Arrivals::ramp("1..2", None).expect_err("no time").contains("--duration"));
        assert!(Arrivals::bursts("20..200,every=10s").is_err());
    }

    #[test]
    fn chance_needs_a_rhythm() {
        assert_eq!(Arrivals::Constant { rate: 5.0 }.randomised(), Ok(Arrivals::Poisson { rate: 5.0 }));
        assert!(Arrivals::Closed.randomised().is_err());
    }

    #[test]
    fn files_say_what_is_missing_or_too_much() {
        let read = |text: &str| toml::from_str::<Arrivals>(text);
        assert_eq!(read("kind = \"poisson\"\nrate = 5").ok(), Some(Arrivals::Poisson { rate: 5.0 }));
        assert_eq!(read("kind = \"constant\"\nrate = 5\npoisson = true").ok(), Some(Arrivals::Poisson { rate: 5.0 }));
        let said = |text: &str| read(text).expect_err(text).to_string();
        assert!(
            said("kind = \"ramp\"\nfrom = 1").contains("need to, for instance"),
            "{}",
            said("kind = \"ramp\"\nfrom = 1")
        );
        assert!(said("kind = \"closed\"\nrate = 1").contains("have no rate"));
        assert!(said("kind = \"poison\"").contains("poisson"));
    }

    #[test]
    fn impossible_rhythms_are_refused() {
        let none = |rate| Arrivals::Constant { rate }.problems().is_empty();
        assert!(none(0.5) && !none(0.0) && !none(f64::NAN) && !none(-1.0) && !none(1e12));
        let steps =
            |rates: &[f64]| Arrivals::Steps { rates: rates.to_vec(), each: seconds(1), poisson: false }.problems();
        assert!(steps(&[0.0, 5.0]).is_empty() && !steps(&[]).is_empty() && !steps(&[0.0]).is_empty());
        let bursts = |text| Arrivals::bursts(text).expect(text).problems();
        assert!(bursts("0..5,every=2s,for=1s").is_empty() && !bursts("1..5,every=2s,for=2s").is_empty());
    }
}
