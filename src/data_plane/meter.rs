//! From usage to money, and the `metadata` member of an answer.
//!
//! Money stays an integer until it is written; an unknown price writes `null`, never zero.

use super::together::Together;
use crate::domain::id::{ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::json::splice::escape_into;
use crate::limits;
use crate::metering::price::{self, Cost, PriceList};
use crate::metering::terms::Terms;
use crate::routing::decision::Considered;
use crate::routing::lane::LaneKey;
use crate::routing::policy::Policy;
use std::io::Write as _;
use std::sync::Arc;

/// What one answer cost on these terms; `None` where the price or the usage is unknown.
pub fn cost(price: Option<&Arc<PriceList>>, usage: Option<&Usage>, terms: &Terms) -> Option<Cost> {
    price::cost(price?, usage?, terms)
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
        out.extend_from_slice(b",\"latency_ms\":");
        number(self.latency_ms, out);
        out.extend_from_slice(b",\"trace_id\":\"");
        self.trace_id.append(out);
        out.extend_from_slice(b"\",\"tenant_id\":");
        escape_into(self.tenant.as_str(), out);
        self.choice.write_members(out);
        out.extend_from_slice(b",\"attempts\":");
        number(self.attempts.into(), out);
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
        out.extend_from_slice(b"{\"input_tokens\":");
        number(usage.input, out);
        out.extend_from_slice(b",\"output_tokens\":");
        number(usage.output, out);
        out.extend_from_slice(b",\"cached_tokens\":");
        number(usage.cached_input, out);
        out.extend_from_slice(b",\"input_cost\":");
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
        out.extend_from_slice(b",\"routing_decision\":\"");
        out.extend_from_slice(self.policy.as_str().as_bytes());
        out.extend_from_slice(b"\",\"thompson_sampling_score\":");
        score(own.map(|own| own.score).filter(|_| self.policy == Policy::Thompson), out);
        out.extend_from_slice(if self.exploration { b",\"exploration\":true" } else { b",\"exploration\":false" });
        out.extend_from_slice(b",\"alternatives\":[");
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

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A JSON number with four digits behind the point, or `null`.
fn score(value: Option<f64>, out: &mut Vec<u8>) {
    match value.filter(|value| value.is_finite()) {
        Some(value) => match ten_thousandths(value) {
            Some(figure) => {
                number(figure / 10_000, out);
                let rest = figure % 10_000;
                let digits = [rest / 1_000, rest / 100 % 10, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
                out.push(b'.');
                out.extend_from_slice(&digits);
            }
            None => {
                // Writing to a Vec does not fail.
                let _ = write!(out, "{value:.4}");
            }
        },
        None => out.extend_from_slice(b"null"),
    }
}

/// A number in whole ten-thousandths, rounded as `{:.4}` rounds: to the nearest, from the exact value, a tie to the even one. `None` if it is
/// negative or has no fraction.
fn ten_thousandths(value: f64) -> Option<u64> {
    const FRACTION_BITS: u32 = 52;
    let bits = value.to_bits();
    let exponent = u32::try_from(bits >> FRACTION_BITS).ok()?;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    if exponent >= 1_075 {
        return None;
    }
    let (mantissa, shift) = match exponent {
        0 => (fraction, 1_074),
        _ => (fraction | 1 << FRACTION_BITS, 1_075 - exponent),
    };
    // At most 53 bits and 14.
    let scaled = u128::from(mantissa) * 10_000;
    if shift > 100 {
        return Some(0);
    }
    let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1));
    let up = rest > half || (rest == half && whole & 1 == 1);
    u64::try_from(whole + u128::from(up)).ok()
}

/// A JSON number of dollars, exact, or `null`.
fn money(amount: Option<Money>, out: &mut Vec<u8>) {
    match amount {
        Some(amount) => amount.append(out),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_written_as_the_standard_library_rounds_them() {
        let written = |value: f64| {
            let mut out = Vec::new();
            score(Some(value), &mut out);
            String::from_utf8(out).expect("text")
        };
        let odd = [
            0.0,
            -0.0,
            0.5,
            1.0,
            0.00005,
            0.00015,
            0.03125,
            0.96875,
            0.99995,
            1e-300,
            5e-324,
            123_456.789,
            -0.25,
            1e15,
        ];
        // Ties: odd multiples of 2^-5 have five digits, the last of them a 5.
        let ties = (0..400).map(|number| f64::from(number) / 32.0);
        let mut dice = fastrand::Rng::with_seed(7);
        let any = (0..20_000).map(|_| dice.f64() * 10_f64.powi(dice.i32(-9..12)));
        for value in odd.into_iter().chain(ties).chain(any).chain([f64::MAX, f64::MIN_POSITIVE]) {
            assert_eq!(written(value), format!("{value:.4}"), "{value:e}");
        }
        assert_eq!(written(f64::NAN), "null");
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
