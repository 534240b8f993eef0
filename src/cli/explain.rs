//! `igris admin explain` and `igris admin decisions`: a decision as a report for people, and the latest ones as a table.

use super::print::{self, Column, cell, dollars, rows_of};
use serde_json::Value;
use std::fmt::Write;

/// Characters of an attempt's line in the timeline.
const TIMELINE_CHARS: usize = 32;

const CANDIDATES: &[Column] = &[
    Column("PROVIDER", "provider"),
    Column("MODEL", "model"),
    Column("CREDENTIAL", "credential"),
    Column("SCORE", "score"),
    Column("COST USD", "estimated_cost_usd"),
    Column("LATENCY MS", "estimated_latency_ms"),
    Column("ERRORS", "error_rate"),
    Column("WARM", "warm"),
    Column("KEY", "key_role"),
    Column("REJECTED", "rejected"),
];
const DECISIONS: &[Column] = &[
    Column("ID", "id"),
    Column("AT", "at"),
    Column("TENANT", "tenant"),
    Column("MODEL", "model"),
    Column("POLICY", "policy"),
    Column("ANSWERED BY", "by"),
    Column("ATTEMPTS", "count"),
    Column("STATUS", "status"),
    Column("LATENCY MS", "latency_ms"),
    Column("COST USD", "cost_usd"),
];

/// The latest decisions, one a line.
pub(super) fn decisions(answer: &Value) -> String {
    let mut rows = answer["data"].clone();
    for row in rows.as_array_mut().into_iter().flatten() {
        let attempts = row["attempts"].as_array();
        let last = attempts.and_then(|attempts| attempts.last()).map(place);
        let count = attempts.map_or(0, Vec::len);
        row["by"] = last.map_or(Value::Null, Value::from);
        row["count"] = Value::from(count);
        row["cost_usd"] = Value::from(dollars(&row["cost_usd"]));
    }
    rows_of(&rows, DECISIONS)
}

/// One decision: what was asked, who stood where and why, and how the attempts went.
pub(super) fn report(decision: &Value) -> String {
    let mut text = String::new();
    let mut say = |name: &str, what: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<9} {what}");
    };
    let of = |member: &str| cell(&decision[member]);
    say("request", format!("{} at {}, of tenant {} with {}", of("id"), of("at"), of("tenant"), of("access_key")));
    say("asked for", format!("{}{}", of("model"), category(&decision["semantic_classification"])));
    say("needs", need(&decision["need"]));
    say("policy", format!("{}, to be good at: {}", of("policy"), of("optimization")));
    say("why", of("reason"));
    say("status", status(decision["status"].as_u64().unwrap_or_default()));
    let [cost, expected] = ["cost_usd", "estimated_cost_usd"].map(|member| dollars(&decision[member]));
    say("cost", format!("{cost} USD, expected {expected}"));
    say("latency", format!("{} ms to the first byte, expected {}", of("latency_ms"), of("estimated_latency_ms")));
    let mut candidates = decision["candidates"].clone();
    for candidate in candidates.as_array_mut().into_iter().flatten() {
        candidate["estimated_cost_usd"] = Value::from(dollars(&candidate["estimated_cost_usd"]));
    }
    let _ = write!(text, "\ncandidates\n{}", rows_of(&candidates, CANDIDATES));
    let _ = write!(text, "\nattempts\n{}", timeline(&decision["attempts"]));
    let _ = write!(text, "\nour own time\n{}", phases(&decision["phases"]));
    text
}

fn category(classification: &Value) -> String {
    match classification["category"].as_str() {
        Some(category) => format!(", which a rule found to be {}", print::safe(category)),
        None => String::new(),
    }
}

fn need(need: &Value) -> String {
    let mut words = vec![format!("some {} tokens in", cell(&need["input_tokens"]))];
    if let Some(most) = need["output_tokens_max"].as_u64() {
        words.push(format!("at most {most} out"));
    }
    for (member, word) in [("tools", "tools"), ("vision", "pictures seen"), ("json_schema", "a JSON schema held")] {
        if need[member] == Value::Bool(true) {
            words.push(word.to_owned());
        }
    }
    if need["quality_min"].is_number() {
        words.push(format!("a quality of {} or better", cell(&need["quality_min"])));
    }
    words.join(", ")
}

fn status(status: u64) -> String {
    match status {
        0 => "none: the client was gone before the answer began".to_owned(),
        status => status.to_string(),
    }
}

fn place(attempt: &Value) -> String {
    format!("{}/{}", cell(&attempt["provider"]), cell(&attempt["model"]))
}

/// One line for each attempt: `=` connecting, `.` waiting, `#` answering. Those that lost a race ran beside the others.
fn timeline(attempts: &Value) -> String {
    let attempts: Vec<&Value> = attempts.as_array().into_iter().flatten().collect();
    if attempts.is_empty() {
        return "none\n".to_owned();
    }
    let micros = |attempt: &Value, member: &str| attempt[member].as_u64().unwrap_or_default();
    let lost = |attempt: &Value| attempt["outcome"] == "superseded";
    let whole: u64 = attempts.iter().filter(|one| !lost(one)).map(|one| micros(one, "total_us")).sum();
    let longest = attempts.iter().map(|one| micros(one, "total_us")).max().unwrap_or_default();
    let scale = whole.max(longest).max(1);
    let chars = |us: u64| (us as u128 * TIMELINE_CHARS as u128 / u128::from(scale)) as usize;
    let mut text = String::new();
    let mut spent = 0;
    for (number, attempt) in attempts.iter().enumerate() {
        let [connect, first_byte, total] =
            ["connect_us", "first_byte_us", "total_us"].map(|name| micros(attempt, name));
        let began = if lost(attempt) { 0 } else { spent };
        let answered = if first_byte == 0 { total } else { first_byte };
        let (start, stood, answers, end) =
            (chars(began), chars(began + connect), chars(began + answered), chars(began + total).max(chars(began) + 1));
        let line: String = (0..TIMELINE_CHARS)
            .map(|column| match column {
                column if column < start || column >= end => ' ',
                column if column < stood => '=',
                column if column < answers => '.',
                _ if first_byte == 0 => '.',
                _ => '#',
            })
            .collect();
        let _ = writeln!(
            text,
            "{} |{line}| {} {} {}{} in {} ms (connected {}, TLS {}, first byte {}), {} USD",
            number + 1,
            place(attempt),
            cell(&attempt["outcome"]),
            cell(&attempt["status"]),
            if attempt["key_refused"] == true { " (the key)" } else { "" },
            shown(total),
            shown(connect),
            shown(micros(attempt, "tls_us")),
            shown(first_byte),
            dollars(&attempt["cost_usd"]),
        );
        spent += if lost(attempt) { 0 } else { total };
    }
    text
}

fn shown(micros: u64) -> String {
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

fn phases(phases: &Value) -> String {
    const NAMES: [(&str, &str); 7] = [
        ("queue", "queue_us"),
        ("auth", "auth_us"),
        ("read", "read_us"),
        ("parse", "parse_us"),
        ("plan", "plan_us"),
        ("translate", "translate_us"),
        ("flush", "flush_us"),
    ];
    let words: Vec<String> = NAMES.iter().map(|(name, member)| format!("{name} {}", cell(&phases[*member]))).collect();
    format!("{} us\n", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::record::{self, View};
    use serde_json::json;

    fn sample() -> Value {
        record::write(&record::tests::sample(), View::Operator)
    }

    #[test]
    fn a_report_says_who_stood_where_and_why() {
        let text = report(&sample());
        for part in [
            "auto, which a rule found to be coding",
            "some 12 tokens in, tools, a quality of 0.5 or better",
            "cost: the cheapest of 2; its cache is thought to hold the prompt's beginning; 1 rejected (no_vision)",
            "no_vision",
            "a/gpt-4o refused 503 in 900.000 ms (connected 1.200, TLS 0.800, first byte 300.000)",
            "b/gpt-4o completed 200",
            "cost      0.00013 USD, expected 0.00012",
            "queue 1, auth 2",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn attempts_stand_one_after_the_other() {
        let attempt = |outcome: &str, connect: u64, first: u64, total: u64| {
            json!({ "provider": "p", "model": "m", "outcome": outcome, "status": 200, "connect_us": connect,
                "tls_us": 0, "first_byte_us": first, "total_us": total, "cost_usd": null })
        };
        let attempts = json!([attempt("unreachable", 0, 0, 500), attempt("completed", 250, 500, 1_500)]);
        let text = timeline(&attempts);
        assert!(text.starts_with("1 |........                        |"), "{text}");
        assert!(text.contains("2 |        ====....################|"), "{text}");
        assert_eq!(timeline(&json!([])), "none\n");
    }

    #[test]
    fn decisions_are_a_table() {
        let text = decisions(&json!({ "data": [sample()] }));
        assert!(text.contains("ANSWERED BY") && text.contains("b/gpt-4o"), "{text}");
    }
}
