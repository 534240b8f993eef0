//! One pass over a whole answer: what it used, in which tier, and where its `metadata` is.
//!
//! The formats differ in where their usage stands and agree in the rest: the tier is named outside (OpenAI and its kin) or inside the usage
//! (Anthropic), and `metadata` is a member of the answer itself. So a format brings a [`Bill`], which reads its own parts where the cursor
//! meets them, and nothing is scanned a second time. A text that is not JSON, or no object, gives nothing. Nothing here allocates.

use super::terms::Tier;
use crate::domain::token::Usage;
use crate::json::Element;
use crate::json::cursor::{Cursor, Stop};
use crate::json::scan::Names;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it says it used.
    pub usage: Option<Usage>,
    /// The service tier that it names. The inner option is `None` for the usual tier, the outer where none is named.
    pub tier: Option<Option<Tier>>,
    /// Its `metadata` member, if there is exactly one.
    pub metadata: Option<Element>,
}

/// A member in which some format has its usage, or what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `usage`
    Usage,
    /// `x_groq`
    XGroq,
    /// `choices`
    Choices,
    /// `usageMetadata`
    UsageMetadata,
    /// `candidates`
    Candidates,
    /// `promptFeedback`
    PromptFeedback,
    /// `error`
    Error,
}

/// How a format says what an answer used.
pub trait Bill {
    /// The parts that it reads. If one of them is there twice, the answer says nothing (rule H20).
    const PARTS: &'static [Part];

    /// Reads one, which comes next; the tier, if that is named there. What is left is passed over.
    ///
    /// # Errors
    /// Where the text is not JSON.
    fn part(&mut self, part: Part, cursor: &mut Cursor<'_>) -> Result<Option<Option<Tier>>, Stop>;

    /// What all parts said together.
    fn usage(&self) -> Option<Usage>;
}

/// The parts, in the order of their names in [`MEMBERS`].
const PARTS: [Part; 7] =
    [Part::Usage, Part::XGroq, Part::Choices, Part::UsageMetadata, Part::Candidates, Part::PromptFeedback, Part::Error];
static MEMBERS: Names = Names::new(&[
    "usage",
    "x_groq",
    "choices",
    "usageMetadata",
    "candidates",
    "promptFeedback",
    "error",
    "service_tier",
    "metadata",
]);
const SERVICE_TIER: usize = 7;
const METADATA: usize = 8;

// === impl Answer ===

impl Answer {
    /// Reads an answer whose format has such a bill.
    pub fn read<B: Bill>(bytes: &[u8], bill: &mut B) -> Self {
        let mut cursor = Cursor::new(bytes, 0);
        let (mut outside, mut inside, mut metadata) = (None, None, None);
        let visited = cursor.members(&MEMBERS, |cursor, index| {
            match (index, PARTS.get(index)) {
                (SERVICE_TIER, _) => outside = cursor.text()?.map(Tier::named),
                (METADATA, _) => metadata = Some(cursor.skip()?),
                (_, Some(part)) if B::PARTS.contains(part) => inside = bill.part(*part, cursor)?.or(inside),
                _ => {}
            }
            Ok(())
        });
        let Ok(Some(visited)) = visited else { return Self::default() };
        if cursor.end().is_err() {
            return Self::default();
        }
        let once = |index: usize| visited.twice >> index & 1 == 0;
        let is_clear = PARTS.iter().enumerate().all(|(index, part)| once(index) || !B::PARTS.contains(part));
        let is_tier_clear = once(SERVICE_TIER) && once(Part::Usage as usize);
        Self {
            usage: bill.usage().filter(|_| is_clear),
            tier: outside.or(inside).filter(|_| is_tier_clear),
            metadata: metadata.filter(|_| once(METADATA)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Kind;
    use crate::metering::usage::{Accounting, answer_of_body};

    fn read(body: &str) -> Answer {
        answer_of_body(body.as_bytes(), Accounting::OpenAi)
    }

    #[test]
    fn the_tier_of_an_answer_is_found_where_vendors_put_it() {
        for (body, expected) in [
            (r#"{"service_tier":"flex","usage":{}}"#, Some(Some(Tier::Flex))),
            (r#"{"usage":{"service_tier":"batch"}}"#, Some(Some(Tier::Batch))),
            (r#"{"usage":{"service_tier":"batch"},"service_tier":"flex"}"#, Some(Some(Tier::Flex))),
            (r#"{"usage":{"service_tier":"batch"},"service_tier":null}"#, Some(Some(Tier::Batch))),
            (r#"{"service_tier":"default"}"#, Some(None)),
            (r#"{"service_tier":null}"#, None),
            (r#"{"service_tier":"flex","service_tier":"batch"}"#, None),
            (r#"{"usage":{"service_tier":"flex","service_tier":"batch"}}"#, None),
            (r#"{"service_tier":"flex","usage":{},"usage":{}}"#, None),
            (r#"{"service_tier":"flex"} x"#, None),
            (r#"{"choices":[{"service_tier":"flex"}]}"#, None),
            ("{}", None),
        ] {
            assert_eq!(read(body).tier, expected, "{body}");
        }
    }

    #[test]
    fn one_pass_finds_all_and_a_part_that_is_there_twice_spoils_what_it_says_alone() {
        let body = r#"{"metadata":{"a":1},"usage":{"prompt_tokens":3,"service_tier":"flex"},"choices":[]}"#;
        let answer = read(body);
        let metadata = answer.metadata.expect("there");
        assert_eq!((metadata.value.of(body.as_bytes()), metadata.kind), (&br#"{"a":1}"#[..], Kind::Object));
        assert_eq!(answer.usage.map(|usage| usage.input), Some(3));
        let twice = read(r#"{"metadata":1,"usage":{"prompt_tokens":3},"metadata":2}"#);
        assert_eq!((twice.metadata, twice.usage.map(|usage| usage.input)), (None, Some(3)));
        let twice = read(r#"{"metadata":1,"usage":{"prompt_tokens":3},"choices":0,"choices":1}"#);
        assert_eq!((twice.metadata.map(|found| found.kind), twice.usage), (Some(Kind::Number), None));
        let twice = read(r#"{"service_tier":"flex","usage":{"prompt_tokens":3,"prompt_tokens":4}}"#);
        assert_eq!((twice.tier, twice.usage), (Some(Some(Tier::Flex)), None));
        for broken in [r#"{"metadata":1,"usage":{"prompt_tokens":3},"#, "[]", "", "{\"metadata\":\"\u{1}\"}"] {
            assert_eq!(read(broken), Answer::default(), "{broken}");
        }
    }
}
