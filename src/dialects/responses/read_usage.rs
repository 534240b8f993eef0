//! What an answer of this format says it used.

use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::{Kind, Member, Span, text};

/// What the `usage` member of the object at `span` says; nothing if there is none with a count.
pub(super) fn in_object(bytes: &[u8], span: Span) -> Option<Usage> {
    static NAMES: Names = Names::new(&["usage"]);
    let [usage] = members(bytes, span, &NAMES)?;
    of(bytes, object(usage)?)
}

/// What the `usage` object at `span` says. Parts larger than their whole are cut to it.
fn of(bytes: &[u8], span: Span) -> Option<Usage> {
    static NAMES: Names =
        Names::new(&["input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"]);
    static INPUT: Names = Names::new(&["cached_tokens", "cache_write_tokens", "cache_write_tokens_details"]);
    static LONG: Names = Names::new(&["ttl_12h_tokens"]);
    static OUTPUT: Names = Names::new(&["reasoning_tokens"]);
    let count = |member: Option<Member>| text::as_u64(bytes, member?.value);
    let [input, output, input_details, output_details] = members(bytes, span, &NAMES)?;
    if count(input).is_none() && count(output).is_none() {
        return None;
    }
    let (input, output) = (count(input).unwrap_or(0), count(output).unwrap_or(0));
    let inside = |member, names| members(bytes, object(member)?, names);
    let [cached, written, written_details]: [_; 3] = inside(input_details, &INPUT).unwrap_or_default();
    let long = object(written_details).and_then(|span| members::<1>(bytes, span, &LONG)).and_then(|[long]| count(long));
    let reasoning = object(output_details).and_then(|span| members::<1>(bytes, span, &OUTPUT));
    let cached_input = count(cached).unwrap_or(0).min(input);
    let cache_write = count(written).unwrap_or(0).min(input - cached_input);
    Some(Usage {
        input,
        output,
        cached_input,
        cache_write,
        cache_write_long: long.unwrap_or(0).min(cache_write),
        reasoning: reasoning.and_then(|[reasoning]| count(reasoning)).unwrap_or(0).min(output),
        ..Usage::default()
    })
}

fn members<const N: usize>(bytes: &[u8], span: Span, names: &Names) -> Option<[Option<Member>; N]> {
    let mut found = [None; N];
    scan::members_at(bytes, span, names, &mut found).ok()?;
    Some(found)
}

/// Where the member's value is, if it is an object.
pub(super) fn object(member: Option<Member>) -> Option<Span> {
    member.filter(|member| member.kind == Kind::Object).map(|member| member.value)
}
