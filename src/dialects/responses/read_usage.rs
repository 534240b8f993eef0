//! What an answer of this format says it used.

use crate::domain::token::Usage;
use crate::json::cursor::{Cursor, Stop};
use crate::json::scan::Names;
use crate::json::{Kind, Member, Span};
use crate::metering::answer::{Answer, Bill, Part};
use crate::metering::terms::Tier;

static FIGURES: Names =
    Names::new(&["input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details", "service_tier"]);
/// The place of the tier in [`FIGURES`].
const TIER: usize = 4;

/// All that one pass over a whole answer finds.
pub(super) fn of_answer(body: &[u8]) -> Answer {
    struct Response(Option<Usage>);
    impl Bill for Response {
        const PARTS: &'static [Part] = &[Part::Usage];

        fn part(&mut self, _: Part, cursor: &mut Cursor<'_>) -> Result<Option<Option<Tier>>, Stop> {
            let (usage, tier) = read(cursor)?;
            self.0 = usage;
            Ok(tier)
        }

        fn usage(&self) -> Option<Usage> {
            self.0
        }
    }
    Answer::read(body, &mut Response(None))
}

/// What the `usage` member of the object at `span` says; nothing if there is none with a count.
pub(super) fn in_object(bytes: &[u8], span: Span) -> Option<Usage> {
    static NAMES: Names = Names::new(&["usage"]);
    let mut cursor = Cursor::new(bytes.get(..span.end).unwrap_or(bytes), span.start);
    let mut usage = None;
    let visited = cursor.members(&NAMES, |cursor, _| {
        usage = read(cursor)?.0;
        Ok(())
    });
    let is_clear = visited.ok().flatten().is_some_and(|visited| visited.twice == 0) && cursor.end().is_ok();
    usage.filter(|_| is_clear)
}

/// What the `usage` object that comes next says, and the tier that it names. Parts larger than their whole are cut to it.
fn read(cursor: &mut Cursor<'_>) -> Result<(Option<Usage>, Option<Option<Tier>>), Stop> {
    let (mut input, mut output, mut prompt, mut reasoning, mut tier) = (None, None, Prompt::default(), None, None);
    let visited = cursor.members(&FIGURES, |cursor, index| {
        match index {
            0 => input = cursor.count()?,
            1 => output = cursor.count()?,
            2 => prompt = Prompt::read(cursor)?,
            3 => reasoning = one(cursor, &REASONING)?,
            _ => tier = cursor.text()?.map(Tier::named),
        }
        Ok(())
    })?;
    let twice = visited.map_or(0, |visited| visited.twice);
    let tier = tier.filter(|_| twice >> TIER & 1 == 0);
    if twice & !(1 << TIER) != 0 || (input.is_none() && output.is_none()) {
        return Ok((None, tier));
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let cached_input = prompt.cached.unwrap_or(0).min(input);
    let cache_write = prompt.written.unwrap_or(0).min(input - cached_input);
    let usage = Usage {
        input,
        output,
        cached_input,
        cache_write,
        cache_write_long: prompt.long.unwrap_or(0).min(cache_write),
        reasoning: reasoning.unwrap_or(0).min(output),
        ..Usage::default()
    };
    Ok((Some(usage), tier))
}

static REASONING: Names = Names::new(&["reasoning_tokens"]);

/// What the details of a prompt say.
#[derive(Default)]
struct Prompt {
    cached: Option<u64>,
    written: Option<u64>,
    long: Option<u64>,
}

impl Prompt {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        static NAMES: Names = Names::new(&["cached_tokens", "cache_write_tokens", "cache_write_tokens_details"]);
        static LONG: Names = Names::new(&["ttl_12h_tokens"]);
        let mut found = Self::default();
        let visited = cursor.members(&NAMES, |cursor, index| {
            match index {
                0 => found.cached = cursor.count()?,
                1 => found.written = cursor.count()?,
                _ => found.long = one(cursor, &LONG)?,
            }
            Ok(())
        })?;
        Ok(if visited.is_some_and(|visited| visited.twice == 0) { found } else { Self::default() })
    }
}

/// The one count in the object that comes next.
fn one(cursor: &mut Cursor<'_>, names: &Names) -> Result<Option<u64>, Stop> {
    let mut count = None;
    let visited = cursor.members(names, |cursor, _| {
        count = cursor.count()?;
        Ok(())
    })?;
    Ok(count.filter(|_| visited.is_some_and(|visited| visited.twice == 0)))
}

/// Where the member's value is, if it is an object.
pub(super) fn object(member: Option<Member>) -> Option<Span> {
    member.filter(|member| member.kind == Kind::Object).map(|member| member.value)
}
