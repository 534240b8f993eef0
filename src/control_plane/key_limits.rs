//! An access key's limits between their two forms: as configuration means them, and as JSON in the store and the API.
//!
//! ```text
//! {"requests_per_minute": 600, "tokens_per_minute": 1000000, "concurrent": 64, "budget": "$50/month",
//!  "models": ["gpt-4*"], "providers": ["openai"], "endpoints": ["chat"], "sources": ["10.0.0.0/8"]}
//! ```
//! A row that configuration brought also carries `"origin": "config"`, which no caller may set or sees.

use crate::allowance::{Ceiling, Pace, Terms};
use crate::config::{Budget, KeyLimits, TenantLimits, unit};
use crate::domain::budget::{Cap, Period};
use crate::domain::cidr::{Cidr, NotACidr};
use crate::domain::endpoint::Endpoint;
use crate::domain::id::ProviderId;
use crate::limits::{ACCESS_KEY_PATTERNS_MAX, BUDGETS_MAX, MODEL_NAME_BYTES_MAX};
use crate::providers::table;
use crate::routing::glob::NamePattern;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What marks a row that configuration brought.
const ORIGIN: &str = "origin";
const CONFIG: &str = "config";

/// The lists of a stored row, as written.
#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    providers: Vec<String>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    sources: Vec<String>,
}

/// What a stored row allows; each empty list allows all.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    pub(super) models: Vec<NamePattern>,
    pub(super) providers: Vec<ProviderId>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) sources: Vec<Cidr>,
}

/// The amounts of a stored row, as written.
#[derive(Deserialize)]
struct Amounts {
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    concurrent: Option<u32>,
    budget: Option<String>,
    #[serde(default)]
    budgets: Vec<String>,
}

/// The JSON form of configured limits, marked as configuration's.
pub(super) fn of_config(limits: &KeyLimits) -> Map<String, Value> {
    let mut json = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.and_then(|value| json.insert(name.to_owned(), value));
    put("requests_per_minute", limits.requests_per_minute.map(Value::from));
    put("tokens_per_minute", limits.tokens_per_minute.map(Value::from));
    put("concurrent", limits.concurrent.map(Value::from));
    match limits.budgets.as_slice() {
        [] => {}
        [one] => drop(put("budget", Some(Value::from(one.to_string())))),
        many => drop(put("budgets", Some(many.iter().map(Budget::to_string).collect()))),
    }
    let models = (!limits.models.is_empty()).then(|| Value::from(limits.models.clone()));
    put("models", models);
    let providers: Vec<Value> = limits.providers.iter().map(|provider| Value::from(provider.as_str())).collect();
    put("providers", (!providers.is_empty()).then_some(Value::Array(providers)));
    let endpoints: Vec<Value> = limits.endpoints.iter().map(|kind| Value::from(kind.name())).collect();
    put("endpoints", (!endpoints.is_empty()).then_some(Value::Array(endpoints)));
    let sources: Vec<Value> = limits.sources.iter().map(|range| Value::from(range.to_string())).collect();
    put("sources", (!sources.is_empty()).then_some(Value::Array(sources)));
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
            "budget" => Value::from(budget(&value)?.to_string()),
            "budgets" => Value::from(budgets(&value)?),
            "models" => Value::from(names(&name, &value)?),
            "providers" => {
                let canonical = |name: String| table::find(&name).map_or(name, |row| row.id.to_owned());
                Value::from(names(&name, &value)?.into_iter().map(canonical).collect::<Vec<_>>())
            }
            "endpoints" => Value::from(endpoints(&names(&name, &value)?)?),
            "sources" => Value::from(sources(&names(&name, &value)?)?),
            _ => {
                return Err(
                    "limits may hold requests_per_minute, tokens_per_minute, concurrent, budget, budgets, models, \
                            providers, endpoints and sources; remove the others"
                        .to_owned(),
                );
            }
        };
        meant.insert(name, value);
    }
    check_budgets(&meant)?;
    Ok(meant)
}

/// Stored limits with the members that an amendment names: checked, a null takes one away.
///
/// # Errors
/// As [`of_api`].
pub(super) fn merged(
    mut limits: Map<String, Value>,
    members: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    limits.retain(|name, _| !members.get(name).is_some_and(Value::is_null));
    limits.extend(of_api(members)?);
    Ok(limits)
}

/// Whether the lists of some limits allow nothing that the lists of a stored row do not.
///
/// # Errors
/// The name of the first list that does.
pub(super) fn check_within(own: &str, wanted: &Map<String, Value>) -> Result<(), &'static str> {
    let unreadable = "limits";
    let own: Lists = serde_json::from_str(own).map_err(|_| unreadable)?;
    // A null stands for a member that is not there.
    let wanted: Map<String, Value> = wanted
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let wanted: Lists = serde_json::from_value(Value::Object(wanted)).map_err(|_| unreadable)?;
    let provider = |name: &str| table::find(name).map_or_else(|| name.to_owned(), |row| row.id.to_owned());
    let model = |own: &str, wanted: &str| match NamePattern::parse(wanted) {
        NamePattern::Name(name) => NamePattern::parse(own).matches(&name),
        NamePattern::Glob(_) => own == wanted,
    };
    let source = |own: &str, wanted: &str| match (Cidr::parse(own), Cidr::parse(wanted)) {
        (Ok(own), Ok(wanted)) => own.covers(&wanted),
        _ => false,
    };
    all_within("models", &own.models, &wanted.models, model)?;
    all_within("providers", &own.providers, &wanted.providers, |own, wanted| own == provider(wanted))?;
    all_within("endpoints", &own.endpoints, &wanted.endpoints, |own, wanted| own == wanted)?;
    all_within("sources", &own.sources, &wanted.sources, source)
}

fn all_within(
    member: &'static str,
    own: &[String],
    wanted: &[String],
    covers: impl Fn(&str, &str) -> bool,
) -> Result<(), &'static str> {
    let covered = |wanted: &String| own.iter().any(|own| covers(own, wanted));
    // An empty list allows all.
    let within = own.is_empty() || (!wanted.is_empty() && wanted.iter().all(covered));
    if within { Ok(()) } else { Err(member) }
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

/// Rates and money of a stored row; `None` when it cannot be read whole, since half a limit is none.
pub(super) fn terms(limits: &str) -> Option<Terms> {
    if limits == "{}" {
        return Some(Terms::default());
    }
    let stored: Amounts = serde_json::from_str(limits).ok()?;
    let budgets = stored.budget.iter().chain(&stored.budgets);
    let budgets: Option<Vec<Budget>> = budgets.map(|text| unit::budget(text).ok()).collect();
    Some(terms_of(stored.requests_per_minute, stored.tokens_per_minute, stored.concurrent, &budgets?))
}

/// Rates and money of a tenant.
pub(super) fn tenant_terms(limits: &TenantLimits) -> Terms {
    terms_of(limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent, &limits.budgets)
}

fn terms_of(requests: Option<u64>, tokens: Option<u64>, concurrent: Option<u32>, budgets: &[Budget]) -> Terms {
    Terms {
        requests: requests.map(Pace::per_minute),
        tokens: tokens.map(Pace::per_minute),
        concurrent,
        ceilings: budgets.iter().copied().map(Ceiling::new).collect(),
    }
}

/// What a stored row allows; `None` when it cannot be read whole: a list that is understood in part would allow too much or too little.
pub(super) fn allowed(limits: &str) -> Option<Allowed> {
    if limits == "{}" {
        return Some(Allowed::default());
    }
    let lists: Lists = serde_json::from_str(limits).ok()?;
    Some(Allowed {
        models: lists.models.iter().map(|model| NamePattern::parse(model)).collect(),
        providers: lists.providers.iter().map(|provider| ProviderId::new(provider)).collect(),
        endpoints: lists.endpoints.iter().map(|name| Endpoint::parse(name)).collect::<Option<_>>()?,
        sources: lists.sources.iter().map(|range| Cidr::parse(range).ok()).collect::<Option<_>>()?,
    })
}

fn endpoints(names: &[String]) -> Result<Vec<&'static str>, String> {
    let known = |name: &String| Endpoint::parse(name).map(Endpoint::name);
    names.iter().map(known).collect::<Option<_>>().ok_or_else(|| {
        let all: Vec<&str> = Endpoint::ALL.into_iter().map(Endpoint::name).collect();
        format!("endpoints may hold {}; remove the others", all.join(", "))
    })
}

fn sources(ranges: &[String]) -> Result<Vec<String>, String> {
    let meant = |range: &String| {
        Cidr::parse(range).map(|range| range.to_string()).map_err(|why| match why {
            NotACidr::Beyond(range) => {
                format!("sources holds a range with bits beyond its prefix; did you mean {range}?")
            }
            NotACidr::Address | NotACidr::Prefix(_) => {
                "sources must hold addresses and ranges such as \"10.0.0.0/8\" and \"fd00::/8\"".to_owned()
            }
        })
    };
    ranges.iter().map(meant).collect()
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

fn budget(value: &Value) -> Result<Budget, String> {
    let refused = || {
        "a budget must be an amount and a period, as in \"$50/month\" or \"$5/day soft\", or {\"amount\": \"$100\", \"period\": \
         \"total\", \"cap\": \"soft\"}"
            .to_owned()
    };
    let read = match value {
        Value::String(text) => unit::budget(text).ok(),
        Value::Object(parts) if parts.keys().all(|name| matches!(name.as_str(), "amount" | "period" | "cap")) => {
            let part = |name: &str| parts.get(name).and_then(Value::as_str);
            let cap = if parts.contains_key("cap") { part("cap").and_then(Cap::parse) } else { Some(Cap::Hard) };
            let amount = part("amount").and_then(|text| unit::money(text).ok());
            let period = part("period").and_then(Period::parse);
            amount.zip(period).zip(cap).map(|((amount, period), cap)| Budget { amount, period, cap })
        }
        _ => None,
    };
    read.ok_or_else(refused)
}

fn budgets(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().filter(|list| list.len() <= BUDGETS_MAX);
    let list = list.ok_or_else(|| format!("budgets must be a list of at most {BUDGETS_MAX} budgets"))?;
    list.iter().map(|value| budget(value).map(|budget| budget.to_string())).collect()
}

/// No two budgets for the same period and cap: the smaller would hold, and the other deceive.
fn check_budgets(limits: &Map<String, Value>) -> Result<(), String> {
    let one = limits.get("budget").into_iter();
    let many = limits.get("budgets").and_then(Value::as_array).into_iter().flatten();
    let mut seen = Vec::new();
    for budget in one.chain(many).filter_map(|value| unit::budget(value.as_str()?).ok()) {
        let kind = (budget.period, budget.cap);
        if seen.contains(&kind) {
            let (cap, period) = (budget.cap.name(), budget.period.name());
            return Err(format!("there are two {cap} budgets for one {period}; keep one of them"));
        }
        seen.push(kind);
    }
    Ok(())
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
            json!({"budgets": "$50/month"}),
            json!({"budgets": ["$50/month", "$60/month"]}),
            json!({"budget": "$50/month", "budgets": [{"amount": "$60", "period": "month", "cap": "hard"}]}),
            json!({"budgets": [{"amount": "$60", "period": "month", "cap": "firm"}]}),
            json!({"budgets": [{"amount": "$60", "period": "month", "capp": "soft"}]}),
            json!({"models": "gpt-4"}),
            json!({"models": [""]}),
            json!({"origin": "config"}),
            json!({"requests": 1}),
        ] {
            assert!(of_api(object(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_budgets_come_back_as_they_were_meant() {
        let given = json!({"requests_per_minute": 600, "concurrent": 4,
            "budgets": ["$5/day", {"amount": "$100", "period": "total", "cap": "soft"}]});
        let meant = of_api(object(given)).expect("fine limits");
        assert_eq!(meant["budgets"], json!(["$5/day", "$100/total soft"]));
        let read = terms(&Value::Object(meant).to_string()).expect("readable");
        assert_eq!((read.requests, read.tokens, read.concurrent), (Some(Pace::per_minute(600)), None, Some(4)));
        let written: Vec<String> = read.ceilings.iter().map(|ceiling| ceiling.budget.to_string()).collect();
        assert_eq!(written, ["$5/day", "$100/total soft"]);
        let budgets: Vec<Budget> = read.ceilings.iter().map(|ceiling| ceiling.budget).collect();
        let configured =
            KeyLimits { concurrent: Some(4), requests_per_minute: Some(600), budgets, ..KeyLimits::default() };
        assert_eq!(terms(&Value::Object(of_config(&configured)).to_string()), Some(read));
        assert!(terms("{}").is_some_and(|terms| terms.is_empty()));
        assert!(terms(r#"{"budget":"$5/fortnight"}"#).is_none(), "what a newer build stored is not half understood");
    }

    #[test]
    fn only_configuration_marks_its_rows() {
        let limits = KeyLimits { models: vec!["\"origin\":\"config\"".to_owned()], ..KeyLimits::default() };
        let marked = of_config(&limits);
        assert!(is_of_config(&Value::Object(marked.clone()).to_string()));
        let unmarked = of_api(object(json!({"models": ["\"origin\":\"config\""]}))).expect("an odd name");
        assert!(!is_of_config(&Value::Object(unmarked).to_string()));
        let read = allowed(&Value::Object(marked).to_string()).expect("readable");
        assert!(read.models.len() == 1 && read.providers.is_empty());
        assert!(allowed("[").is_none());
    }

    #[test]
    fn an_amendment_names_what_it_changes() {
        let before = object(json!({"concurrent": 3, "models": ["a"], "sources": ["10.0.0.0/8"]}));
        let after = merged(before.clone(), object(json!({"concurrent": 4, "models": null, "budget": null})));
        assert_eq!(Value::Object(after.expect("fine limits")), json!({"concurrent": 4, "sources": ["10.0.0.0/8"]}));
        assert!(merged(before, object(json!({"concurrent": 0}))).is_err());
    }

    #[test]
    fn lists_are_within_those_that_allow_as_much() {
        let own = r#"{"models":["gpt-4*","o3"],"providers":["xai"],"endpoints":["chat"],"sources":["10.0.0.0/8"]}"#;
        let within = |member: &str, value: Value| {
            let mut wanted = object(json!({"models": ["o3"], "providers": ["xai"], "endpoints": ["chat"],
                "sources": ["10.1.0.0/16"], "concurrent": 9}));
            wanted.insert(member.to_owned(), value);
            check_within(own, &wanted)
        };
        for (member, fine, wider) in [
            ("models", json!(["gpt-4o", "gpt-4*"]), json!(["gpt-4o", "gpt-5"])),
            ("models", json!(["o3"]), json!(["gpt-*"])),
            ("providers", json!(["grok"]), json!(["xai", "openai"])),
            ("endpoints", json!(["chat"]), json!(["files"])),
            ("sources", json!(["10.0.0.0/8", "10.2.3.4"]), json!(["10.0.0.0/7"])),
        ] {
            assert_eq!(within(member, fine), Ok(()), "{member}");
            assert_eq!(within(member, wider), Err(member));
            assert_eq!(within(member, json!([])), Err(member), "an empty list allows all");
            assert_eq!(within(member, Value::Null), Err(member), "no list allows all");
        }
        assert_eq!(check_within("{}", &object(json!({"models": ["anything"]}))), Ok(()));
    }

    #[test]
    fn endpoints_and_sources_have_one_form_from_both_sides() {
        let given = json!({"endpoints": ["chat", "files"], "sources": ["10.0.0.0/8", "192.0.2.7", "FD00::/8"]});
        let meant = of_api(object(given)).expect("fine limits");
        let expected = json!(["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]);
        assert_eq!((&meant["endpoints"], &meant["sources"]), (&json!(["chat", "files"]), &expected));
        let read = allowed(&Value::Object(meant.clone()).to_string()).expect("readable");
        assert_eq!(read.endpoints, [Endpoint::Chat, Endpoint::Files]);
        let limits = KeyLimits { endpoints: read.endpoints, sources: read.sources, ..KeyLimits::default() };
        let mut configured = Value::Object(of_config(&limits));
        without_mark(&mut configured);
        assert_eq!(configured, Value::Object(meant));
        for bad in [
            json!({"endpoints": ["everything"]}),
            json!({"endpoints": "chat"}),
            json!({"sources": ["10.0.0.1/8"]}),
            json!({"sources": ["office"]}),
            json!({"sources": [7]}),
        ] {
            assert!(of_api(object(bad.clone())).is_err(), "{bad}");
        }
        // What a newer build stored is not half understood.
        assert!(allowed(r#"{"endpoints":["chat","later"]}"#).is_none() && allowed(r#"{"sources":["x"]}"#).is_none());
    }
}
