//! The terms of one request that its price depends on: the service tier, and when it was sent.
//!
//! Pure: the instant is an argument. Hours are read from the price list's own words and hold by the week, UTC.

use crate::domain::clock::UnixMillis;

/// The terms of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The service tier that served it; `None` is the usual one.
    pub service_tier: Option<Tier>,
    /// When it was sent.
    pub at: UnixMillis,
}

impl Terms {
    /// The usual tier, at an instant.
    pub const fn usual(at: UnixMillis) -> Self {
        Self { service_tier: None, at }
    }
}

/// A service tier other than the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Answered within a day.
    Batch,
    /// Slower, when there is room.
    Flex,
    /// Faster.
    Priority,
    /// Fastest.
    Ultrafast,
    /// One that no list of ours prices.
    Unlisted,
}

impl Tier {
    /// Every tier that a price list may name.
    pub const LISTED: [Self; 4] = [Self::Batch, Self::Flex, Self::Priority, Self::Ultrafast];

    /// The name in price lists and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Ultrafast => "ultrafast",
            Self::Unlisted => "unlisted",
        }
    }

    /// Reads the tier that an answer (or, failing that, a request) names; the usual one, by any of its names, is `None`.
    pub fn named(name: &str) -> Option<Self> {
        // OpenAI, Anthropic, Groq and Google, in this order; `auto` asks for whatever there is and an answer names what it was.
        const USUAL: [&str; 6] = ["default", "standard", "standard_only", "on_demand", "auto", ""];
        if USUAL.iter().any(|usual| usual.eq_ignore_ascii_case(name)) {
            return None;
        }
        let listed = Self::LISTED.into_iter().find(|tier| tier.as_str().eq_ignore_ascii_case(name));
        Some(listed.unwrap_or(Self::Unlisted))
    }

    /// Reads the name that a price list uses.
    pub fn listed(name: &str) -> Option<Self> {
        Self::LISTED.into_iter().find(|tier| tier.as_str() == name)
    }
}

/// Hours of the week, UTC: `mon-fri 00:00-01:00 10:00-24:00; sat-sun 00:00-24:00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(Vec<Span>);

/// The same minutes of some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// Bit 0 is Monday.
    days: u8,
    /// Minute of the day, included.
    from: u16,
    /// Minute of the day, not included.
    to: u16,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

// === impl Hours ===

impl Hours {
    /// The hours in numbers, for a digest.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let of = |span: &Span| u64::from(span.days) << 32 | u64::from(span.from) << 16 | u64::from(span.to);
        self.0.iter().map(of)
    }

    /// Reads groups separated by `; `, each a day or a run of days and then spans of hours; `None` when it is not exactly that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut spans = Vec::new();
        for group in text.split("; ") {
            let mut words = group.split(' ');
            let days = parse_days(words.next()?)?;
            let before = spans.len();
            for word in words {
                let (from, to) = word.split_once('-')?;
                let (from, to) = (parse_minute(from)?, parse_minute(to)?);
                spans.push(Span { days, from, to: (from < to).then_some(to)? });
            }
            (spans.len() > before).then_some(())?;
        }
        Some(Self(spans))
    }

    /// Whether an instant is in these hours.
    pub fn hold_at(&self, at: UnixMillis) -> bool {
        let minutes = at.0 / 60_000;
        let day_minutes = u64::from(DAY_MINUTES);
        // 1970-01-01 was a Thursday.
        let day = (minutes / day_minutes + 3) % 7;
        let minute = minutes % day_minutes;
        let holds =
            |span: &Span| span.days >> day & 1 == 1 && (u64::from(span.from)..u64::from(span.to)).contains(&minute);
        self.0.iter().any(holds)
    }

    /// Whether some instant is in both.
    pub fn meet(&self, other: &Self) -> bool {
        let meets = |a: &Span, b: &Span| a.days & b.days != 0 && a.from < b.to && b.from < a.to;
        self.0.iter().any(|span| other.0.iter().any(|theirs| meets(span, theirs)))
    }
}

/// `mon` or `mon-fri`, as bits.
fn parse_days(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    (first <= last).then(|| (first..=last).fold(0, |bits, day| bits | 1 << day))
}

/// `HH:MM` up to `24:00`.
fn parse_minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| part.parse::<u16>().ok().filter(|_| two_digits(part));
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 2026-11-23T00:00:00Z.
    const MONDAY: u64 = 1_795_392_000_000;

    fn at(day: u64, hour: u64, minute: u64, second: u64) -> UnixMillis {
        UnixMillis(MONDAY + (((day * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
    }

    #[test]
    fn hours_hold_from_their_first_minute_to_before_their_last() {
        assert_eq!(UnixMillis(MONDAY).to_rfc3339(), "2026-11-23T00:00:00Z");
        let hours = Hours::parse("mon-fri 00:00-01:00 10:00-24:00; sat-sun 00:00-24:00").expect("well written");
        for (day, hour, minute, second, holds) in [
            (0, 0, 0, 0, true),
            (0, 0, 59, 59, true),
            (0, 1, 0, 0, false),
            (0, 9, 59, 59, false),
            (0, 10, 0, 0, true),
            (4, 23, 59, 59, true),
            (5, 3, 0, 0, true),
            (6, 23, 59, 59, true),
            (7, 3, 0, 0, false),
        ] {
            assert_eq!(hours.hold_at(at(day, hour, minute, second)), holds, "day {day} {hour}:{minute}:{second}");
        }
    }

    #[test]
    fn hours_that_are_not_well_written_are_none() {
        for text in [
            "",
            "mon",
            "mon ",
            "fri-mon 00:00-01:00",
            "mon 01:00-01:00",
            "mon 1:00-02:00",
            "mon 00:00-24:01",
            "mon 00:60-02:00",
            "day 00:00-01:00",
            "mon 00:00-01:00;",
            "mon 00:00-01:00 ",
        ] {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hours_meet_where_they_share_a_minute() {
        let hours = |text: &str| Hours::parse(text).expect("well written");
        assert!(hours("mon-wed 01:00-02:00").meet(&hours("wed 01:59-03:00")));
        assert!(!hours("mon-wed 01:00-02:00").meet(&hours("wed 02:00-03:00; thu 01:00-02:00")));
    }

    #[test]
    fn the_usual_tier_has_many_names_and_an_unknown_one_is_not_it() {
        for name in ["default", "standard", "on_demand", "auto", "", "STANDARD"] {
            assert_eq!(Tier::named(name), None, "{name}");
        }
        assert_eq!((Tier::named("flex"), Tier::named("PRIORITY")), (Some(Tier::Flex), Some(Tier::Priority)));
        assert_eq!((Tier::named("scale"), Tier::named("unlisted")), (Some(Tier::Unlisted), Some(Tier::Unlisted)));
    }
}
