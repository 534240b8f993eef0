//! What an OpenAI-shaped answer says it used, in our accounting, whoever the vendor is: `metering` reads all the places and names.
//!
//! Where `completion_tokens` leaves reasoning out, the total says so, and then it is added whatever the vendor (xAI's way of counting).

use crate::domain::token::Usage;
use crate::json::Span;
use crate::metering::usage::{self, Accounting};

/// What the `usage` object `raw` says; nothing if it is no object or has no count.
pub(super) fn stated(raw: &str) -> Option<Usage> {
    usage::usage_from_object(raw.as_bytes(), whole(raw), Accounting::Xai)
}

/// What the `usage` member inside the object `raw` says (`x_groq`).
pub(super) fn nested(raw: &str) -> Option<Usage> {
    usage::nested_usage(raw.as_bytes(), whole(raw), Accounting::Xai)
}

fn whole(raw: &str) -> Span {
    Span { start: 0, end: raw.len() }
}
