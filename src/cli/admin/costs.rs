//! `igris admin usage` and `igris admin costs`: what was used, what it cost, and what the month will come to.

use super::{Call, Shown, encoded};
use crate::cli::name;
use crate::cli::print::{aligned, cell, dollars, safe, whose};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;

const PERIODS: [&str; 4] = ["hour", "day", "week", "month"];

/// `igris admin usage`.
#[derive(Debug, Args)]
pub struct Usage {
    #[command(flatten)]
    books: Books,
    #[command(flatten)]
    when: When,
}

/// `igris admin costs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Costs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What the month will come to at its end, with an interval
    Forecast(Books),
}

#[derive(Debug, Args)]
struct Books {
    /// Whose; all tenants together unless said
    #[arg(long, value_parser = name)]
    tenant: Option<String>,
    /// `machine` for what this machine alone counted; all machines of a fleet unless said
    #[arg(long, value_parser = PossibleValuesParser::new(["machine"]))]
    scope: Option<String>,
}

#[derive(Debug, Args)]
struct By {
    #[command(flatten)]
    books: Books,
    #[command(flatten)]
    when: When,
    /// What to tell apart: tenant, provider, model, key, access_key, policy; several with commas
    #[arg(long, value_delimiter = ',', default_value = "provider,model",
        value_parser = PossibleValuesParser::new(["tenant", "provider", "model", "key", "access_key", "policy"]))]
    group_by: Vec<String>,
    /// Pieces of time to tell apart, UTC: hour | day | week | month
    #[arg(long, value_parser = PossibleValuesParser::new(PERIODS))]
    bucket: Option<String>,
    /// Lines at most
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=crate::limits::analytics::ROWS_MAX))]
    limit: Option<u64>,
}

#[derive(Debug, Args)]
struct When {
    /// How far back: hour | day | week | month
    #[arg(long, value_parser = PossibleValuesParser::new(PERIODS))]
    period: Option<String>,
    /// From when, RFC 3339, such as 2026-11-01T00:00:00Z
    #[arg(long, conflicts_with = "period", value_name = "INSTANT")]
    from: Option<String>,
    /// Up to when; now unless said
    #[arg(long, requires = "from", value_name = "INSTANT")]
    to: Option<String>,
}

pub(super) fn usage(usage: &Usage) -> Call {
    let query = usage.books.pairs().into_iter().chain(usage.when.pairs());
    get(target("/usage", query), Shown::Usage)
}

pub(super) fn call(costs: &Costs) -> Call {
    if let Some(What::Forecast(books)) = &costs.what {
        return get(target("/costs/forecast", books.pairs()), Shown::Page(forecast));
    }
    let by = &costs.by;
    let group_by = by.group_by.join(",");
    let limit = by.limit.map(|limit| limit.to_string());
    let query = by.books.pairs().into_iter().chain(by.when.pairs()).chain([
        pair("group_by", Some(&group_by)),
        pair("bucket", by.bucket.as_deref()),
        pair("limit", limit.as_deref()),
    ]);
    get(target("/costs", query), Shown::Page(costs_page))
}

impl Books {
    fn pairs(&self) -> [Option<(&'static str, String)>; 2] {
        [pair("tenant", self.tenant.as_deref()), pair("scope", self.scope.as_deref())]
    }
}

impl When {
    fn pairs(&self) -> [Option<(&'static str, String)>; 3] {
        [pair("period", self.period.as_deref()), pair("from", self.from.as_deref()), pair("to", self.to.as_deref())]
    }
}

fn pair(name: &'static str, value: Option<&str>) -> Option<(&'static str, String)> {
    value.map(|value| (name, encoded(value).replace("%2C", ",")))
}

fn target(path: &str, query: impl IntoIterator<Item = Option<(&'static str, String)>>) -> String {
    let query: Vec<String> = query.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

fn get(target: String, shown: Shown) -> Call {
    Call { method: "GET", target, body: None, shown }
}

/// The lines, their sum, and the time before it.
fn costs_page(answer: &Value) -> String {
    let texts = |member: &str| answer[member].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut members: Vec<&str> = answer["bucket"].is_string().then_some("bucket").into_iter().collect();
    members.extend(texts("group_by"));
    let names = members.len().max(1);
    let mut titles: Vec<String> = members.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
    titles.resize(names, String::new());
    titles.extend(["REQUESTS", "ATTEMPTS", "FAILED", "TOKENS IN", "TOKENS OUT", "COST USD"].map(str::to_owned));
    let sums = |row: &Value| {
        let counts = ["requests", "attempts", "failed", "input_tokens", "output_tokens"];
        let mut cells: Vec<String> = counts.iter().map(|member| cell(&row[*member])).collect();
        cells.push(dollars(&row["cost_usd"]));
        cells
    };
    let line = |row: &Value| members.iter().map(|name| cell(&row[*name])).chain(sums(row)).collect();
    let mut rows: Vec<Vec<String>> = answer["data"].as_array().into_iter().flatten().map(line).collect();
    for (name, row) in [("all", &answer["total"]), ("before", &answer["previous"])] {
        let mut cells = vec![name.to_owned()];
        cells.resize(names, "-".to_owned());
        cells.extend(sums(row));
        rows.push(cells);
    }
    let more = if answer["next"].is_null() { "" } else { "there are more lines: say a larger --limit\n" };
    let (from, to) = (cell(&answer["from"]), cell(&answer["to"]));
    let change = change(&answer["trend"]);
    format!("{from} to {to}{change}\n{}{}{more}", whose(answer), aligned(&titles, &rows))
}

fn change(trend: &Value) -> String {
    let Some(dollars_more) = trend["change_usd"].as_f64() else { return String::new() };
    let sign = if dollars_more < 0.0 { "-" } else { "+" };
    let percent = trend["change_percent"].as_f64().map_or(String::new(), |percent| format!(" ({percent:+.1} %)"));
    format!(", {sign}${}{percent} against the time before", dollars(&Value::from(dollars_more.abs())))
}

/// The month in one sentence, its days, and how good forecasts would have been.
fn forecast(answer: &Value) -> String {
    let money = |value: &Value| value.as_f64().map_or("-".to_owned(), |dollars| format!("{dollars:.2}"));
    let between = |interval: &Value| format!("{} to {}", money(&interval["low_usd"]), money(&interval["high_usd"]));
    let estimate = &answer["forecast"];
    let mut text = format!("{}: ${} so far", cell(&answer["month"]), money(&answer["month_to_date"]["cost_usd"]));
    if !estimate.is_null() {
        let (four, most) = (between(&estimate["interval_80"]), between(&estimate["interval_95"]));
        text += &format!(", ${} at its end (80 %: {four}; 95 %: {most})", money(&estimate["cost_usd"]));
    }
    text.push('\n');
    text += &whose(answer);
    if let Some(reason) = answer["reason"].as_str() {
        text += &format!("{}\n", safe(reason));
    }
    let tested = &answer["backtest"];
    if !tested.is_null() {
        text += &format!(
            "{} forecasts of past {}s missed by {} % in the mean (run rate: {} %); {} % lay within the 80 % interval, {} % within the 95 % one\n",
            cell(&tested["forecasts"]),
            cell(&tested["target"]),
            cell(&tested["mape_percent"]),
            cell(&tested["naive_mape_percent"]),
            cell(&tested["coverage_80_percent"]),
            cell(&tested["coverage_95_percent"]),
        );
    }
    let day = |day: &Value| {
        vec![
            cell(&day["date"]),
            money(&day["cost_usd"]),
            money(&day["interval_80"]["low_usd"]),
            money(&day["interval_80"]["high_usd"]),
        ]
    };
    let days = |member: &str| answer[member].as_array().into_iter().flatten().map(day).collect::<Vec<_>>();
    let rows = [days("actual"), days("days")].concat();
    let titles = ["DAY", "COST USD", "80 % FROM", "TO"].map(str::to_owned);
    if rows.is_empty() { text } else { text + &aligned(&titles, &rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_their_sum_and_the_change_are_shown() {
        let sums = json!({ "requests": 3, "attempts": 4, "failed": 1, "input_tokens": 10, "output_tokens": 2, "cost_usd": 0.000012 });
        let mut row = sums.clone();
        row["provider"] = json!("openai");
        let answer = json!({ "from": "a", "to": "b", "group_by": ["provider"], "bucket": null, "data": [row], "total": sums,
            "previous": sums, "trend": { "change_usd": -0.5, "change_percent": -12.5 }, "next": null });
        let page = costs_page(&answer);
        assert!(page.starts_with("a to b, -$0.5 (-12.5 %) against the time before\nPROVIDER  REQUESTS"), "{page}");
        assert!(page.contains("openai           3         4       1         10           2  0.000012\n"), "{page}");
        assert!(page.contains("before"), "{page}");
    }

    #[test]
    fn whose_books_they_are_is_a_line_where_there_is_something_to_say() {
        let told = |scope: &str, note: Value| whose(&json!({ "scope": scope, "note": note }));
        assert_eq!(told("machine", Value::Null), "");
        assert_eq!(told("fleet", Value::Null), "of all machines\n");
        assert_eq!(told("machine", json!("this machine\nalone")), "this machine alone\n");
        let answer = json!({ "month": "2026-11", "month_to_date": { "cost_usd": 0 }, "forecast": null, "reason": "no days", "scope": "fleet" });
        assert_eq!(forecast(&answer), "2026-11: $0.00 so far\nof all machines\nno days\n");
    }

    #[test]
    fn a_forecast_says_what_it_is_worth() {
        let band = json!({ "cost_usd": 12.345, "interval_80": { "low_usd": 11, "high_usd": 14 }, "interval_95": { "low_usd": 10, "high_usd": 15 } });
        let mut day = band.clone();
        day["date"] = json!("2026-11-26");
        let answer = json!({ "month": "2026-11", "month_to_date": { "cost_usd": 3.0 }, "forecast": band, "reason": "few days",
            "backtest": null, "actual": [], "days": [day] });
        let page = forecast(&answer);
        assert!(page.starts_with("2026-11: $3.00 so far, $12.35 at its end (80 %: 11.00 to 14.00; 95 %"), "{page}");
        assert!(page.contains("few days\n") && page.contains("2026-11-26"), "{page}");
        let nothing =
            json!({ "month": "2026-11", "month_to_date": { "cost_usd": 0 }, "forecast": null, "reason": "no days" });
        assert_eq!(forecast(&nothing), "2026-11: $0.00 so far\nno days\n");
    }
}
