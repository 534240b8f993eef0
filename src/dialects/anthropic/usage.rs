//! Usage as Messages counts it, into our accounting and back.
//!
//! `input_tokens` leaves both caches out; ours has them in. The figures of a stream are cumulative and may come twice or be `null`: of each,
//! the last that is a number counts. Figures that are no whole numbers count as not stated.

use crate::domain::token::Usage;
use crate::json::Span;
use crate::json::cursor::{Cursor, Stop};
use crate::json::scan::Names;
use crate::metering::answer::{Answer, Bill, Part};
use crate::metering::terms::Tier;

/// The figures stated so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stated {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    long_writes: Option<u64>,
    thinking: Option<u64>,
}

static FIGURES: Names = Names::new(&[
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "output_tokens_details",
    "service_tier",
]);
/// The place of the tier in [`FIGURES`].
const TIER: usize = 6;
static LONG_WRITES: Names = Names::new(&["ephemeral_1h_input_tokens"]);
static THINKING: Names = Names::new(&["thinking_tokens"]);

impl Stated {
    /// Takes the figures of the `usage` object at `span`; what it does not state stays as it was.
    pub(super) fn take(&mut self, bytes: &[u8], span: Span) {
        let mut cursor = Cursor::new(bytes.get(..span.end).unwrap_or(bytes), span.start);
        let Ok((Some(newer), _)) = Self::read(&mut cursor) else { return };
        if cursor.end().is_err() {
            return;
        }
        *self = Self {
            input: newer.input.or(self.input),
            output: newer.output.or(self.output),
            cache_read: newer.cache_read.or(self.cache_read),
            cache_creation: newer.cache_creation.or(self.cache_creation),
            long_writes: newer.long_writes.or(self.long_writes),
            thinking: newer.thinking.or(self.thinking),
        };
    }

    /// What the `usage` object that comes next states, if it is one and states no figure twice; and the tier that it names.
    fn read(cursor: &mut Cursor<'_>) -> Result<(Option<Self>, Option<Option<Tier>>), Stop> {
        let (mut stated, mut tier) = (Self::default(), None);
        let visited = cursor.members(&FIGURES, |cursor, index| {
            match index {
                0 => stated.input = cursor.count()?,
                1 => stated.output = cursor.count()?,
                2 => stated.cache_read = cursor.count()?,
                3 => stated.cache_creation = cursor.count()?,
                4 => stated.long_writes = inner_figure(cursor, &LONG_WRITES)?,
                5 => stated.thinking = inner_figure(cursor, &THINKING)?,
                _ => tier = cursor.text()?.map(Tier::named),
            }
            Ok(())
        })?;
        let twice = visited.map_or(0, |visited| visited.twice);
        let is_clear = visited.is_some() && twice & !(1 << TIER) == 0;
        Ok((is_clear.then_some(stated), tier.filter(|_| twice >> TIER & 1 == 0)))
    }

    /// In our accounting; `None` before any figure came. Parts larger than their whole are cut to it.
    pub(super) fn usage(&self) -> Option<Usage> {
        if *self == Self::default() {
            return None;
        }
        let cached_input = self.cache_read.unwrap_or(0);
        let cache_write = self.cache_creation.unwrap_or(0);
        let output = self.output.unwrap_or(0);
        Some(Usage {
            input: self.input.unwrap_or(0).saturating_add(cached_input).saturating_add(cache_write),
            output,
            cached_input,
            cache_write,
            cache_write_long: self.long_writes.unwrap_or(0).min(cache_write),
            reasoning: self.thinking.unwrap_or(0).min(output),
            ..Usage::default()
        })
    }
}

/// The one figure in the object that comes next.
fn inner_figure(cursor: &mut Cursor<'_>, names: &Names) -> Result<Option<u64>, Stop> {
    let mut figure = None;
    let visited = cursor.members(names, |cursor, _| {
        figure = cursor.count()?;
        Ok(())
    })?;
    Ok(figure.filter(|_| visited.is_some_and(|visited| visited.twice == 0)))
}

/// All that one pass over a whole answer finds.
pub(super) fn of_answer(body: &[u8]) -> Answer {
    struct Messages(Stated);
    impl Bill for Messages {
        const PARTS: &'static [Part] = &[Part::Usage];

        fn part(&mut self, _: Part, cursor: &mut Cursor<'_>) -> Result<Option<Option<Tier>>, Stop> {
            let (stated, tier) = Stated::read(cursor)?;
            self.0 = stated.unwrap_or_default();
            Ok(tier)
        }

        fn usage(&self) -> Option<Usage> {
            self.0.usage()
        }
    }
    Answer::read(body, &mut Messages(Stated::default()))
}

/// Appends the usage object as Messages has it; zeros where nothing is known, as its clients' types demand figures.
pub(super) fn write(usage: Option<&Usage>, out: &mut Vec<u8>) {
    let usage = usage.copied().unwrap_or_default();
    let uncached = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write);
    let mut figures = itoa::Buffer::new();
    let mut member = |name: &str, figure: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(figures.format(figure).as_bytes());
    };
    member(r#"{"input_tokens":"#, uncached, out);
    member(r#","cache_creation_input_tokens":"#, usage.cache_write, out);
    member(r#","cache_read_input_tokens":"#, usage.cached_input, out);
    if usage.cache_write > 0 {
        let long = usage.cache_write_long.min(usage.cache_write);
        member(r#","cache_creation":{"ephemeral_5m_input_tokens":"#, usage.cache_write.saturating_sub(long), out);
        member(r#","ephemeral_1h_input_tokens":"#, long, out);
        out.push(b'}');
    }
    member(r#","output_tokens":"#, usage.output, out);
    if usage.reasoning > 0 {
        member(r#","output_tokens_details":{"thinking_tokens":"#, usage.reasoning, out);
        out.push(b'}');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> Option<Usage> {
        let mut stated = Stated::default();
        for part in parts {
            stated.take(part.as_bytes(), Span { start: 0, end: part.len() });
        }
        stated.usage()
    }

    #[test]
    fn caches_are_inside_of_our_input() {
        let usage = read(&[
            r#"{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":50,
                "cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":30},"output_tokens":1}"#,
            r#"{"input_tokens":null,"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}"#,
        ]);
        let expected = Usage {
            input: 160,
            output: 9,
            cached_input: 100,
            cache_write: 50,
            cache_write_long: 30,
            reasoning: 4,
            ..Usage::default()
        };
        assert_eq!(usage, Some(expected));
        let mut out = Vec::new();
        write(usage.as_ref(), &mut out);
        assert_eq!(read(&[std::str::from_utf8(&out).expect("UTF-8")]), Some(expected), "written and read again");
    }

    #[test]
    fn what_is_not_stated_is_nothing() {
        assert_eq!(read(&["{}", "null", "[1]", r#"{"input_tokens":"3"}"#, r#"{"input_tokens":-1}"#]), None);
        assert_eq!(of_answer(br#"{"usage":null}"#).usage, None);
        assert_eq!(of_answer(br#"{"usage":{"output_tokens":3}}"#).usage.map(|usage| usage.output), Some(3));
        let huge = read(&[r#"{"input_tokens":18446744073709551615,"cache_read_input_tokens":5}"#]);
        assert_eq!(huge.map(|usage| usage.input), Some(u64::MAX));
    }
}
