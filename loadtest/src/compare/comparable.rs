//! Whether two results may be compared at all: the same plan, and rigs that were fit.

use super::run::Run;
use serde_json::Value;

/// Members of a plan that may differ: where it went and how it is called, not what was sent.
const FREE: [&str; 6] = ["name", "url", "ca", "key", "watch_pid", "threads"];

/// What two plans differ in: the place in the plan, and both values.
pub fn differences(a: &Run, b: &Run) -> Vec<String> {
    let mut found = Vec::new();
    walk("", &a.plan, &b.plan, &mut found);
    found
}

fn walk(place: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(first), Value::Object(second)) => {
            for (name, value) in first {
                if !FREE.contains(&name.as_str()) {
                    walk(&below(place, name), value, second.get(name).unwrap_or(&Value::Null), found);
                }
            }
            let fresh = second.iter().filter(|(name, _)| !first.contains_key(*name) && !FREE.contains(&name.as_str()));
            fresh.for_each(|(name, value)| walk(&below(place, name), &Value::Null, value, found));
        }
        (Value::Array(first), Value::Array(second)) if first.len() == second.len() => {
            for (number, (one, other)) in first.iter().zip(second).enumerate() {
                walk(&format!("{place}[{number}]"), one, other, found);
            }
        }
        _ if a != b => found.push(format!("{place}: {} and {}", short(a), short(b))),
        _ => {}
    }
}

fn below(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text }
}

/// Which results were stamped INVALID, and why.
pub fn invalid<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<String> {
    let bad = runs.filter(|run| !run.invalid.is_empty());
    bad.map(|run| format!("{} is INVALID: {}", run.name, run.invalid.join("; "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_sent_must_be_the_same() {
        let run = |plan: Value| Run { plan, ..Run::default() };
        let a = run(
            json!({"name": "a", "endpoints": [{"url": "http://a"}], "arrivals": {"kind": "constant", "rate": 100.0}, "seed": 1}),
        );
        let b = run(
            json!({"name": "b", "endpoints": [{"url": "http://b"}], "arrivals": {"kind": "constant", "rate": 100.0}, "seed": 1}),
        );
        assert_eq!(differences(&a, &b), Vec::<String>::new());
        let c = run(
            json!({"endpoints": [{"url": "x"}, {"url": "y"}], "arrivals": {"kind": "constant", "rate": 50.0}, "requests": 7, "seed": 1}),
        );
        let found = differences(&a, &c);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|line| line == "arrivals.rate: 100.0 and 50.0"), "{found:?}");
        assert!(found.iter().any(|line| line == "requests: null and 7"), "{found:?}");
    }
}
