//! A decision as JSON, written for people and programs and read back for a replay.
//!
//! One shape for the public path, the admin socket, dumps and the command line. Reading takes what writing made; a line of another origin
//! is refused by what is missing. The digest of a prompt's beginning is left out: who knows a prompt could look for it.

use super::decision::{Attempted, Considered, Decision, Phases, Sorted};
use super::lane::LaneKey;
use super::need::{Need, Rejection};
use super::policy::Policy;
use super::reason::reason;
use super::terms::Goal;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// For whose eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The operator's: everything.
    Operator,
    /// A tenant's: without the credentials behind the lanes and how they fare, since they may be the operator's.
    Tenant,
}

/// How attempts end, by name.
const OUTCOMES: [&str; 8] =
    ["completed", "refused", "unreachable", "timed_out", "broken", "client_gone", "superseded", "interrupted"];

/// Parts of credentials in a rotation, by name.
const KEY_ROLES: [&str; 3] = ["fresh", "outgoing", "standby"];

/// Why candidates are rejected.
const REJECTIONS: [Rejection; 12] = [
    Rejection::NoTools,
    Rejection::NoVision,
    Rejection::NoJsonSchema,
    Rejection::ContextTooLong,
    Rejection::QualityTooLow,
    Rejection::BreakerOpen,
    Rejection::QuotaShort,
    Rejection::Unresolved,
    Rejection::NotAllowed,
    Rejection::NoCredential,
    Rejection::Unsuited,
    Rejection::KeyRefused,
];

// ---- Writing ------------------------------------------------------------------------------------------------------------------

/// The whole decision.
pub fn write(decision: &Decision, view: View) -> Value {
    let chosen = decision.chosen();
    let mut value = json!({
        "id": decision.id.to_string(),
        "at": decision.at.to_rfc3339(),
        "at_ms": decision.at.0,
        "tenant": decision.tenant.as_str(),
        "access_key": decision.access_key.to_string(),
        "model": &*decision.model,
        "policy": decision.policy.as_str(),
        "optimization": decision.goal.as_str(),
        "exploration": decision.exploration,
        "reason": reason(decision.policy, decision.exploration, &decision.candidates),
        "semantic_classification": classification(decision.category.as_ref()),
        "need": need(&decision.need),
        "status": decision.status,
        "estimated_cost_usd": chosen.and_then(|chosen| chosen.cost).map(Money::to_usd),
        "cost_usd": decision.cost().map(Money::to_usd),
        "estimated_latency_ms": chosen.and_then(|chosen| chosen.latency_us).map(millis),
        "latency_ms": decision.first_byte_us().map(millis),
        "candidates": decision.candidates.iter().map(|one| considered(one, view)).collect::<Vec<_>>(),
        "attempts": decision.attempts.iter().map(|one| attempted(one, view)).collect::<Vec<_>>(),
        "phases": phases(&decision.phases),
    });
    if view == View::Operator {
        value["core"] = json!(decision.core);
    }
    value
}

/// What a request was found to be about.
pub fn classification(sorted: Option<&Sorted>) -> Value {
    sorted.map_or(
        Value::Null,
        |Sorted { category, confidence }| json!({ "category": &**category, "confidence": confidence }),
    )
}

/// What a request needed.
pub fn need(need: &Need) -> Value {
    json!({
        "tools": need.tools,
        "vision": need.vision,
        "pdf": need.pdf,
        "audio": need.audio,
        "json_schema": need.json_schema,
        "input_tokens": need.input_tokens,
        "output_tokens_max": need.output_tokens_max,
        "prefix_tokens": need.prefix_tokens,
        "quality_min": need.quality_min,
    })
}

/// A candidate as it was seen.
pub fn considered(candidate: &Considered, view: View) -> Value {
    let mut value = lane(&candidate.lane, view);
    value.insert("score".to_owned(), json!(candidate.score));
    value.insert("estimated_cost_usd".to_owned(), json!(candidate.cost.map(Money::to_usd)));
    value.insert("estimated_latency_ms".to_owned(), json!(candidate.latency_us.map(millis)));
    value.insert("error_rate".to_owned(), json!(candidate.error_rate));
    value.insert("warm".to_owned(), json!(candidate.warm));
    if let Some(role) = candidate.key_role.filter(|_| view == View::Operator) {
        value.insert("key_role".to_owned(), json!(role));
    }
    if let Some(rejection) = candidate.rejection {
        value.insert("rejected".to_owned(), json!(rejection.as_str()));
    }
    Value::Object(value)
}

fn attempted(attempt: &Attempted, view: View) -> Value {
    let mut value = lane(&attempt.lane, view);
    let figures = json!({
        "outcome": attempt.outcome,
        "status": attempt.status,
        "connect_us": attempt.connect_us,
        "tls_us": attempt.tls_us,
        "first_byte_us": attempt.first_byte_us,
        "first_token_us": attempt.first_token_us,
        "total_us": attempt.total_us,
        "cost_usd": attempt.cost.map(Money::to_usd),
    });
    if let Value::Object(figures) = figures {
        value.extend(figures);
    }
    if attempt.key_refused && view == View::Operator {
        value.insert("key_refused".to_owned(), json!(true));
    }
    Value::Object(value)
}

fn lane(lane: &LaneKey, view: View) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("provider".to_owned(), json!(lane.provider.as_str()));
    value.insert("model".to_owned(), json!(&*lane.model));
    if view == View::Operator {
        value.insert("credential".to_owned(), json!(lane.credential.map(|id| id.to_string())));
    }
    value
}

fn phases(phases: &Phases) -> Value {
    let Phases { queue_us, auth_us, read_us, parse_us, plan_us, translate_us, flush_us } = phases;
    json!({
        "queue_us": queue_us,
        "auth_us": auth_us,
        "read_us": read_us,
        "parse_us": parse_us,
        "plan_us": plan_us,
        "translate_us": translate_us,
        "flush_us": flush_us,
    })
}

/// Microseconds as milliseconds.
pub fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

// ---- Reading ------------------------------------------------------------------------------------------------------------------

/// A decision that was written before.
///
/// # Errors
/// The name of the member that is missing or makes no sense.
pub fn read(value: &Value) -> Result<Decision, &'static str> {
    let text = |name: &'static str| value[name].as_str().ok_or(name);
    let list = |name: &'static str| value[name].as_array().ok_or(name);
    let candidates = list("candidates")?.iter().map(read_considered).collect::<Option<_>>().ok_or("candidates")?;
    let attempts = list("attempts")?.iter().map(read_attempted).collect::<Option<_>>().ok_or("attempts")?;
    Ok(Decision {
        id: RequestId::parse(text("id")?).ok_or("id")?,
        tenant: TenantId::new(text("tenant")?),
        access_key: AccessKeyId::parse(text("access_key")?).ok_or("access_key")?,
        at: UnixMillis(value["at_ms"].as_u64().ok_or("at_ms")?),
        core: number(&value["core"]),
        model: Arc::from(text("model")?),
        category: sorted(&value["semantic_classification"]),
        policy: Policy::parse(text("policy")?).ok_or("policy")?,
        goal: Goal::parse(text("optimization")?).ok_or("optimization")?,
        need: read_need(&value["need"]),
        exploration: value["exploration"].as_bool().unwrap_or_default(),
        candidates,
        attempts,
        phases: read_phases(&value["phases"]),
        status: number(&value["status"]),
    })
}

fn read_considered(value: &Value) -> Option<Considered> {
    let rejection = value["rejected"].as_str().map(|word| {
        // A word of a newer version is a rejection all the same.
        REJECTIONS.into_iter().find(|known| known.as_str() == word).unwrap_or(Rejection::Unsuited)
    });
    Some(Considered {
        lane: read_lane(value)?,
        score: value["score"].as_f64().unwrap_or_default(),
        cost: money(&value["estimated_cost_usd"]),
        latency_us: value["estimated_latency_ms"].as_f64().map(|millis| (millis * 1_000.0).round() as u32),
        error_rate: value["error_rate"].as_f64(),
        warm: value["warm"].as_bool().unwrap_or_default(),
        key_role: value["key_role"].as_str().and_then(|role| KEY_ROLES.into_iter().find(|known| *known == role)),
        rejection,
    })
}

fn read_attempted(value: &Value) -> Option<Attempted> {
    let outcome = value["outcome"].as_str()?;
    Some(Attempted {
        lane: read_lane(value)?,
        outcome: OUTCOMES.into_iter().find(|known| *known == outcome)?,
        status: number(&value["status"]),
        key_refused: value["key_refused"].as_bool().unwrap_or_default(),
        connect_us: number(&value["connect_us"]),
        tls_us: number(&value["tls_us"]),
        first_byte_us: number(&value["first_byte_us"]),
        first_token_us: number(&value["first_token_us"]),
        total_us: number(&value["total_us"]),
        cost: money(&value["cost_usd"]),
    })
}

fn read_lane(value: &Value) -> Option<LaneKey> {
    let credential = value["credential"].as_str().and_then(CredentialId::parse);
    let (provider, model) = (value["provider"].as_str()?, value["model"].as_str()?);
    Some(LaneKey { provider: ProviderId::new(provider), model: Arc::from(model), credential })
}

fn sorted(value: &Value) -> Option<Sorted> {
    let category = Arc::from(value["category"].as_str()?);
    Some(Sorted { category, confidence: value["confidence"].as_f64().unwrap_or(1.0) })
}

fn read_need(value: &Value) -> Need {
    let flag = |name: &str| value[name].as_bool().unwrap_or_default();
    Need {
        tools: flag("tools"),
        vision: flag("vision"),
        pdf: flag("pdf"),
        audio: flag("audio"),
        json_schema: flag("json_schema"),
        input_tokens: value["input_tokens"].as_u64().unwrap_or_default(),
        output_tokens_max: value["output_tokens_max"].as_u64(),
        prefix_tokens: value["prefix_tokens"].as_u64().unwrap_or_default(),
        quality_min: value["quality_min"].as_f64(),
        ..Need::default()
    }
}

fn read_phases(value: &Value) -> Phases {
    Phases {
        queue_us: number(&value["queue_us"]),
        auth_us: number(&value["auth_us"]),
        read_us: number(&value["read_us"]),
        parse_us: number(&value["parse_us"]),
        plan_us: number(&value["plan_us"]),
        translate_us: number(&value["translate_us"]),
        flush_us: number(&value["flush_us"]),
    }
}

/// A count that is 0 where it is missing.
fn number<N: TryFrom<u64> + Default>(value: &Value) -> N {
    value.as_u64().and_then(|number| N::try_from(number).ok()).unwrap_or_default()
}

/// Dollars; a picodollar is the least that is kept.
fn money(value: &Value) -> Option<Money> {
    let dollars = value.as_f64().filter(|dollars| (0.0..1e12).contains(dollars))?;
    Money::parse_usd(&format!("{dollars:.12}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A decision with something everywhere.
    pub(crate) fn sample() -> Decision {
        let lane = |provider: &str| LaneKey {
            provider: ProviderId::new(provider),
            model: Arc::from("gpt-4o"),
            credential: Some(CredentialId::from_bits(7)),
        };
        let considered = |provider: &str, rejection| Considered {
            lane: lane(provider),
            score: 0.75,
            cost: Money::parse_usd("0.00012"),
            latency_us: Some(340_500),
            error_rate: Some(0.25),
            warm: true,
            key_role: Some("fresh"),
            rejection,
        };
        let attempt = |provider: &str, outcome, status, cost: Option<&str>| Attempted {
            lane: lane(provider),
            outcome,
            status,
            key_refused: status == 401,
            connect_us: 1_200,
            tls_us: 800,
            first_byte_us: 300_000,
            first_token_us: 310_000,
            total_us: 900_000,
            cost: cost.and_then(Money::parse_usd),
        };
        Decision {
            id: RequestId::from_bits(1),
            tenant: TenantId::new("acme"),
            access_key: AccessKeyId::from_bits(2),
            at: UnixMillis(1_795_416_713_250),
            core: 1,
            model: Arc::from("auto"),
            category: Some(Sorted { category: Arc::from("coding"), confidence: 0.5 }),
            policy: Policy::Cost,
            goal: Goal::Quality,
            need: Need { tools: true, input_tokens: 12, quality_min: Some(0.5), ..Need::default() },
            exploration: false,
            candidates: vec![considered("a", None), considered("b", None), considered("c", Some(Rejection::NoVision))],
            attempts: vec![attempt("a", "refused", 503, None), attempt("b", "completed", 200, Some("0.00013"))],
            phases: Phases {
                queue_us: 1,
                auth_us: 2,
                read_us: 3,
                parse_us: 4,
                plan_us: 5,
                translate_us: 6,
                flush_us: 7,
            },
            status: 200,
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        let decision = sample();
        assert_eq!(read(&write(&decision, View::Operator)), Ok(decision));
        assert_eq!(read(&json!({ "id": "req_1" })), Err("candidates"));
        assert_eq!(read(&Value::Null), Err("candidates"));
    }

    #[test]
    fn estimates_stand_beside_what_came() {
        let value = write(&sample(), View::Operator);
        assert_eq!(value["estimated_cost_usd"], 0.00012);
        assert_eq!(value["cost_usd"], 0.00013);
        assert_eq!((&value["estimated_latency_ms"], &value["latency_ms"]), (&json!(340.5), &json!(300.0)));
        assert_eq!(value["candidates"][2]["rejected"], "no_vision");
    }

    #[test]
    fn a_tenant_does_not_see_whose_credentials_there_are() {
        let text = write(&sample(), View::Tenant).to_string();
        assert!(!text.contains("key_") && !text.contains("\"core\""), "{text}");
        assert!(write(&sample(), View::Operator).to_string().contains("key_"));
    }
}
