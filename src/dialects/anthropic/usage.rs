//! Usage as Messages counts it, into our accounting and back.
//!
//! `input_tokens` leaves both caches out; ours has them in. The figures of a stream are cumulative and may come twice or be `null`: of each,
//! the last that is a number counts. Figures that are no whole numbers count as not stated.

use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::{Kind, Member, Span, text};

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
]);
static LONG_WRITES: Names = Names::new(&["ephemeral_1h_input_tokens"]);
static THINKING: Names = Names::new(&["thinking_tokens"]);

impl Stated {
    /// Takes the figures of the `usage` object at `span`; what it does not state stays as it was.
    pub(super) fn take(&mut self, bytes: &[u8], span: Span) {
        let mut found = [None; 6];
        if scan::members_at(bytes, span, &FIGURES, &mut found).is_err() {
            return;
        }
        let [input, output, cache_read, cache_creation, creation_details, output_details] = found;
        let newer = |old: &mut Option<u64>, new: Option<u64>| *old = new.or(*old);
        newer(&mut self.input, figure(bytes, input));
        newer(&mut self.output, figure(bytes, output));
        newer(&mut self.cache_read, figure(bytes, cache_read));
        newer(&mut self.cache_creation, figure(bytes, cache_creation));
        newer(&mut self.long_writes, inner_figure(bytes, creation_details, &LONG_WRITES));
        newer(&mut self.thinking, inner_figure(bytes, output_details, &THINKING));
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

fn figure(bytes: &[u8], member: Option<Member>) -> Option<u64> {
    text::as_u64(bytes, member?.value)
}

fn inner_figure(bytes: &[u8], member: Option<Member>, names: &Names) -> Option<u64> {
    let object = member.filter(|member| member.kind == Kind::Object)?;
    let mut found = [None; 1];
    scan::members_at(bytes, object.value, names, &mut found).ok()?;
    figure(bytes, found[0])
}

/// What a whole answer says it used.
pub(super) fn of_answer(body: &[u8]) -> Option<Usage> {
    static USAGE: Names = Names::new(&["usage"]);
    let mut found = [None; 1];
    scan::members(body, &USAGE, &mut found).ok()?;
    let mut stated = Stated::default();
    stated.take(body, found[0]?.value);
    stated.usage()
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
        assert_eq!(of_answer(br#"{"usage":null}"#), None);
        assert_eq!(of_answer(br#"{"usage":{"output_tokens":3}}"#).map(|usage| usage.output), Some(3));
        let huge = read(&[r#"{"input_tokens":18446744073709551615,"cache_read_input_tokens":5}"#]);
        assert_eq!(huge.map(|usage| usage.input), Some(u64::MAX));
    }
}
