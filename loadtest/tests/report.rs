#![cfg(feature = "load")]
//! A result against the simulator's own account, and every form it is written in, read back by the rules of that form.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use igris_load::Simulator;
use igris_load::engine::Stop;
use igris_load::measure::{Outcome, Threshold};
use igris_load::report::{Report, decode, hdr, junit, markdown, openmetrics};
use igris_load::simulator::{Fault, When};
use igris_load::workload::{Arrivals, Endpoint, Plan, Share, Span, Tenant};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A hundred and twenty streams of two tenants and two models in two and a bit seconds, with some warm-up.
fn plan(simulator: &Simulator) -> Plan {
    let share = |name: &str| Share {
        name: name.into(),
        stream: true,
        include_usage: true,
        output_tokens: Some(12.into()),
        ..Share::default()
    };
    let tenant = |name: &str| {
        let mut tenant = Tenant { name: name.into(), ..Tenant::default() };
        tenant.key.text = "sk-load-test-00000001".into();
        tenant
    };
    Plan {
        name: "a | \"test\" <of> forms".into(),
        endpoints: vec![Endpoint { url: simulator.base_url(), ..Endpoint::default() }],
        tenants: vec![tenant("acme"), tenant("bolt")],
        arrivals: Arrivals::Constant { rate: 50.0 },
        requests: Some(120),
        duration: Some(Span(Duration::from_secs(10))),
        warm_up: Span(Duration::from_millis(400)),
        traffic: vec![share("short"), share("other")],
        connections: 16,
        timeout: Span(Duration::from_secs(20)),
        simulator_hints: true,
        objectives: vec!["ttft<20s".parse().expect("a bound"), "e2e<20s".parse().expect("a bound")],
        watch_pid: Some(std::process::id()),
        ..Plan::default()
    }
}

fn measured() -> Report {
    let simulator = Simulator::builder().event_gap(Duration::from_millis(2)).start().expect("a loopback port");
    let plan = plan(&simulator);
    let mut report = Report::measure(&plan, &Stop::default(), |_| {}).expect("the run starts");
    let bounds = ["error_rate<1%", "p99(ttft)<20s", "goodput>99%", "rate>=100000", "rss<100GiB"];
    report.judge(&bounds.map(|text| text.parse::<Threshold>().expect(text)));
    report
}

#[test]
fn a_result_agrees_with_the_simulator_and_reads_back_whole() {
    let simulator = Simulator::builder().event_gap(Duration::from_millis(2)).start().expect("a loopback port");
    let report = Report::measure(&plan(&simulator), &Stop::default(), |_| {}).expect("the run starts");
    assert!(report.is_success(), "{report}");
    assert!(simulator.truth().wait_settled(Duration::from_secs(5)));
    let (counts, run) = (simulator.truth().counts(), &report.measured);
    // 20 requests a fiftieth of a second apart were warm-up.
    assert_eq!((counts.requests, run.planned, run.sums.ended(Outcome::Ok)), (120, 100, 100), "{report}");
    assert_eq!((run.sums.output_tokens, run.sums.with_usage, run.sums.good), (1200, 100, 100));
    assert_eq!(run.by_share.iter().chain(&run.by_tenant).map(|(sums, _)| sums.total()).sum::<u64>(), 200);
    assert_eq!(run.seconds.iter().map(|row| row.sums.total()).sum::<u64>(), 120);
    assert_eq!(run.seconds.iter().map(|row| row.e2e.count()).sum::<u64>(), 120);
    // Eleven gaps of two milliseconds at least between twelve tokens.
    assert_eq!((run.timings.gap.len(), run.timings.tpot.len(), run.sums.tpot_by_events), (1100, 100, 0));
    assert!(run.timings.tpot.value_at_quantile(0.5) > 1_900_000, "{report}");
    let watched = run.watched().expect("this process");
    assert!(watched.resident > 1_000_000 && watched.resident_max >= watched.resident, "{watched:?}");

    let json = report.to_json();
    let text = serde_json::to_string(&json).expect("plain data");
    assert!(!text.contains("sk-load-test"), "no key is ever written down");
    let back = Report::from_json(&serde_json::from_str(&text).expect("JSON")).expect("a report");
    assert!(back.to_json() == json, "what is read back writes the same");
    assert_eq!((back.plan.requests, back.started, &back.stamp), (Some(120), report.started, &report.stamp));
    assert!(back.measured.timings.e2e == run.timings.e2e && back.measured.seconds == run.seconds);
    assert_eq!(back.to_string(), report.to_string());
}

#[test]
fn the_json_has_the_fields_that_it_always_had() {
    let json = measured().to_json();
    for field in [
        "tool",
        "version",
        "target",
        "mode",
        "stream",
        "connections",
        "planned_rate",
        "elapsed_s",
        "requests",
        "rate",
        "outcomes",
        "verified",
        "events",
        "body_bytes",
        "connections_opened",
        "ttft",
        "e2e",
        "send_delay",
        "event_gap",
        "gateway_overhead",
        "failures",
        "goodput",
        "tokens",
        "tpot",
        "itl",
        "connect",
        "service_ttft",
        "objectives",
        "thresholds",
        "by_share",
        "by_tenant",
        "statuses",
        "seconds",
        "watched",
        "health",
        "stamp",
        "machine",
        "plan",
        "histograms",
        "started",
        "schema",
    ] {
        assert!(json.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(
        (&json["mode"], &json["planned_rate"], &json["outcomes"]["ok"]),
        (&"open".into(), &50.0.into(), &100.into())
    );
    assert_eq!((&json["gateway_overhead"], &json["statuses"]["200"]), (&Value::Null, &100.into()));
    let figures: Vec<_> = ["min", "p50", "p75", "p90", "p95", "p99", "p999", "p9999", "max"]
        .map(|figure| json["e2e"][figure].as_f64().expect(figure))
        .into();
    assert!(figures.is_sorted() && figures[0] > 22_000.0, "microseconds: {figures:?}");
    let whole = decode(json["histograms"]["e2e"].as_str().expect("text")).expect("a histogram");
    assert_eq!(whole.len(), 100);
    let second = &json["seconds"][1];
    let part = decode(second["histograms"]["ttft"].as_str().expect("text")).expect("a histogram");
    assert_eq!((part.len(), &second["warm_up"]), (second["requests"].as_u64().expect("a count"), &false.into()));
}

#[test]
fn what_is_no_result_says_what_to_do() {
    let said = |text: &str| {
        let value = serde_json::from_str(text).expect("JSON");
        format!("{:#}", Report::from_json(&value).expect_err("no report"))
    };
    assert!(said("{}").contains("igris-load run --json"));
    assert!(said(r#"{"tool":"igris-load"}"#).contains("measure again"));
    assert!(said(r#"{"tool":"igris-load","schema":99}"#).contains("form 99"));
    let mut edited = measured().to_json();
    edited["histograms"]["e2e"] = "HISTFAAA!".into();
    assert!(format!("{:#}", Report::from_json(&edited).expect_err("edited")).contains("histogram e2e"));
    edited["elapsed_s"] = (-1.0).into();
    assert!(Report::from_json(&edited).is_err());
}

#[test]
fn an_interval_log_holds_every_second_of_every_figure() {
    let report = measured();
    let log = hdr::interval_log(&report).expect("memory takes all");
    let (mut counts, mut deserializer) = (std::collections::BTreeMap::<String, u64>::new(), Deserializer::new());
    for entry in IntervalLogIterator::new(&log) {
        let Ok(LogEntry::Interval(interval)) = entry else {
            assert!(entry.is_ok(), "{entry:?}");
            continue;
        };
        let tag = interval.tag().expect("a tag").as_str().to_owned();
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).expect("base64");
        let histogram: Histogram<u64> = deserializer.deserialize(&mut bytes.as_slice()).expect("a histogram");
        assert_eq!(interval.duration(), Duration::from_secs(1));
        *counts.entry(tag).or_default() += histogram.len();
    }
    let expected = [("e2e", 120), ("gap", 120 * 11), ("ttft", 120)].map(|(tag, count)| (tag.to_owned(), count));
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_percentile_table_rises_to_one_hundred_percent() {
    let report = measured();
    let table = hdr::percentiles(&report, "e2e").expect("a figure");
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(2)
        .take_while(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect())
        .collect();
    assert!(rows.len() > 10 && rows.iter().all(|row| row.len() == 4 || row[1] == 1.0), "{table}");
    assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{table}");
    let last = rows.last().expect("a row");
    assert_eq!((last[1], last[2]), (1.0, 100.0));
    let most = report.measured.timings.e2e.max() as f64 / 1e6;
    assert!((last[0] - most).abs() < 0.002 && table.contains("#[Max     ="), "{table}");
    assert!(hdr::percentiles(&report, "nonsense").is_none());
}

#[test]
fn junit_shows_what_was_missed() {
    let text = String::from_utf8(junit::write(&measured()).expect("memory takes all")).expect("UTF-8");
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut cases, mut failures, mut open) = (Vec::new(), Vec::new(), 0);
    loop {
        use quick_xml::events::Event;
        match reader.read_event().expect("well-formed") {
            Event::Start(start) => {
                open += 1;
                let named = start.try_get_attribute("name").expect("well-formed");
                let name = named.map(|name| name.value.into_owned()).unwrap_or_default();
                match start.name().as_ref() {
                    "testcase" => cases.push(name),
                    "failure" => failures.push(cases.last().cloned().unwrap_or_default()),
                    _ => {}
                }
            }
            Event::End(_) => open -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((open, cases.len()), (0, 8), "{text}");
    assert_eq!(&cases[..3], ["stamp", "requests", "objectives"]);
    failures.retain(|name| name != "stamp");
    assert_eq!(failures, ["rate&gt;=100000"], "{text}");
    assert!(text.contains("missed by 9") && text.contains("&lt;of&gt;"), "{text}");
}

#[test]
fn failures_are_told_apart_and_described() {
    let simulator = Simulator::builder()
        .fault(Fault::status(429), When::Every(4))
        .fault(Fault::status(500), When::Every(6))
        .start()
        .expect("a loopback port");
    let mut plan = plan(&simulator);
    (plan.warm_up, plan.arrivals, plan.connections, plan.watch_pid) = (Span::default(), Arrivals::Closed, 1, None);
    let mut report = Report::measure(&plan, &Stop::default(), |_| {}).expect("the run starts");
    let run = &report.measured;
    let failed = run.sums.ended(Outcome::RateLimited) + run.sums.ended(Outcome::ServerError);
    assert!(failed >= 30 && run.failed() == failed && run.sums.total() == 120, "{report}");
    assert_eq!(run.statuses.values().sum::<u64>(), 120);
    assert_eq!(run.goodput(), Some((120 - failed) as f64 / 120.0));
    assert_eq!(run.failures.len(), 4, "two of each: {:?}", run.failures);
    report.judge(&["error_rate<1%".parse().expect("a bound")]);
    let text = report.to_string();
    assert!(text.contains("MISSED error_rate<1%") && text.contains("missed by"), "{text}");
    assert!(text.contains("rate_limited") && text.contains("failure: request"), "{text}");
}

#[test]
fn markdown_is_not_broken_by_names() {
    let text = markdown::write(&measured());
    assert!(text.starts_with("## a \\| \"test\" \\<of\\> forms\n"), "{text}");
    assert!(text.contains("| ok | 100 |") && text.contains("| `rate>=100000` | **missed** |"), "{text}");
}

/// Prometheus' own tool, where there is one.
#[test]
fn promtool_has_no_complaint() {
    let text = openmetrics::write(&measured());
    assert!(text.ends_with("# EOF\n") && text.contains("igris_load_requests{outcome=\"ok\"} 100"), "{text}");
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        eprintln!("skipped: there is no promtool here");
        return;
    };
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let said = promtool.wait_with_output().expect("it ends");
    let complaints = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && complaints.trim().is_empty(), "{complaints}\n{text}");
}
