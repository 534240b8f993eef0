//! An access key's limits between their two forms: as configuration means them, and as JSON in the store and the API.
//!
//! ```text
//! {"requests_per_minute": 600, "tokens_per_minute": 1000000, "concurrent": 64, "budget": "$50/month",
//!  "models": ["gpt-4*"], "providers": ["openai"]}
//! ```
//! A row that configuration brought also carries `"origin": "config"`, which no caller may set or sees.

use crate::config::{Budget, KeyLimits, Period, unit};
use crate::domain::id::ProviderId;
use crate::limits::{ACCESS_KEY_PATTERNS_MAX, MODEL_NAME_BYTES_MAX};
use crate::providers::table;
use crate::routing::glob::NamePattern;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What marks a row that configuration brought.
const ORIGIN: &str = "origin";
const CONFIG: &str = "config";

/// What a snapshot needs of the limits.
#[derive(Deserialize)]
struct Allowed {
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    providers: Vec<String>,
}

/// The JSON form of configured limits, marked as configuration's.
pub(super) fn of_config(limits: &KeyLimits) -> Map<String, Value> {
    let mut json = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.and_then(|value| json.insert(name.to_owned(), value));
    put("requests_per_minute", limits.requests_per_minute.map(Value::from));
    put("tokens_per_minute", limits.tokens_per_minute.map(Value::from));
    put("concurrent", limits.concurrent.map(Value::from));
    put("budget", limits.budget.map(|budget| Value::from(budget_text(&budget))));
    let models = (!limits.models.is_empty()).then(|| Value::from(limits.models.clone()));
    put("models", models);
    let providers: Vec<Value> = limits.providers.iter().map(|provider| Value::from(provider.as_str())).collect();
    put("providers", (!providers.is_empty()).then_some(Value::Array(providers)));
    put(ORIGIN, Some(Value::from(CONFIG)));
    json
}

/// Checks limits that came by the API; provider aliases become canonical names.
///
/// # Errors
/// One sentence naming the member and what it should be.
pub(super) fn of_api(limits: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut meant = Map::new();
    for (name, value) in limits {
        if value.is_null() {
            continue;
        }
        let value = match name.as_str() {
            "requests_per_minute" | "tokens_per_minute" | "concurrent" => Value::from(count(&name, &value)?),
            "budget" => budget(&value)?,
            "models" => Value::from(names(&name, &value)?),
            "providers" => {
                let canonical = |name: String| table::find(&name).map_or(name, |row| row.id.to_owned());
                Value::from(names(&name, &value)?.into_iter().map(canonical).collect::<Vec<_>>())
            }
            _ => {
                return Err("limits may hold requests_per_minute, tokens_per_minute, concurrent, budget, models and \
                            providers; remove the others"
                    .to_owned());
            }
        };
        meant.insert(name, value);
    }
    Ok(meant)
}

/// Whether a stored row came from configuration.
pub(super) fn is_of_config(limits: &str) -> bool {
    // The mark can only be there as written by `of_config`; the text search spares parsing a million rows.
    limits.contains("\"origin\":\"config\"")
        && serde_json::from_str::<Map<String, Value>>(limits)
            .is_ok_and(|limits| limits.get(ORIGIN).is_some_and(|origin| origin == CONFIG))
}

/// The limits as shown.
pub(super) fn without_mark(limits: &mut Value) {
    if let Value::Object(limits) = limits {
        limits.remove(ORIGIN);
    }
}

/// Models and providers that a stored row allows; `None` when it cannot be read.
pub(super) fn allowed(limits: &str) -> Option<(Vec<NamePattern>, Vec<ProviderId>)> {
    if limits == "{}" {
        return Some((Vec::new(), Vec::new()));
    }
    let allowed: Allowed = serde_json::from_str(limits).ok()?;
    let models = allowed.models.iter().map(|model| NamePattern::parse(model)).collect();
    Some((models, allowed.providers.iter().map(|provider| ProviderId::new(provider)).collect()))
}

fn count(name: &str, value: &Value) -> Result<u64, String> {
    let count = match value {
        Value::String(text) => unit::count(text).ok(),
        other => other.as_u64(),
    };
    let most = if name == "concurrent" { u64::from(u32::MAX) } else { i64::MAX as u64 };
    count
        .filter(|count| (1..=most).contains(count))
        .ok_or_else(|| format!("{name} must be a whole number of 1 or more"))
}

fn budget(value: &Value) -> Result<Value, String> {
    let budget = value.as_str().and_then(|text| unit::budget(text).ok());
    let budget = budget.ok_or("budget must be an amount and a period, as in \"$50/month\"")?;
    Ok(Value::from(budget_text(&budget)))
}

fn budget_text(budget: &Budget) -> String {
    let period = match budget.period {
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
    };
    format!("${}/{period}", budget.amount)
}

fn names(member: &str, value: &Value) -> Result<Vec<String>, String> {
    let refused = || format!("{member} must be a list of at most {ACCESS_KEY_PATTERNS_MAX} names");
    let list = value.as_array().filter(|list| list.len() <= ACCESS_KEY_PATTERNS_MAX).ok_or_else(refused)?;
    let name = |value: &Value| {
        let fits =
            |name: &&str| !name.is_empty() && name.len() <= MODEL_NAME_BYTES_MAX && !name.chars().any(char::is_control);
        value.as_str().filter(fits).map(str::to_owned).ok_or_else(refused)
    };
    list.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn limits_by_the_api_are_checked_and_written_in_one_form() {
        let meant = of_api(object(json!({"tokens_per_minute": "1M", "budget": "$50.00/month", "models": ["gpt-4*"],
            "providers": ["grok"], "concurrent": null})));
        let expected =
            json!({"tokens_per_minute": 1_000_000, "budget": "$50/month", "models": ["gpt-4*"], "providers": ["xai"]});
        assert_eq!(Value::Object(meant.expect("fine limits")), expected);
        for bad in [
            json!({"requests_per_minute": 0}),
            json!({"concurrent": 4_294_967_296_u64}),
            json!({"budget": "50"}),
            json!({"models": "gpt-4"}),
            json!({"models": [""]}),
            json!({"origin": "config"}),
            json!({"requests": 1}),
        ] {
            assert!(of_api(object(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_configuration_marks_its_rows() {
        let limits = KeyLimits { models: vec!["\"origin\":\"config\"".to_owned()], ..KeyLimits::default() };
        let marked = of_config(&limits);
        assert!(is_of_config(&Value::Object(marked.clone()).to_string()));
        let unmarked = of_api(object(json!({"models": ["\"origin\":\"config\""]}))).expect("an odd name");
        assert!(!is_of_config(&Value::Object(unmarked).to_string()));
        let (models, providers) = allowed(&Value::Object(marked).to_string()).expect("readable");
        assert!(models.len() == 1 && providers.is_empty());
        assert!(allowed("[").is_none());
    }
}
