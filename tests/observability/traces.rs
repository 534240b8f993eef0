//! Traces: spans as a collector receives them, context in and out, sampling, and a collector that fails.

use crate::collector::{Collector, Span, attributes};
use crate::support::{
    ACCESS_KEY, Builder, Gateway, SHORT_ANSWER, SOON, Scripted, bearer, chat, chat_of, post_with, wait_until,
};
use crate::wire::Message;
use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use std::time::{Duration, Instant};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const MARK: &str = "a-prompt-that-no-span-may-have";

fn sending(builder: Builder, collector: &Collector, lines: &str) -> Gateway {
    builder.config_toml(&format!("[telemetry.otlp]\nendpoint = \"{}\"\n{lines}", collector.url())).start()
}

fn ask(gateway: &Gateway, model: &str, traceparent: &str) -> crate::support::Answer {
    let fields = format!("{}traceparent: {traceparent}\r\ntracestate: vendor=1\r\n", bearer(ACCESS_KEY));
    gateway.ask(&post_with("/v1/chat/completions", &fields, chat_of(model, MARK, "").as_bytes()))
}

fn short_answer() -> Vec<u8> {
    let length = SHORT_ANSWER.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), SHORT_ANSWER.as_bytes()].concat()
}

/// The spans of requests that were for a model; the stand also asks whether the gateway is ready.
fn told(collector: &Collector) -> Vec<Span> {
    let mut spans = collector.spans();
    spans.retain(|span| span.attributes.get("http.route").is_none_or(|route| route != "/{page}"));
    spans
}

fn spans(collector: &Collector, count: usize) -> Vec<Span> {
    wait_until(SOON, "the spans are there", || told(collector).len() >= count);
    told(collector)
}

#[test]
fn an_exchange_is_a_span_and_each_attempt_is_one_below_it() {
    let (first, second) = (
        Simulator::builder().fault(Fault::status(503), When::Always).start().expect("a loopback port"),
        Simulator::builder().start().expect("a loopback port"),
    );
    let collector = Collector::start();
    let builder =
        Gateway::builder().own_provider("p1", &first.base_url(), "").own_provider("p2", &second.base_url(), "");
    let builder = builder.ordered(&["p1", "p2"]).env("OTLP_AUTH", "Bearer collector-secret");
    let lines = "headers = { authorization = { env = \"OTLP_AUTH\" } }\nresource = { \"service.name\" = \"mine\" }";
    let gateway = sending(builder, &collector, lines);
    let answer = ask(&gateway, "any", &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let spans = spans(&collector, 3);
    assert_eq!(spans.len(), 3);
    let server = spans.iter().find(|span| span.kind == 2).expect("a server's span");
    let clients: Vec<&Span> = spans.iter().filter(|span| span.kind == 3).collect();
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!(server.name, "POST /v1/chat/completions");
    let of = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    for (name, value) in [
        ("http.response.status_code", "200"),
        ("http.route", "/v1/chat/completions"),
        ("igris.tenant", "default"),
        ("igris.policy", "ordered"),
        ("igris.attempts", "2"),
        ("igris.finish", "completed"),
        ("igris.request_id", answer.header("x-request-id").expect("on every answer")),
    ] {
        assert_eq!(of(server, name), value, "{name}");
    }
    assert_eq!(clients.len(), 2);
    for span in &spans {
        assert!(span.start > 0 && span.start <= span.end, "{span:?}");
        assert!(span.id.len() == 16 && span.trace == TRACE && span.flags & 1 == 1, "{span:?}");
    }
    for client in &clients {
        assert_eq!(client.parent, server.id);
        assert!(server.start <= client.start && client.end <= server.end, "a child within its parent");
        assert_eq!(
            (of(client, "gen_ai.operation.name"), of(client, "gen_ai.request.model")),
            ("chat".into(), "gpt-4o".into())
        );
        assert_eq!((client.name.as_str(), of(client, "server.address")), ("chat gpt-4o", "127.0.0.1".into()));
    }
    let [failed, served] =
        ["p1", "p2"].map(|name| *clients.iter().find(|span| of(span, "igris.provider") == name).expect(name));
    assert_eq!(
        (failed.status, of(failed, "error.type"), of(failed, "http.response.status_code")),
        (2, "503".into(), "503".into())
    );
    assert_eq!((served.status, of(served, "igris.outcome")), (0, "completed".into()));
    assert!(of(served, "gen_ai.usage.output_tokens").parse::<u64>().is_ok_and(|count| count > 0));
    let posts = collector.posted("/v1/traces");
    assert_eq!(posts[0].headers.get("authorization").map(String::as_str), Some("Bearer collector-secret"));
    let resource = attributes(&Message::read(&posts[0].body).message(1).message(1), 1);
    assert_eq!(resource.get("service.name").map(String::as_str), Some("mine"));
    for post in &posts {
        assert!(!String::from_utf8_lossy(&post.body).contains(MARK), "rules R1, R4");
    }
}

#[test]
fn a_provider_gets_the_trace_with_our_span_as_parent() {
    let upstream = Scripted::start(&short_answer());
    let collector = Collector::start();
    let gateway = sending(Gateway::builder().own_provider("p1", &upstream.base_url(), ""), &collector, "");
    ask(&gateway, "gpt-4o", &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let heard = upstream.heard().to_ascii_lowercase();
    let line = heard.lines().find_map(|line| line.strip_prefix("traceparent: ")).expect("passed on").to_owned();
    let client = spans(&collector, 2).into_iter().find(|span| span.kind == 3).expect("a client's span");
    assert_eq!(line, format!("00-{TRACE}-{}-01", client.id));
    assert!(heard.contains("tracestate: vendor=1"), "{heard}");
    // Who has no trace gets one, and it is sampled by our own share.
    gateway.chat(&chat("hello"));
    let heard = upstream.heard().to_ascii_lowercase();
    let line = heard.lines().find_map(|line| line.strip_prefix("traceparent: ")).expect("made");
    assert!(line.len() == 55 && line.ends_with("-01") && !line.contains(TRACE), "{line}");
}

#[test]
fn without_a_collector_trace_context_passes_as_it_is() {
    let upstream = Scripted::start(&short_answer());
    let gateway = Gateway::builder().own_provider("p1", &upstream.base_url(), "").start();
    let given = format!("00-{TRACE}-00f067aa0ba902b7-01");
    ask(&gateway, "gpt-4o", &given);
    assert!(upstream.heard().to_ascii_lowercase().contains(&format!("traceparent: {given}")));
}

#[test]
fn callers_decide_what_is_sampled_and_errors_are_sent_in_any_case() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let collector = Collector::start();
    let builder = Gateway::builder().own_provider("p1", &simulator.base_url(), "");
    let lost = "dialect = \"openai\"\nmodels = [\"lost\"]\n";
    let builder = builder.provider_at("dead", "http://127.0.0.1:9/v1", lost);
    let builder = builder.ordered(&["dead"]);
    let gateway = sending(builder, &collector, "sample = 0.0\nalways = [\"errors\"]\nmetrics = false");
    assert_eq!(ask(&gateway, "gpt-4o", &format!("00-{TRACE}-00f067aa0ba902b7-00")).status, 200);
    assert_eq!(gateway.chat(&chat_of("gpt-4o", MARK, "")).status, 200);
    assert_eq!(gateway.chat(&chat_of("any", MARK, "")).status, 503);
    let sampled = ask(&gateway, "gpt-4o", &format!("00-{TRACE}-00f067aa0ba902b8-01"));
    let sampled = sampled.header("x-request-id").expect("on every answer").to_owned();
    let spans = spans(&collector, 4);
    let servers: Vec<&Span> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(servers.len(), 2, "the failure and the one that its caller records: {servers:?}");
    assert!(servers.iter().any(|span| span.attributes["igris.request_id"] == sampled && span.flags & 1 == 1));
    assert!(servers.iter().any(|span| span.attributes["http.response.status_code"] == "503" && span.status == 2));
}

#[test]
fn metrics_reach_the_collector_by_the_conventions() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let collector = Collector::start();
    let builder = Gateway::builder().own_provider("p1", &simulator.base_url(), "");
    let gateway = sending(builder, &collector, "traces = false\nmetrics_interval = \"1s\"");
    for _ in 0..3 {
        assert_eq!(gateway.chat(&chat("hello")).status, 200);
    }
    let metric_of = |body: &[u8], name: &str| -> Option<(String, Vec<u8>)> {
        let request = Message::read(body);
        let scope = request.message(1).message(2);
        let found = scope.messages(2).into_iter().find(|metric| metric.text(1) == name)?;
        let data = [5, 7, 10].into_iter().map(|number| found.bytes(number)).find(|bytes| !bytes.is_empty())?;
        Some((found.text(3), data.to_vec()))
    };
    let usage = || {
        let posts = collector.posted("/v1/metrics");
        let (unit, data) = metric_of(&posts.last()?.body, "gen_ai.client.token.usage")?;
        let counts: Vec<u64> = Message::read(&data).messages(1).iter().map(|point| point.whole(4)).collect();
        Some((unit, counts))
    };
    wait_until(SOON, "the metrics are there", || {
        usage().is_some_and(|(unit, counts)| unit == "{token}" && counts == [3, 3])
    });
    let posts = collector.posted("/v1/metrics");
    let body = &posts.last().expect("there").body;
    let (unit, data) = metric_of(body, "igris.overhead").expect("ours");
    let point = Message::read(&data).message(1);
    let buckets = crate::wire::packed(point.message(8).bytes(2));
    assert_eq!((unit.as_str(), point.whole(4), point.signed(6)), ("s", 3, 3), "count, scale");
    assert_eq!(buckets.iter().sum::<u64>() + point.whole(7), 3);
    let (_, data) = metric_of(body, "igris.requests").expect("ours");
    let sum = Message::read(&data);
    assert_eq!((sum.whole(2), sum.whole(3)), (2, 1), "cumulative, monotonic");
    // Durations come with the next hand-over of the cores.
    let latest = || collector.posted("/v1/metrics").last().map(|post| post.body.clone()).unwrap_or_default();
    wait_until(SOON, "the durations are there", || metric_of(&latest(), "gen_ai.client.operation.duration").is_some());
    assert!(collector.posted("/v1/traces").is_empty());
}

#[test]
fn a_collector_that_is_down_or_silent_costs_spans_and_nothing_else() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let collector = Collector::start();
    collector.fall_silent();
    let gateway = sending(Gateway::builder().own_provider("p1", &simulator.base_url(), ""), &collector, "");
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(gateway.chat(&chat("hello")).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "nobody waits for a collector");
    let metrics = gateway.admin("/metrics").text();
    assert!(metrics.contains("igris_spans_exported_total 0\n"), "{metrics}");
    // Refused for good: counted, not tried again.
    let refusing = Collector::start();
    refusing.answer(400);
    let gateway =
        sending(Gateway::builder().own_provider("p1", &simulator.base_url(), ""), &refusing, "metrics = false");
    assert_eq!(gateway.chat(&chat("hello")).status, 200);
    let dropped = || {
        let metrics = gateway.admin("/metrics").text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("igris_spans_dropped_total "));
        count.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    wait_until(SOON, "the spans are dropped", || dropped() >= 2);
    assert!(!gateway.admin("/metrics").text().contains("igris_export_failures_total{signal=\"traces\"} 0\n"));
    // One that is back gets what comes from then on.
    refusing.answer(200);
    assert_eq!(gateway.chat(&chat("hello")).status, 200);
    assert!(spans(&refusing, 2).len() >= 2);
}
