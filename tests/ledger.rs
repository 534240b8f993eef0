//! The journal, seen from outside: every attempt has one intent before its provider hears of it and one close before its client has the last
//! byte, whatever ends it; the figures are the provider's where it stated them (rules L1 to L5).

mod support;

use igris::domain::token::UsageSource;
use igris::ledger::{Entry, Reader};
use igris::report::{AttemptReport, Outcome};
use igris_load::Simulator;
use igris_load::simulator::{Fault, Surface, When};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use support::websocket::{CLOSE, Manner, Sessions, goodbye, handshake, open};
use support::{
    ACCESS_KEY, Builder, Gate, Gateway, SHORT_ANSWER, SOON, Scripted, bearer, chat, chat_of, closed_address, post,
    post_with, provider_key, stream_of, wait_until,
};

/// So slow that a test which waits for it has failed.
const NEVER: Duration = Duration::from_secs(60);

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

/// A provider of this surface that takes the key of its name.
fn keyed(name: &str, surface: Surface) -> Simulator {
    let builder = Simulator::builder().dialect(surface).keys([provider_key(name)]);
    builder.models(Vec::<String>::new()).start().expect("a loopback port")
}

fn slow(latency: Duration) -> Simulator {
    Simulator::builder().latency(latency).start().expect("a loopback port")
}

fn failing(fault: Fault) -> Simulator {
    Simulator::builder().fault(fault, When::Always).tokens(12).start().expect("a loopback port")
}

/// The model `any` asks these addresses in order; they are called p1, p2 ….
fn chain(addresses: &[String]) -> Builder {
    let names: Vec<String> = (1..=addresses.len()).map(|number| format!("p{number}")).collect();
    let mut builder = Gateway::builder();
    for (name, address) in names.iter().zip(addresses) {
        builder = builder.own_provider(name, address, "");
    }
    builder.ordered(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn any(members: &str) -> String {
    chat_of("any", "hello", members)
}

/// Everything that the journal has by now, lane after lane.
fn journal(gateway: &Gateway) -> Vec<Entry> {
    let mut reader = Reader::new(&gateway.home().join("data/ledger"), None);
    let mut entries = Vec::new();
    for lane in reader.lanes().expect("the journal can be read") {
        let mut after = 0;
        loop {
            let read = reader.read(&lane, after, 1_000, &mut |_, entry| entries.push(entry)).expect("whole records");
            if read == after {
                break;
            }
            after = read;
        }
    }
    entries
}

/// The attempts that the journal closes, in the order of their intents: waits until there are so many, and looks whether each has one intent
/// and one close behind it that speak of the same, and each exchange one last attempt.
#[track_caller]
fn attempts(gateway: &Gateway, count: usize) -> Vec<AttemptReport> {
    let closes = || journal(gateway).iter().filter(|entry| matches!(entry, Entry::Close(_))).count();
    wait_until(SOON, "the attempts are closed", || closes() >= count);
    // Whatever would come twice comes now.
    std::thread::sleep(Duration::from_millis(100));
    let mut closed: Vec<AttemptReport> = Vec::new();
    let mut open: Vec<AttemptReport> = Vec::new();
    for entry in journal(gateway) {
        match entry {
            Entry::Intent(intent) => {
                assert!(open.iter().chain(&closed).all(|known| known.attempt != intent.report.attempt), "one intent");
                open.push(intent.report);
            }
            Entry::Mark(mark) => {
                assert!(open.iter().any(|known| known.attempt == mark.attempt), "a mark of an open one")
            }
            Entry::Close(report) => {
                let place = open.iter().position(|known| known.attempt == report.attempt);
                let intent = open.remove(place.expect("a close follows its intent, once"));
                let identity = |it: &AttemptReport| {
                    (
                        it.exchange,
                        it.tenant.clone(),
                        it.access_key,
                        it.provider.clone(),
                        it.credential,
                        it.model.clone(),
                    )
                };
                assert_eq!(identity(&intent), identity(&report));
                assert_eq!((intent.started, intent.price_version), (report.started, report.price_version));
                closed.push(report);
            }
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    assert_eq!(closed.len(), count, "{closed:?}");
    let mut last: HashMap<_, usize> = HashMap::new();
    for report in &closed {
        *last.entry(report.exchange).or_default() += usize::from(report.last);
    }
    assert!(last.values().all(|count| *count == 1), "each exchange has one last attempt: {closed:?}");
    closed.sort_by_key(|report| report.started.0);
    closed
}

/// The attempt at a provider.
#[track_caller]
fn at<'r>(reports: &'r [AttemptReport], provider: &str) -> &'r AttemptReport {
    let mut found = reports.iter().filter(|report| report.provider.as_str() == provider);
    let report = found.next().unwrap_or_else(|| panic!("no attempt at {provider}: {reports:?}"));
    assert!(found.next().is_none(), "{reports:?}");
    report
}

/// The figure is what the provider would bill.
#[track_caller]
fn must_be_billed_as(report: &AttemptReport, simulator: &Simulator) {
    let truth = simulator.truth().last().expect("a request arrived");
    let stated = (u64::from(truth.prompt_tokens), u64::from(truth.completion_tokens));
    assert_eq!((report.usage.input, report.usage.output), stated, "{report:?}");
    assert_eq!(report.usage_source, UsageSource::Provider);
}

// ---- In order ---------------------------------------------------------------------------------------------------------------

#[test]
fn the_intent_is_there_before_the_provider_hears_of_it_and_the_close_before_the_client_has_the_end() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = Gateway::builder().own_provider("p1", &gate.base_url(), "").start();
    let mut client = gateway.client();
    client.send(&post(&chat("hello")));
    assert!(gate.wait_arrived(1, SOON));
    let entries = journal(&gateway);
    assert!(matches!(&entries[..], [Entry::Intent(intent)] if intent.input_tokens > 0), "{entries:?}");
    gate.open();
    assert_eq!(client.answer().status, 200);
    let entries = journal(&gateway);
    let [Entry::Intent(_), Entry::Close(close)] = &entries[..] else { panic!("at once: {entries:?}") };
    assert!(close.last && close.outcome == Outcome::Completed);
    assert_eq!((close.usage.input, close.usage.output, close.usage_source), (3, 2, UsageSource::Provider));
    attempts(&gateway, 1);
}

#[test]
fn a_stream_is_closed_before_its_client_reads_its_end() {
    for (provider, surface, model) in
        [("openai", Surface::OpenAi, "gpt-4o"), ("anthropic", Surface::Anthropic, "claude-sonnet-4-6")]
    {
        let simulator = keyed(provider, surface);
        let gateway = Gateway::builder().provider(provider, &simulator).start();
        let (path, body) = match surface {
            Surface::Anthropic => ("/v1/messages", chat_of(model, "hello", r#","max_tokens":50,"stream":true"#)),
            _ => ("/v1/chat/completions", chat_of(model, "hello", r#","stream":true"#)),
        };
        for round in 1..=20 {
            let answer = gateway.ask(&post_with(path, &bearer(ACCESS_KEY), body.as_bytes()));
            assert_eq!(answer.status, 200, "{provider}: {}", answer.text());
            let closes = journal(&gateway).iter().filter(|entry| matches!(entry, Entry::Close(_))).count();
            assert_eq!(closes, round, "{provider}: the close comes before the end");
        }
        let reports = attempts(&gateway, 20);
        assert!(reports.iter().all(|report| report.outcome == Outcome::Completed && report.stream));
        assert!(reports.iter().all(|report| report.cost.is_some() && report.price_version != 0), "{:?}", reports[0]);
        must_be_billed_as(&reports[19], &simulator);
    }
}

#[test]
fn every_kind_of_exchange_is_in_it() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let embeddings = r#"{"model":"text-embedding-3-small","input":"a"}"#;
    let asked = [
        post(&chat("a")),
        post(&stream_of("a", "")),
        post_with("/v1/embeddings", &bearer(ACCESS_KEY), embeddings.as_bytes()),
        post_with("/v1/responses", &bearer(ACCESS_KEY), br#"{"model":"gpt-4o","input":"a"}"#),
        post_with(
            "/v1/messages",
            &bearer(ACCESS_KEY),
            br#"{"model":"gpt-4o","max_tokens":50,"messages":[{"role":"user","content":"a"}]}"#,
        ),
        post_with("/v1/openai/files", &bearer(ACCESS_KEY), b"{}"),
    ];
    let mut made = 0;
    for request in &asked {
        let answer = gateway.ask(request);
        made += answer.header("x-igris-attempts").map_or(0, |count| count.parse().expect("a number"));
    }
    assert!(made >= 5, "{made} attempts");
    attempts(&gateway, made);
}

#[test]
fn durability_against_power_loss_answers_everything_too() {
    let (refusing, good) = (failing(Fault::status(503)), simulator());
    let power = "[ledger]\ndurability = \"power\"";
    let gateway = chain(&[refusing.base_url(), good.base_url()]).config_toml(power).start();
    assert_eq!(gateway.chat(&any("")).status, 200);
    assert!(gateway.stream(&any(r#","stream":true"#)).answer.whole);
    assert_eq!(gateway.chat(&any(r#","speculative_mode":"latency""#)).status, 200);
    let reports = attempts(&gateway, journal(&gateway).len() / 2);
    assert_eq!(reports.iter().filter(|report| report.last && report.outcome == Outcome::Completed).count(), 3);
}

#[test]
fn without_a_journal_nothing_is_written_and_everything_booked() {
    let simulator = simulator();
    let none = "[ledger]\ndurability = \"none\"";
    let gateway = Gateway::builder().provider("openai", &simulator).config_toml(none).start();
    assert_eq!(gateway.chat(&chat("hello")).status, 200);
    let booked = || gateway.page("/v1/tenants/default/usage").json()["attempts"].as_u64();
    wait_until(SOON, "it is in the books", || booked() == Some(1));
    assert!(journal(&gateway).is_empty());
}

// ---- Failures ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_chain_of_failures_has_a_row_each() {
    let (refusing, breaking, good) = (failing(Fault::status(503)), failing(Fault::CloseBeforeResponse), simulator());
    let gateway = chain(&[refusing.base_url(), breaking.base_url(), good.base_url()]).start();
    assert_eq!(gateway.chat(&any("")).status, 200);
    let reports = attempts(&gateway, 3);
    let outcomes: Vec<Outcome> = ["p1", "p2", "p3"].map(|name| at(&reports, name).outcome).to_vec();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Broken, Outcome::Completed]);
    assert!(at(&reports, "p3").last && at(&reports, "p1").status == 503);
    must_be_billed_as(at(&reports, "p3"), &good);
}

#[test]
fn an_exchange_that_nobody_answers_has_its_last_attempt_too() {
    let unreachable = format!("http://{}/v1", closed_address());
    let refusing = failing(Fault::status(503));
    let gateway = chain(&[refusing.base_url(), unreachable]).start();
    let answer = gateway.chat(&any(""));
    assert_eq!(answer.status, 503, "{}", answer.text());
    let made = answer.header("x-igris-attempts").expect("told").parse().expect("a number");
    let reports = attempts(&gateway, made);
    assert!(reports.iter().any(|report| report.outcome == Outcome::Unreachable && report.usage.input == 0));
}

#[test]
fn who_says_nothing_in_time_is_counted_with_what_it_was_sent() {
    let silent = slow(NEVER);
    let gateway = chain(&[silent.base_url()]).limits("first_byte_unary_deadline = \"1s\"").start();
    assert_eq!(gateway.chat(&any("")).status, 504);
    let reports = attempts(&gateway, 1);
    let report = &reports[0];
    assert_eq!((report.outcome, report.usage_source), (Outcome::TimedOut, UsageSource::Estimated));
    assert!(report.usage.input > 0 && report.usage.output == 0, "{report:?}");
}

#[test]
fn a_stream_that_is_cut_is_counted_with_what_passed() {
    let cut = failing(Fault::CutMidEvent { after_events: 6 });
    let gateway = chain(&[cut.base_url()]).start();
    assert!(!gateway.stream(&any(r#","stream":true"#)).answer.whole);
    let report = &attempts(&gateway, 1)[0];
    assert_eq!((report.outcome, report.usage_source), (Outcome::Broken, UsageSource::Estimated));
    assert!(report.usage.input > 0 && report.usage.output > 0, "{report:?}");
}

#[test]
fn a_whole_answer_whose_figure_is_cut_is_served_and_estimated() {
    // The role, one word, the reason to end, and half of the usage event.
    let cut = Simulator::builder().fault(Fault::CutMidEvent { after_events: 3 }, When::Always).tokens(1).start();
    let cut = cut.expect("a loopback port");
    let gateway = chain(&[cut.base_url()]).start();
    let body = r#"{"model":"any","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let answer = gateway.ask(&post_with("/v1/messages", &bearer(ACCESS_KEY), body.as_bytes()));
    assert!(answer.whole && answer.text().contains("event: message_stop"), "{}", answer.text());
    let report = &attempts(&gateway, 1)[0];
    assert_eq!((report.outcome, report.usage_source), (Outcome::Completed, UsageSource::Estimated));
    assert!(report.usage.input > 0 && report.usage.output > 0, "{report:?}");
}

#[test]
fn each_leg_of_a_continued_stream_is_an_attempt() {
    let (cut, good) = (failing(Fault::CutMidEvent { after_events: 5 }), simulator());
    let gateway = chain(&[cut.base_url(), good.base_url()]).config_toml("[routing]\ncontinue_streams = true").start();
    let stream = gateway.stream(&any(r#","stream":true"#));
    assert!(stream.answer.whole, "{}", stream.answer.text());
    let reports = attempts(&gateway, 2);
    assert_eq!((at(&reports, "p1").outcome, at(&reports, "p1").last), (Outcome::Broken, false));
    assert!(at(&reports, "p1").usage.output > 0);
    assert_eq!((at(&reports, "p2").outcome, at(&reports, "p2").last), (Outcome::Completed, true));
    must_be_billed_as(at(&reports, "p2"), &good);
}

// ---- Several at once --------------------------------------------------------------------------------------------------------

#[test]
fn the_losers_of_a_race_have_their_rows() {
    let (late, quick) = (slow(NEVER), slow(Duration::from_millis(200)));
    let gateway = chain(&[late.base_url(), quick.base_url()]).start();
    assert_eq!(gateway.chat(&any(r#","speculative_mode":"latency""#)).status, 200);
    let reports = attempts(&gateway, 2);
    let loser = at(&reports, "p1");
    assert_eq!((loser.outcome, loser.last, loser.usage_source), (Outcome::Superseded, false, UsageSource::Estimated));
    assert!(loser.usage.input > 0, "it was sent the prompt: {loser:?}");
    assert!(at(&reports, "p2").last);
    must_be_billed_as(at(&reports, "p2"), &quick);
}

#[test]
fn a_client_that_leaves_a_race_leaves_a_row_each() {
    let runners = [slow(NEVER), slow(NEVER)];
    let gateway = chain(&runners.each_ref().map(Simulator::base_url)).start();
    let mut client = gateway.client();
    client.send(&post(&any(r#","speculative_mode":"latency""#)));
    assert!(runners.iter().all(|runner| runner.truth().wait_arrived(1, SOON)));
    drop(client);
    let reports = attempts(&gateway, 2);
    assert!(reports.iter().all(|report| report.outcome == Outcome::ClientGone && report.usage.input > 0));
}

#[test]
fn every_voice_of_a_council_has_its_row() {
    let said = |text: &str| {
        let body = SHORT_ANSWER.replace("Done.", text);
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let member = |text: &'static str| {
        Scripted::answering(move |request| match request.contains("=== Answer 1 ===") {
            true => said("merged").into_bytes(),
            false => said(text).into_bytes(),
        })
    };
    let members = [member("Alpha is the first of all letters."), member("Seventeen ships sailed home at dawn.")];
    let gateway = chain(&[members[0].base_url(), members[1].base_url()]).start();
    let answer = gateway.chat(&any(r#","council_mode":true"#));
    assert!(answer.text().contains("merged"), "{}", answer.text());
    let reports = attempts(&gateway, 3);
    assert!(reports.iter().all(|it| it.outcome == Outcome::Completed && it.usage_source == UsageSource::Provider));
}

// ---- The client goes --------------------------------------------------------------------------------------------------------

#[test]
fn a_client_that_leaves_early_is_billed_for_what_was_sent() {
    let silent = slow(NEVER);
    let gateway = Gateway::before(&silent);
    for (round, members) in ["", r#","stream":true"#].into_iter().enumerate() {
        let mut client = gateway.client();
        client.send(&post(&chat_of("gpt-4o", "a question of some length", members)));
        assert!(silent.truth().wait_arrived(round as u64 + 1, SOON));
        drop(client);
        let reports = attempts(&gateway, round + 1);
        let report = reports.last().expect("one more");
        assert_eq!((report.outcome, report.usage_source), (Outcome::ClientGone, UsageSource::Estimated), "{members}");
        assert!(report.usage.input > 0 && report.usage.output == 0 && report.cost.is_some(), "{report:?}");
    }
}

#[test]
fn a_client_that_leaves_a_stream_is_billed_for_what_passed() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&stream_of("endless", r#","user":"sim:tokens=4000;gap=10ms""#)));
    client.read_bytes(2_000);
    let gone = Instant::now();
    drop(client);
    assert!(simulator.truth().wait_ended(1, SOON));
    assert!(gone.elapsed() < SOON);
    let report = &attempts(&gateway, 1)[0];
    assert_eq!((report.outcome, report.usage_source), (Outcome::ClientGone, UsageSource::Estimated));
    assert!(report.usage.output > 0 && report.cost.is_some(), "{report:?}");
}

#[test]
fn what_was_stated_before_a_client_left_counts() {
    let simulator = keyed("anthropic", Surface::Anthropic);
    let gateway = Gateway::builder().provider("anthropic", &simulator).start();
    let members = r#","max_tokens":5000,"stream":true"#;
    let body = chat_of("claude-sonnet-4-6", "sim:tokens=4000;gap=10ms", members);
    let mut client = gateway.client();
    client.send(&post_with("/v1/messages", &bearer(ACCESS_KEY), body.as_bytes()));
    client.read_bytes(4_000);
    drop(client);
    let report = &attempts(&gateway, 1)[0];
    let truth = simulator.truth().last().expect("a request arrived");
    assert_eq!((report.outcome, report.usage_source), (Outcome::ClientGone, UsageSource::Estimated));
    assert_eq!(report.usage.input, u64::from(truth.prompt_tokens), "stated at the beginning");
    assert!(report.usage.output > 1, "and the rest by what passed: {report:?}");
}

#[test]
fn a_tenant_that_drains_gets_the_providers_own_figure() {
    let simulator = simulator();
    let drain = "[routing]\non_client_gone = \"drain\"";
    let gateway = Gateway::builder().provider("openai", &simulator).config_toml(drain).start();
    let asked = [
        (r#","stream":true,"user":"sim:tokens=60;gap=10ms""#, 1_000),
        (r#","stream":true,"user":"sim:tokens=30;latency=500ms""#, 0),
        (r#","user":"sim:tokens=30;latency=500ms""#, 0),
    ];
    for (round, (members, bytes)) in asked.into_iter().enumerate() {
        let mut client = gateway.client();
        client.send(&post(&chat_of("gpt-4o", "hello", members)));
        assert!(simulator.truth().wait_arrived(round as u64 + 1, SOON));
        if bytes > 0 {
            client.read_bytes(bytes);
        }
        drop(client);
        let reports = attempts(&gateway, round + 1);
        let report = reports.last().expect("one more");
        assert_eq!(report.outcome, Outcome::ClientGone, "{members}");
        must_be_billed_as(report, &simulator);
        assert_eq!(simulator.truth().counts().completed, round as u64 + 1, "{members}: it was read to its end");
    }
    assert_eq!(gateway.chat(&chat("and on")).status, 200);
}

// ---- Sessions ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_session_is_closed_before_its_client_has_the_last_frame() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = Gateway::builder().own_provider("voice", &provider.base_url(), "").start();
    let request = handshake("/v1/realtime?model=voice/gpt-4o", &bearer(ACCESS_KEY));
    let (head, mut client) = open(gateway.address(), &request);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_, mut there) = provider.next();
    client.say(r#"{"type":"response.create"}"#);
    there.frame();
    there.say(r#"{"type":"response.done","response":{"usage":{"input_tokens":7,"output_tokens":3}}}"#);
    client.frame();
    there.send(true, CLOSE, &goodbye(1000, ""));
    client.frame();
    let closes = journal(&gateway).iter().filter(|entry| matches!(entry, Entry::Close(_))).count();
    assert_eq!(closes, 1, "the close comes before the last frame");
    let report = &attempts(&gateway, 1)[0];
    assert_eq!((report.outcome, report.usage.input, report.usage.output), (Outcome::Completed, 7, 3));
}

#[test]
fn a_client_that_leaves_its_session_leaves_what_was_used() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = Gateway::builder().own_provider("voice", &provider.base_url(), "").start();
    let request = handshake("/v1/realtime?model=voice/gpt-4o", &bearer(ACCESS_KEY));
    let (_, mut client) = open(gateway.address(), &request);
    let (_, mut there) = provider.next();
    there.say(r#"{"type":"response.done","response":{"usage":{"input_tokens":7,"output_tokens":3}}}"#);
    client.frame();
    drop(client);
    let report = &attempts(&gateway, 1)[0];
    assert_eq!((report.outcome, report.usage.input, report.last), (Outcome::ClientGone, 7, true));
}

// ---- The process ends -------------------------------------------------------------------------------------------------------

#[test]
fn what_the_second_word_cuts_is_closed_as_interrupted() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let mut streaming = gateway.client();
    streaming.send(&post(&stream_of("endless", r#","user":"sim:tokens=4000;gap=30ms""#)));
    streaming.read_bytes(1_500);
    let mut waiting = gateway.client();
    waiting.send(&post(&chat_of("gpt-4o", "patience", r#","user":"sim:latency=60s""#)));
    assert!(simulator.truth().wait_arrived(2, SOON));
    gateway.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    gateway.signal("TERM");
    gateway.wait(SOON).expect("it ends");
    let reports = attempts(&gateway, 2);
    assert!(reports.iter().all(|report| report.outcome == Outcome::Interrupted), "{reports:?}");
    assert!(reports.iter().all(|report| report.usage.input > 0), "{reports:?}");
    assert!(reports[0].usage.output > 0, "{reports:?}");
}

#[test]
fn a_kill_leaves_the_intent_and_the_last_mark() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&stream_of("endless", r#","user":"sim:tokens=4000;gap=5ms""#)));
    let marked = || journal(&gateway).iter().any(|entry| matches!(entry, Entry::Mark(mark) if mark.usage.output > 0));
    wait_until(SOON, "a mark", marked);
    gateway.kill();
    let entries = journal(&gateway);
    assert!(matches!(entries.first(), Some(Entry::Intent(_))), "{entries:?}");
    assert!(entries.iter().all(|entry| !matches!(entry, Entry::Close(_))), "nobody was there to close it");
}
