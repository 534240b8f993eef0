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
        text(b"\"provider\":", self.provider, out);
        text(b",\"model_used\":", self.model_used, out);
        text(b",\"model_requested\":", self.model_requested, out);
        let own = self.cost.map(|cost| cost.total);
        money(b",\"cost_usd\":", self.together.and_then(Together::cost).unwrap_or(own), out);
        self.write_breakdown(out);
        number(b",\"latency_ms\":", self.latency_ms, out);
        plain(b",\"trace_id\":\"", out);
        self.trace_id.append(out);
        text(b"\",\"tenant_id\":", self.tenant.as_str(), out);
        self.choice.write_members(out);
        number(b",\"attempts\":", self.attempts.into(), out);
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
            return plain(b",\"cost_breakdown\":null", out);
        };
        number(b",\"cost_breakdown\":{\"input_tokens\":", usage.input, out);
        number(b",\"output_tokens\":", usage.output, out);
        number(b",\"cached_tokens\":", usage.cached_input, out);
        money(b",\"input_cost\":", self.cost.map(|cost| cost.input), out);
        money(b",\"output_cost\":", self.cost.map(|cost| cost.output), out);
        plain(b"}", out);
    }
}

// === impl Choice ===

impl Choice<'_> {
    fn write_members(&self, out: &mut Vec<u8>) {
        plain(b",\"routing_decision\":\"", out);
        plain(self.policy.as_str().as_bytes(), out);
        plain(b"\",\"thompson_sampling_score\":", out);
        let is_own = |considered: &&Considered| considered.lane == *self.lane;
        let own = if self.policy == Policy::Thompson { self.considered.iter().find(is_own) } else { None };
        score(own.map(|own| own.score), out);
        plain(if self.exploration { b",\"exploration\":true" } else { b",\"exploration\":false" }, out);
        plain(b",\"alternatives\":[", out);
        // Another credential of the same model is no alternative that a client could tell apart.
        let is_same =
            |other: &Considered| other.lane.provider == self.lane.provider && other.lane.model == self.lane.model;
        let others = self.considered.iter().filter(|other| other.rejection.is_none() && !is_same(other));
        for (at, other) in others.take(limits::ALTERNATIVES_SHOWN_MAX).enumerate() {
            text(if at == 0 { b"{\"provider\":" } else { b",{\"provider\":" }, other.lane.provider.as_str(), out);
            text(b",\"model\":", &other.lane.model, out);
            plain(b",\"score\":", out);
            score(Some(other.score).filter(|_| has_scores(self.policy)), out);
            plain(b"}", out);
        }
        plain(b"]", out);
    }
}

/// Whether a policy makes a figure of each candidate; the others follow the owner's list.
fn has_scores(policy: Policy) -> bool {
    !matches!(policy, Policy::Ordered | Policy::Weighted)
}

// The pieces of an answer's metadata: functions that stay apart, so that saying a piece takes a call and not a copy of the writing.

#[inline(never)]
fn plain(piece: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(piece);
}

#[inline(never)]
fn text(label: &[u8], value: &str, out: &mut Vec<u8>) {
    plain(label, out);
    escape_into(value, out);
}

#[inline(never)]
fn number(label: &[u8], value: u64, out: &mut Vec<u8>) {
    plain(label, out);
    plain(itoa::Buffer::new().format(value).as_bytes(), out);
}

/// A JSON number with four digits behind the point, or `null`.
fn score(value: Option<f64>, out: &mut Vec<u8>) {
    match value.filter(|value| value.is_finite()) {
        Some(value) => match ten_thousandths(value) {
            Some(figure) => {
                number(b"", figure / 10_000, out);
                let rest = figure % 10_000;
                let digits = [rest / 1_000, rest / 100 % 10, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
                plain(&[b'.', digits[0], digits[1], digits[2], digits[3]], out);
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
#[inline(never)]
fn money(label: &[u8], amount: Option<Money>, out: &mut Vec<u8>) {
    plain(label, out);
    match amount {
        Some(amount) => amount.append(out),
        None => plain(b"null", out),
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
