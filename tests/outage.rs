//! Providers die, fail, stall and come back; as long as one of them answers, no client sees it, and no outage multiplies its own load.

mod support;

use igris_load::Simulator;
use igris_load::engine::Stop;
use igris_load::measure::{self, Measured};
use igris_load::simulator::{Behaviour, Fault, FaultRule, Latency, When};
use igris_load::workload::{Arrivals, Endpoint, Plan, Secret, Share, Span, Tenant};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Answer, Builder, Gateway, SOON, chat_of, closed_address, wait_until};

/// A breaker that opens after three failures and lets a probe pass a second later.
const QUICK_BREAKER: &str = "[routing]\nbreaker = { failures = 3, open = \"1s\" }\n";
/// After this long a quick breaker is half open, its lot included.
const HALF_OPEN: Duration = Duration::from_millis(1_150);

fn healthy() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

fn failing(fault: Fault, when: When) -> Simulator {
    Simulator::builder().fault(fault, when).start().expect("a loopback port")
}

fn any(members: &str) -> String {
    chat_of("any", "hello", members)
}

/// Providers p1, p2 … at these addresses; the model `any` asks them by this policy, with equal weights.
fn any_of(urls: &[String], policy: &str) -> Builder {
    let mut builder = Gateway::builder();
    let mut targets = Vec::new();
    for (place, url) in urls.iter().enumerate() {
        let name = format!("p{}", place + 1);
        builder = builder.own_provider(&name, url, "");
        targets.push(format!(r#"{{ provider = "{name}", model = "gpt-4o" }}"#));
    }
    let targets = targets.join(", ");
    builder.config_toml(&format!("[[models]]\nname = \"any\"\npolicy = \"{policy}\"\ntargets = [{targets}]\n"))
}

fn urls(simulators: &[&Simulator]) -> Vec<String> {
    simulators.iter().map(|simulator| simulator.base_url()).collect()
}

fn requests(simulators: &[&Simulator]) -> Vec<u64> {
    simulators.iter().map(|simulator| simulator.truth().counts().requests).collect()
}

#[track_caller]
fn served_by(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-igris-provider").expect("it is always there")
}

/// The breaker of a provider as the admin socket shows it.
fn breaker(gateway: &Gateway, provider: &str) -> Value {
    let list = gateway.admin("/breakers").json();
    let rows = list["data"].as_array().expect("a list");
    rows.iter().find(|row| row["provider"] == provider && row["model"].is_null()).expect("it is configured").clone()
}

fn load(gateway: &Gateway, connections: usize, rhythm: Plan) -> Measured {
    let plan = Plan {
        endpoints: vec![Endpoint { url: gateway.url(), ..Endpoint::default() }],
        tenants: vec![Tenant { key: Secret { text: ACCESS_KEY.to_owned(), ..Secret::default() }, ..Tenant::default() }],
        traffic: vec![Share { model: "any".to_owned(), prompt_bytes: 100, ..Share::default() }],
        connections,
        timeout: Span(Duration::from_secs(20)),
        ..rhythm
    };
    measure::run(&plan, &Stop::default(), |_| {}).expect("it runs")
}

/// One request after the other on each connection.
fn closed(requests: u64) -> Plan {
    Plan { requests: Some(requests), ..Plan::default() }
}

#[track_caller]
fn must_all_be_well(measured: &Measured) {
    println!("{} requests, {:.0} a second", measured.sums.total(), measured.rate());
    assert!(measured.is_success(), "{:?} {:?}", measured.sums.outcomes, measured.failures);
}

// === A provider in a process of its own ===

/// Where that process listens; set by who starts it.
const PROVIDER: &str = "IGRIS_TEST_PROVIDER";

/// A simulated provider that can be killed.
struct Process {
    child: Child,
    url: String,
    address: SocketAddr,
}

impl Process {
    fn start(address: SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
        command.args(["provider_process", "--exact", "--ignored", "--nocapture"]).env(PROVIDER, address.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the test's own file starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = lines.find_map(|line| line.expect("text").split_once("serving at ").map(|(_, url)| url.to_owned()));
        let url = url.expect("it says where it serves");
        let place = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let address = place.parse().expect("an address");
        Self { child, url, address }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
#[ignore = "the process of a simulated provider, started by the tests of this file"]
fn provider_process() {
    let Ok(address) = std::env::var(PROVIDER) else { return };
    let address = address.parse().expect("an address");
    let latency = Latency::from(Duration::from_millis(10));
    let simulator = Simulator::builder().listen(address).latency(latency).counters_only().start().expect("a free port");
    println!("serving at {}", simulator.base_url());
    std::io::stdout().flush().expect("a pipe");
    // Ends with whoever started it.
    let _ = std::io::stdin().read(&mut [0]);
}

// === The tests ===

#[test]
fn a_provider_that_is_killed_under_load_costs_no_client_anything() {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut processes: Vec<Process> = (0..3).map(|_| Process::start(free)).collect();
    let urls: Vec<String> = processes.iter().map(|process| process.url.clone()).collect();
    let gateway = any_of(&urls, "weighted").config_toml(QUICK_BREAKER).start();
    let address = processes[0].address;
    let mut first = processes.remove(0);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1_000));
        first.kill();
    });
    let measured = load(
        &gateway,
        64,
        Plan {
            arrivals: Arrivals::Constant { rate: 300.0 },
            duration: Some(Span(Duration::from_secs(3))),
            ..Plan::default()
        },
    );
    killer.join().expect("no panic");
    must_all_be_well(&measured);
    let open = breaker(&gateway, "p1");
    assert_ne!(open["state"], "closed", "{open}");
    assert_eq!(open["cause"], "unreachable", "{open}");
    let events = gateway.admin("/status").json();
    assert!(events["halted"].as_u64().is_some_and(|halted| halted > 0), "{events}");
    // It comes back at the same address: the next probe finds it.
    let _again = Process::start(address);
    wait_until(SOON, "the provider serves again", || served_by(&gateway.chat(&any(""))) == "p1");
    // The client has its answer a moment before the attempt is closed.
    wait_until(SOON, "the breaker closes", || breaker(&gateway, "p1")["state"] == "closed");
}

#[test]
fn a_provider_that_fails_every_fifth_request_is_seen_by_no_client_and_costs_a_fifth_more_at_most() {
    for policy in ["weighted", "ordered"] {
        let sick = failing(Fault::status(500), When::Probability(0.2));
        let (second, third) = (healthy(), healthy());
        let simulators = [&sick, &second, &third];
        let gateway = any_of(&urls(&simulators), policy).start();
        let measured = load(&gateway, 8, closed(600));
        must_all_be_well(&measured);
        let attempts: u64 = requests(&simulators).iter().sum();
        let factor = attempts as f64 / measured.sums.total() as f64;
        println!("{policy}: {:?}, {factor:.3} attempts a request", requests(&simulators));
        assert!(factor <= 1.2, "{policy}: {factor}");
        assert!(attempts > 600, "{policy}: some failed");
    }
}

#[test]
fn with_every_provider_failing_the_load_grows_by_a_fifth_at_most() {
    let simulators = [(); 3].map(|()| failing(Fault::status(500), When::Always));
    let simulators = [&simulators[0], &simulators[1], &simulators[2]];
    let gateway = any_of(&urls(&simulators), "weighted").start();
    let measured = load(&gateway, 8, closed(1_000));
    let attempts: u64 = requests(&simulators).iter().sum();
    // A budget may be spent at once, before the requests that make it: what is allowed in ten seconds at each of three providers.
    let most = 1_200 + 3 * 30;
    println!("{:?}: {attempts} attempts for {} requests", requests(&simulators), measured.sums.total());
    assert!((1_000..=most).contains(&attempts), "{attempts}");
}

#[test]
fn all_down_is_told_quickly() {
    let urls: Vec<String> = (0..3).map(|_| format!("http://{}/v1", closed_address())).collect();
    let gateway = any_of(&urls, "ordered").start();
    let mut times = Vec::new();
    for round in 0..50 {
        let began = Instant::now();
        let answer = gateway.chat(&any(if round % 2 == 0 { "" } else { r#","stream":true"# }));
        times.push(began.elapsed());
        answer.must_be_fault(503, "all_providers_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    times.sort_unstable();
    println!("all down: half of the answers within {:?}, the slowest after {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(250), "{:?}", times[25]);
}

#[test]
fn a_provider_that_stalls_after_its_head_is_a_timeout_unless_the_tenant_wants_all_repeated() {
    let stall = || failing(Fault::Stall { after_events: 0 }, When::Always);
    for members in [r#","stream":true"#, ""] {
        // A simulated stream stalls behind its head, any other answer before it.
        let limits = "stream_silence_deadline = \"400ms\"\nfirst_byte_unary_deadline = \"400ms\"";
        let (first, second) = (stall(), healthy());
        let simulators = [&first, &second];
        let gateway = any_of(&urls(&simulators), "ordered").limits(limits).start();
        gateway.chat(&any(members)).must_be_fault(504, "upstream_timeout");
        assert_eq!(requests(&simulators), [1, 0], "rule Q1: it may be billed");
        let (first, second) = (stall(), healthy());
        let simulators = [&first, &second];
        let gateway = any_of(&urls(&simulators), "ordered").limits(limits).config_toml("[routing]\nrepeat = \"all\"\n");
        let answer = gateway.start().chat(&any(members));
        assert_eq!(served_by(&answer), "p2");
        assert_eq!(requests(&simulators), [1, 1]);
    }
}

#[test]
fn a_tenant_that_wants_nothing_repeated_still_has_what_was_refused_or_not_sent_asked_elsewhere() {
    let quiet = "[routing]\nrepeat = \"refused\"\n";
    for (fault, status) in [(Fault::status(500), 503), (Fault::CloseBeforeResponse, 502)] {
        let (first, second) = (failing(fault, When::Always), healthy());
        let gateway = any_of(&urls(&[&first, &second]), "ordered").config_toml(quiet).start();
        assert_eq!(gateway.chat(&any("")).status, status);
        assert_eq!(requests(&[&first, &second]), [1, 0]);
    }
    for fault in [Fault::status(429), Fault::status(503), Fault::status(401)] {
        let (first, second) = (failing(fault, When::Always), healthy());
        let gateway = any_of(&urls(&[&first, &second]), "ordered").config_toml(quiet).start();
        assert_eq!(served_by(&gateway.chat(&any(""))), "p2");
    }
    let second = healthy();
    let dead = format!("http://{}/v1", closed_address());
    let gateway = any_of(&[dead, second.base_url()], "ordered").config_toml(quiet).start();
    assert_eq!(served_by(&gateway.chat(&any(""))), "p2");
}

#[test]
fn an_error_inside_a_stream_before_its_content_opens_a_breaker_like_any_other() {
    let (first, second) = (failing(Fault::ErrorInStream { after_events: 0 }, When::Always), healthy());
    let gateway = any_of(&urls(&[&first, &second]), "ordered").start();
    for _ in 0..8 {
        let stream = gateway.stream(&any(r#","stream":true"#));
        assert_eq!(served_by(&stream.answer), "p2");
        assert!(stream.answer.whole && !stream.answer.text().contains("\"error\""), "{}", stream.answer.text());
    }
    assert_eq!(requests(&[&first, &second]), [3, 8], "three failures in a row were enough");
}

#[test]
fn one_probe_brings_a_provider_back_and_only_one_goes_out_while_it_is_away() {
    let (first, second) = (failing(Fault::status(503), When::Always), healthy());
    let gateway = any_of(&urls(&[&first, &second]), "ordered").config_toml(QUICK_BREAKER).start();
    (0..6).for_each(|_| assert_eq!(served_by(&gateway.chat(&any(""))), "p2"));
    assert_eq!(first.truth().counts().requests, 3, "then it was left alone");
    // Still sick: one probe finds out, the others do not wait for it.
    std::thread::sleep(HALF_OPEN);
    (0..6).for_each(|_| assert_eq!(served_by(&gateway.chat(&any(""))), "p2"));
    assert_eq!(first.truth().counts().requests, 4);
    // Well again, but slow: while the probe is out, everybody else goes to the second.
    let slow = Latency::from(Duration::from_millis(500));
    first.set_behaviour(Behaviour { latency: slow, ..Behaviour::default() });
    std::thread::sleep(2 * HALF_OPEN);
    let served: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| served_by(&gateway.chat(&any(""))).to_owned())).collect();
        asked.into_iter().map(|asked| asked.join().expect("no panic")).collect()
    });
    assert_eq!(served.iter().filter(|name| *name == "p1").count(), 1, "{served:?}");
    first.set_behaviour(Behaviour::default());
    (0..3).for_each(|_| assert_eq!(served_by(&gateway.chat(&any(""))), "p1", "one probe was enough"));
    let events = gateway.admin("/breakers").json();
    assert_eq!(events["data"].as_array().map(Vec::len), Some(2), "no lane is left in the list: {events}");
}

#[test]
fn a_provider_that_stands_alone_is_asked_once_more_after_a_moment() {
    for fault in [Fault::status(500), Fault::status(503), Fault::CloseBeforeResponse] {
        let only = failing(fault.clone(), When::First(1));
        let answer = any_of(&urls(&[&only]), "ordered").start().chat(&any(""));
        assert_eq!((served_by(&answer), answer.header("x-igris-attempts")), ("p1", Some("2")), "{}", fault.name());
        let only = failing(fault, When::Always);
        let answer = any_of(&urls(&[&only]), "ordered").start().chat(&any(""));
        assert!(answer.status >= 500);
        assert_eq!(only.truth().counts().requests, 2, "once more, not for ever");
    }
    for fault in [Fault::status(429), Fault::status(401), Fault::status(400), Fault::status(504)] {
        let only = failing(fault.clone(), When::Always);
        assert!(any_of(&urls(&[&only]), "ordered").start().chat(&any("")).status >= 400);
        assert_eq!(only.truth().counts().requests, 1, "{}", fault.name());
    }
}

#[test]
fn a_prompt_that_is_too_long_goes_to_a_model_with_a_larger_window() {
    let body = json!({ "error": {
        "message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error",
        "param": "messages", "code": "context_length_exceeded",
    } });
    let too_long = || Fault::Status { code: 400, retry_after: None, body: Some(body.to_string()) };
    let route = |models: &[&str]| {
        let targets: Vec<String> =
            models.iter().map(|model| format!(r#"{{ provider = "openai", model = "{model}" }}"#)).collect();
        format!("[[models]]\nname = \"any\"\npolicy = \"ordered\"\ntargets = [{}]\n", targets.join(", "))
    };
    let rule = FaultRule::new(too_long(), When::Always).for_model("gpt-4");
    let simulator = Simulator::builder().behaviour(Behaviour { faults: vec![rule], ..Behaviour::default() });
    let simulator = simulator.start().expect("a loopback port");
    let gateway = Gateway::builder().provider("openai", &simulator).config_toml(&route(&["gpt-4", "gpt-4.1"])).start();
    let answer = gateway.chat(&any(""));
    assert_eq!((served_by(&answer), answer.header("x-igris-model")), ("openai", Some("gpt-4.1")));
    let everywhere = failing(too_long(), When::Always);
    let models = ["gpt-4.1", "gpt-4", "gpt-4o"];
    let gateway = Gateway::builder().provider("openai", &everywhere).config_toml(&route(&models)).start();
    let answer = gateway.chat(&any(""));
    assert_eq!((answer.status, everywhere.truth().counts().requests), (400, 1), "no other window is larger");
    assert!(answer.message().contains("maximum context length"), "{}", answer.text());
}

#[test]
fn a_request_has_one_idempotency_key_at_a_provider_that_knows_them() {
    let simulator = failing(Fault::status(500), When::First(1));
    let gateway = Gateway::builder().provider("openai", &simulator).start();
    (0..2).for_each(|_| assert_eq!(gateway.chat(&support::chat("hello")).status, 200));
    simulator.truth().wait_settled(SOON);
    let sent = simulator.truth().requests();
    let keys: Vec<&str> = sent.iter().map(|record| record.header("idempotency-key").expect("OpenAI has one")).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    let other = healthy();
    assert_eq!(served_by(&any_of(&urls(&[&other]), "ordered").start().chat(&any(""))), "p1");
    assert_eq!(other.truth().last().expect("a request").header("idempotency-key"), None);
}

#[test]
fn the_operator_halts_a_provider_and_lets_it_be_asked_again() {
    let (first, second) = (healthy(), healthy());
    let gateway = any_of(&urls(&[&first, &second]), "ordered").workers(2).start();
    let act = |path: &str| gateway.admin_ask("POST", path, "");
    assert_eq!(act("/breakers/p1/open").json()["state"], "forced");
    (0..4).for_each(|_| assert_eq!(served_by(&gateway.chat(&any(""))), "p2"));
    assert_eq!(first.truth().counts().requests, 0);
    assert_eq!(act("/breakers/p2/open").status, 200);
    let answer = gateway.chat(&any(""));
    answer.must_be_fault(503, "all_providers_unavailable");
    assert!(answer.message().contains("halted by the operator"), "{}", answer.text());
    assert_eq!(act("/breakers/p1/close").json()["state"], "closed");
    (0..4).for_each(|_| assert_eq!(served_by(&gateway.chat(&any(""))), "p1"));
    assert_eq!(act("/breakers/p2/reset").json()["state"], "closed");
    assert_eq!((act("/breakers/p3/open").status, act("/breakers/p1/explode").status), (404, 404));
}

#[test]
fn an_active_probe_finds_a_provider_that_takes_connections_again() {
    let second = healthy();
    let address = closed_address();
    let dead = format!("http://{address}/v1");
    // A breaker that stays open far longer than the test.
    let routing = "[routing]\nprobe_interval = \"1s\"\nbreaker = { failures = 3, open = \"600s\" }\n";
    let gateway = any_of(&[dead, second.base_url()], "ordered").config_toml(routing).start();
    (0..4).for_each(|_| assert_eq!(served_by(&gateway.chat(&any(""))), "p2"));
    assert_eq!(breaker(&gateway, "p1")["state"], "open");
    let _first = Simulator::builder().listen(address).start().expect("the port is still free");
    wait_until(SOON, "the probe finds it", || breaker(&gateway, "p1")["state"] != "open");
    assert_eq!(served_by(&gateway.chat(&any(""))), "p1");
    // The client has its answer a moment before the attempt is closed.
    wait_until(SOON, "the breaker closes", || breaker(&gateway, "p1")["state"] == "closed");
}
