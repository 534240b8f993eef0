//! Answers of the admin API for people: small aligned tables, names and values, one line for an event.
//!
//! Text that was chosen elsewhere is made safe for a terminal first: no control characters, no marks that reorder a line (rule R5).

use crate::domain::text::bounded;
use crate::limits::LOG_TEXT_BYTES_MAX;
use serde_json::Value;
use std::fmt::Write;

/// A column: its title, and where its value is in a row; a dot leads into a member.
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str);

/// `igris admin providers`.
pub(super) const PROVIDERS: &[Column] = &[
    Column("NAME", "name"),
    Column("REQUESTS", "requests"),
    Column("P50 MS", "latency_ms_p50"),
    Column("P99 MS", "latency_ms_p99"),
    Column("ERRORS", "error_rate"),
    Column("TOKENS IN", "input_tokens"),
    Column("TOKENS OUT", "output_tokens"),
    Column("COST USD", "cost_usd"),
];
/// `igris admin breakers`.
pub(super) const BREAKERS: &[Column] = &[
    Column("PROVIDER", "provider"),
    Column("MODEL", "model"),
    Column("CREDENTIAL", "credential"),
    Column("STATE", "state"),
    Column("CAUSE", "cause"),
    Column("PROBE IN S", "probe_in_s"),
    Column("FAILED PROBES", "failed_probes"),
];
/// `igris admin scores`.
pub(super) const SCORES: &[Column] = &[
    Column("PROVIDER", "provider"),
    Column("MODEL", "model"),
    Column("CREDENTIAL", "credential"),
    Column("SAMPLES", "samples"),
    Column("SCORE", "score"),
    Column("ERRORS", "error_rate"),
    Column("LIMITED", "limited_rate"),
    Column("CACHED", "cache_hit_rate"),
    Column("FIRST BYTE MS", "first_byte_ms.p50"),
    Column("P99", "first_byte_ms.p99"),
    Column("TOTAL MS", "total_ms.p50"),
    Column("P99", "total_ms.p99"),
    Column("PRIOR", "prior"),
    Column("HALTED", "halted.why"),
];
/// `igris admin audit list`.
pub(super) const AUDIT: &[Column] = &[
    Column("ROW", "sequence"),
    Column("AT", "at"),
    Column("TENANT", "tenant"),
    Column("WHO", "who"),
    Column("WHAT", "what"),
    Column("TARGET", "target"),
    Column("BEFORE", "before"),
    Column("AFTER", "after"),
];
/// `igris admin keys list`.
pub(super) const KEYS: &[Column] = &[
    Column("ID", "id"),
    Column("PROVIDER", "provider"),
    Column("STATUS", "status"),
    Column("KEY", "key"),
    Column("CREATED", "created_at"),
    Column("AGE IN DAYS", "age_days"),
    Column("ROTATION DUE", "rotation_due"),
];
/// `igris admin rotations list`.
pub(super) const ROTATIONS: &[Column] = &[
    Column("ID", "rotation_id"),
    Column("PROVIDER", "provider"),
    Column("STATUS", "status"),
    Column("STATE", "state"),
    Column("SECONDS LEFT", "seconds_left"),
    Column("OLD KEY", "old_key_id"),
    Column("NEW KEY", "new_key_id"),
    Column("NEW GOOD", "counts.new.good"),
    Column("NEW REFUSED", "counts.new.refused"),
    Column("GRACE ENDS", "grace_period_ends"),
];
/// `igris admin budgets`.
pub(super) const BUDGETS: &[Column] = &[
    Column("TENANT", "tenant"),
    Column("ACCESS KEY", "access_key"),
    Column("BUDGET", "limit"),
    Column("SET BY", "set_by"),
    Column("SPENT USD", "spent_usd"),
    Column("PERCENT", "percent"),
    Column("BEGINS ANEW", "resets_at"),
];
/// `igris admin alerts`.
pub(super) const ALERTS: &[Column] = &[
    Column("ID", "id"),
    Column("AT", "created_at"),
    Column("TENANT", "tenant"),
    Column("TYPE", "type"),
    Column("STATE", "state"),
    Column("ACTIVE", "active"),
    Column("WHAT", "text"),
];
/// `igris admin alerts webhooks`.
pub(super) const WEBHOOKS: &[Column] = &[Column("ID", "id"), Column("URL", "url"), Column("EVENTS", "events")];
/// `igris admin alerts messages`.
pub(super) const MESSAGES: &[Column] = &[
    Column("ID", "id"),
    Column("TYPE", "type"),
    Column("STATE", "state"),
    Column("ATTEMPTS", "attempts"),
    Column("CREATED", "created_at"),
    Column("NEXT TRY", "next_attempt_at"),
    Column("OUTCOME", "outcome"),
];
/// `igris admin tenants list`.
pub(super) const TENANTS: &[Column] = &[Column("ID", "id"), Column("CREATED", "created_at")];
/// `igris admin access-keys list`.
pub(super) const ACCESS_KEYS: &[Column] = &[
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("STATUS", "status"),
    Column("KEY", "key"),
    Column("SCOPES", "scopes"),
    Column("CREATED", "created_at"),
];
const ENTRIES: &[Column] = &[Column("ENTRY", "name"), Column("POLICY", "policy"), Column("TARGETS", "targets")];
const MODELS: &[Column] = &[Column("MODEL", "name"), Column("PROVIDERS", "providers")];

/// Rows of `data`, or a line that says there are none.
pub(super) fn table(answer: &Value, columns: &[Column]) -> String {
    rows_of(&answer["data"], columns)
}

/// The owner's entries, then every name that is served.
pub(super) fn routes(answer: &Value) -> String {
    let mut answer = answer.clone();
    for target in answer["entries"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .flat_map(|entry| entry["targets"].as_array_mut())
        .flatten()
    {
        *target = Value::from(format!("{}/{}", cell(&target["provider"]), cell(&target["model"])));
    }
    format!("{}\n{}", rows_of(&answer["entries"], ENTRIES), rows_of(&answer["models"], MODELS))
}

fn value_at<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, member| &value[member])
}

/// Rows of a list by columns, or a line that says there are none.
pub(super) fn rows_of(list: &Value, columns: &[Column]) -> String {
    let rows: Vec<Vec<String>> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| columns.iter().map(|Column(_, path)| cell(value_at(row, path))).collect())
        .collect();
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let titles: Vec<String> = columns.iter().map(|Column(title, _)| (*title).to_owned()).collect();
    aligned(&titles, &rows)
}

/// `name  value` for every member, members of members with a dotted name.
pub(super) fn fields(answer: &Value) -> String {
    let mut rows = Vec::new();
    flatten("", answer, &mut rows);
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<width$}  {value}");
        text
    })
}

/// The total, then sums by provider, model, provider key and policy.
pub(super) fn usage(answer: &Value) -> String {
    const SUMS: [(&str, &str); 6] = [
        ("REQUESTS", "requests"),
        ("ATTEMPTS", "attempts"),
        ("FAILED", "failed"),
        ("TOKENS IN", "input_tokens"),
        ("TOKENS OUT", "output_tokens"),
        ("COST USD", "cost_usd"),
    ];
    let line = |name: &str, sums: &Value| {
        let mut row = vec![safe(name)];
        row.extend(SUMS.iter().map(|(_, member)| cell(&sums[*member])));
        row
    };
    let mut rows = vec![line("all", answer)];
    for group in ["by_provider", "by_model", "by_key", "by_policy"] {
        let sums = answer[group].as_object().into_iter().flatten();
        rows.extend(sums.map(|(name, sums)| line(name, sums)));
    }
    let mut titles = vec![format!("{} TO {}", cell(&answer["from"]), cell(&answer["to"]))];
    titles.extend(SUMS.iter().map(|(title, _)| (*title).to_owned()));
    whose(answer) + &aligned(&titles, &rows)
}

/// Whose books an answer about costs is of, as a line: none where there is one machine, or its own books were asked for.
pub(super) fn whose(answer: &Value) -> String {
    match (answer["note"].as_str(), answer["scope"].as_str()) {
        (Some(note), _) => format!("{}\n", safe(note)),
        (None, Some("fleet")) => "of all machines\n".to_owned(),
        _ => String::new(),
    }
}

/// `2026-11-23T06:51:53Z  config  text`.
pub(super) fn event(event: &Value) -> String {
    format!("{}  {:<10}  {}", cell(&event["at"]), cell(&event["kind"]), cell(&event["text"]))
}

/// Text fit for one line of a terminal.
pub(super) fn safe(text: &str) -> String {
    bounded(text, 8 * LOG_TEXT_BYTES_MAX)
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{}", safe(name)), value, rows);
            }
        }
        other => rows.push((prefix.to_owned(), cell(other))),
    }
}

/// Dollars to a thousandth of a millionth: one request may cost less than the four decimals of [`cell`] show.
pub(super) fn dollars(value: &Value) -> String {
    let Some(dollars) = value.as_f64() else { return cell(value) };
    let text = format!("{dollars:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One value in one cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => safe(text),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            // Four decimals show a hundredth of a cent; more is noise.
            Some(float) => {
                let text = format!("{float:.4}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            None => number.to_string(),
        },
        Value::Array(parts) => parts.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{}={}", safe(name), cell(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(truth) => truth.to_string(),
    }
}

/// Columns two spaces apart; numbers to the right.
pub(super) fn aligned(titles: &[String], rows: &[Vec<String>]) -> String {
    let is_number = |text: &str| text == "-" || text.parse::<f64>().is_ok();
    let right: Vec<bool> = (0..titles.len()).map(|place| rows.iter().all(|row| is_number(&row[place]))).collect();
    let all = || std::iter::once(titles).chain(rows.iter().map(Vec::as_slice));
    let widths: Vec<usize> =
        (0..titles.len()).map(|place| all().map(|row| row[place].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).zip(&right).map(|((cell, width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned() {
        let answer = json!({ "data": [
            { "id": "default", "created_at": "2026" },
            { "id": "a\u{202e}\n", "created_at": null },
        ]});
        assert_eq!(table(&answer, TENANTS), "ID       CREATED\ndefault     2026\na              -\n");
        assert_eq!(table(&json!({ "data": [] }), TENANTS), "none\n");
    }

    #[test]
    fn a_column_may_lead_into_a_member() {
        let columns = &[Column("A", "a"), Column("P50", "ms.p50")];
        let answer = json!({ "data": [{ "a": "x", "ms": { "p50": 1.5 } }, { "a": "y", "ms": null }] });
        assert_eq!(table(&answer, columns), "A  P50\nx  1.5\ny    -\n");
    }

    #[test]
    fn fields_and_sums_are_flat() {
        let text = fields(&json!({ "config": { "version": 7 }, "cores": 2 }));
        assert_eq!(text, "config.version  7\ncores           2\n");
        let sums = json!({ "from": "A", "to": "B", "requests": 3, "attempts": 4, "input_tokens": 5, "output_tokens": 6,
            "cost_usd": 0.25, "by_provider": { "openai": { "requests": 3 } }, "by_model": {} });
        let text = usage(&sums);
        assert!(text.lines().next().is_some_and(|line| line.starts_with("A TO B  REQUESTS")), "{text}");
        assert!(text.contains("openai") && text.contains("0.25"), "{text}");
    }
}
