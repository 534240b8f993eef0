//! From usage to money, and the `metadata` member of an answer.
//!
//! Money stays an integer until it is written; an unknown price writes `null`, never zero.

use super::together::Together;
use crate::domain::id::{ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::splice::escape_into;
use crate::json::{Member, text};
use crate::limits;
use crate::metering::price::{self, Cost, PriceList};
use crate::metering::terms::{Terms, Tier};
use crate::routing::decision::Considered;
use crate::routing::lane::LaneKey;
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
    /// Why this one answered.
    pub choice: Choice<'a>,
    /// Attempts made.
    pub attempts: u32,
    /// Who spoke before, where an answer broke off and was continued.
    pub continued_from: &'a [ProviderId],
    /// Who else was asked at the same time.
    pub together: Option<&'a Together>,
}

/// The choice behind an answer.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The policy that ordered the candidates.
    pub policy: Policy,
    /// Whether the first candidate was not the one that looked best.
    pub exploration: bool,
    /// Who answered.
    pub lane: &'a LaneKey,
    /// Everybody who could have, in order.
    pub considered: &'a [Considered],
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
        let own = self.cost.map(|cost| cost.total);
        money(self.together.and_then(Together::cost).unwrap_or(own), out);
        out.extend_from_slice(b",\"cost_breakdown\":");
        self.write_breakdown(out);
        // Writing to a Vec does not fail.
        let _ = write!(out, ",\"latency_ms\":{},\"trace_id\":\"{}\",\"tenant_id\":", self.latency_ms, self.trace_id);
        escape_into(self.tenant.as_str(), out);
        self.choice.write_members(out);
        let _ = write!(out, ",\"attempts\":{}", self.attempts);
        if !self.continued_from.is_empty() {
            self.write_continued(out);
        }
        if let Some(together) = self.together {
            together.write(self.latency_ms, out);
        }
    }

    fn write_continued(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"continued\":true,\"continued_from\":[");
        for (place, provider) in self.continued_from.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            escape_into(provider.as_str(), out);
        }
        out.push(b']');
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

// === impl Choice ===

impl Choice<'_> {
    fn write_members(&self, out: &mut Vec<u8>) {
        let own = self.considered.iter().find(|considered| considered.lane == *self.lane);
        // Writing to a Vec does not fail.
        let _ = write!(out, ",\"routing_decision\":\"{}\",\"thompson_sampling_score\":", self.policy.as_str());
        score(own.map(|own| own.score).filter(|_| self.policy == Policy::Thompson), out);
        let _ = write!(out, ",\"exploration\":{},\"alternatives\":[", self.exploration);
        // Another credential of the same model is no alternative that a client could tell apart.
        let is_same =
            |other: &Considered| other.lane.provider == self.lane.provider && other.lane.model == self.lane.model;
        let others = self.considered.iter().filter(|other| other.rejection.is_none() && !is_same(other));
        for (at, other) in others.take(limits::ALTERNATIVES_SHOWN_MAX).enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"provider\":" } else { b",{\"provider\":" });
            escape_into(other.lane.provider.as_str(), out);
            out.extend_from_slice(b",\"model\":");
            escape_into(&other.lane.model, out);
            out.extend_from_slice(b",\"score\":");
            score(Some(other.score).filter(|_| has_scores(self.policy)), out);
            out.push(b'}');
        }
        out.push(b']');
    }
}

/// Whether a policy makes a figure of each candidate; the others follow the owner's list.
fn has_scores(policy: Policy) -> bool {
    !matches!(policy, Policy::Ordered | Policy::Weighted)
}

/// A JSON number, or `null`.
fn score(value: Option<f64>, out: &mut Vec<u8>) {
    match value.filter(|value| value.is_finite()) {
        Some(value) => {
            let _ = write!(out, "{value:.4}");
        }
        None => out.extend_from_slice(b"null"),
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

    #[test]
    fn an_answer_names_who_else_could_have_given_it() {
        let lane = |provider: &str, model: &str| LaneKey {
            provider: crate::domain::id::ProviderId::new(provider),
            model: Arc::from(model),
            credential: None,
        };
        let seen = |lane: LaneKey, score, rejection| Considered {
            lane,
            score,
            cost: None,
            latency_us: None,
            error_rate: None,
            warm: false,
            key_role: None,
            rejection,
        };
        let considered = [
            seen(lane("a", "m"), 0.91237, None),
            seen(lane("b", "m\"x"), 0.5, None),
            seen(lane("c", "m"), 0.0, Some(crate::routing::need::Rejection::NoTools)),
        ];
        let written = |policy| {
            let mut out = b"{\"x\":0".to_vec();
            Choice { policy, exploration: true, lane: &considered[0].lane, considered: &considered }
                .write_members(&mut out);
            out.push(b'}');
            serde_json::from_slice::<serde_json::Value>(&out).expect("valid JSON")
        };
        let thompson = written(Policy::Thompson);
        assert_eq!(thompson["thompson_sampling_score"], 0.9124);
        assert_eq!(thompson["exploration"], true);
        let others = serde_json::json!([{"provider": "b", "model": "m\"x", "score": 0.5}]);
        assert_eq!(thompson["alternatives"], others);
        assert!(written(Policy::Ordered)["alternatives"][0]["score"].is_null());
        assert!(written(Policy::Cost)["thompson_sampling_score"].is_null());
    }
}
