//! From usage to money, and the `metadata` member of an answer.
//!
//! Money stays an integer until it is written; an unknown price writes `null`, never zero.

use crate::domain::id::{RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::splice::escape_into;
use crate::json::{Member, text};
use crate::metering::price::{self, Cost, PriceList};
use crate::metering::terms::{Terms, Tier};
use crate::routing::policy::Policy;
use memchr::memmem;
use std::io::Write as _;
use std::sync::Arc;

/// What one answer cost on these terms; `None` where the price or the usage is unknown.
pub fn cost(price: Option<&Arc<PriceList>>, usage: Option<&Usage>, terms: &Terms) -> Option<Cost> {
    price::cost(price?, usage?, terms)
}

/// The service tier that an answer names, outside (OpenAI and its kin) or inside its usage (Anthropic). The inner option is `None` for the
/// usual tier, the outer where none is named.
pub fn tier_of_answer(body: &[u8]) -> Option<Option<Tier>> {
    static NAMES: Names = Names::new(&["service_tier", "usage"]);
    static INNER: Names = Names::new(&["service_tier"]);
    // Most answers have none: one search instead of a scan.
    memmem::find(body, b"\"service_tier\"")?;
    let mut found = [None; 2];
    scan::members(body, &NAMES, &mut found).ok()?;
    let named = |member: Member| text::text(body, member.value).map(Tier::named);
    found[0].and_then(named).or_else(|| {
        let mut inner = [None];
        scan::members_at(body, found[1]?.value, &INNER, &mut inner).ok()?;
        inner[0].and_then(named)
    })
}

/// The facts of the `metadata` member.
pub struct Metadata<'a> {
    /// Who answered.
    pub provider: &'a str,
    /// The model's name there.
    pub model_used: &'a str,
    /// What the client had asked for.
    pub model_requested: &'a str,
    /// What it used, if known.
    pub usage: Option<Usage>,
    /// What it cost, if known.
    pub cost: Option<Cost>,
    /// From the request's head to this point.
    pub latency_ms: u64,
    /// The exchange, as in `x-request-id`.
    pub trace_id: RequestId,
    /// Whose bill it is on.
    pub tenant: &'a TenantId,
    /// The policy that ordered the candidates.
    pub policy: Policy,
    /// Attempts made.
    pub attempts: u32,
}

impl Metadata<'_> {
    /// Appends `"metadata":{…}`.
    pub fn write_member(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"metadata\":{");
        self.write_members(out);
        out.push(b'}');
    }

    /// Appends the members alone, without braces.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"provider\":");
        escape_into(self.provider, out);
        out.extend_from_slice(b",\"model_used\":");
        escape_into(self.model_used, out);
        out.extend_from_slice(b",\"model_requested\":");
        escape_into(self.model_requested, out);
        out.extend_from_slice(b",\"cost_usd\":");
        money(self.cost.map(|cost| cost.total), out);
        out.extend_from_slice(b",\"cost_breakdown\":");
        self.write_breakdown(out);
        // Writing to a Vec does not fail.
        let _ = write!(out, ",\"latency_ms\":{},\"trace_id\":\"{}\",\"tenant_id\":", self.latency_ms, self.trace_id);
        escape_into(self.tenant.as_str(), out);
        let _ = write!(out, ",\"routing_decision\":\"{}\",\"attempts\":{}", self.policy.as_str(), self.attempts);
    }

    fn write_breakdown(&self, out: &mut Vec<u8>) {
        let Some(usage) = self.usage else {
            return out.extend_from_slice(b"null");
        };
        let _ = write!(
            out,
            "{{\"input_tokens\":{},\"output_tokens\":{},\"cached_tokens\":{},\"input_cost\":",
            usage.input, usage.output, usage.cached_input
        );
        money(self.cost.map(|cost| cost.input), out);
        out.extend_from_slice(b",\"output_cost\":");
        money(self.cost.map(|cost| cost.output), out);
        out.push(b'}');
    }
}

/// A JSON number of dollars, exact, or `null`.
fn money(amount: Option<Money>, out: &mut Vec<u8>) {
    match amount {
        Some(amount) => {
            let _ = write!(out, "{amount}");
        }
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tier_of_an_answer_is_found_where_vendors_put_it() {
        for (body, expected) in [
            (r#"{"service_tier":"flex","usage":{}}"#, Some(Some(Tier::Flex))),
            (r#"{"usage":{"service_tier":"batch"}}"#, Some(Some(Tier::Batch))),
            (r#"{"service_tier":"default"}"#, Some(None)),
            (r#"{"service_tier":null}"#, None),
            (r#"{"choices":[{"service_tier":"flex"}]}"#, None),
            ("{}", None),
        ] {
            assert_eq!(tier_of_answer(body.as_bytes()), expected, "{body}");
        }
    }
}
