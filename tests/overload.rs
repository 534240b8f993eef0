//! Too much work is turned away early and cheaply, fairly among tenants, and never costs those who are served (rules O1 to O4).

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{
    ACCESS_KEY, Answer, Client, Gate, Gateway, SHORT_ANSWER, SOON, STRANGER_KEY, bare, bearer, chat, post, post_with,
    stream_of, wait_until,
};

const PATH: &str = "/v1/chat/completions";

/// A gateway with one core and so many places, before a gate.
fn gateway(gate: &Gate, limits: &str) -> Gateway {
    Gateway::builder().own_provider("p1", &gate.base_url(), "").limits(limits).start()
}

/// A chat under way on a connection of its own.
fn begin(gateway: &Gateway, key: &str) -> Client {
    let mut client = gateway.client();
    client.send(&post_with(PATH, &bearer(key), chat("wait").as_bytes()));
    client
}

/// Begins chats until so many are with the provider, one after another.
fn fill(gateway: &Gateway, gate: &Gate, key: &str, count: u64) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let due = gate.arrived() + 1;
            let client = begin(gateway, key);
            assert!(gate.wait_arrived(due, SOON), "number {due} did not come through");
            client
        })
        .collect()
}

fn must_be_turned_away(answer: &Answer) {
    answer.must_be_fault(503, "overloaded");
    let wait: u64 = answer.header("retry-after").expect("it says when").parse().expect("a number");
    assert!((1..=4).contains(&wait), "{wait}");
    assert_eq!(answer.header("x-should-retry"), Some("true"), "nobody has tried it yet");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.message().contains("retry after"), "{}", answer.text());
}

fn status(gateway: &Gateway) -> serde_json::Value {
    gateway.admin("/status").json()["overload"].clone()
}

fn metric(gateway: &Gateway, line: &str) -> u64 {
    let page = gateway.admin("/metrics").text();
    let found = page.lines().find_map(|known| known.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in {page}"))
}

#[test]
fn a_burst_beyond_the_places_is_told_to_wait_and_nobody_else_notices() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = gateway(&gate, "exchanges_per_core = 10");
    let mut kept = gateway.client();
    assert_eq!(kept.ask(&bare("GET", "/v1/health", "")).header("connection"), None, "there is room: it stays open");
    let under_way = fill(&gateway, &gate, ACCESS_KEY, 9);
    for number in 0..30 {
        // Not even the key is looked at: a wrong one hears the same.
        let key = if number % 2 == 0 { ACCESS_KEY } else { "sk-igris-nobody" };
        must_be_turned_away(&gateway.ask(&post_with(PATH, &bearer(key), chat("more").as_bytes())));
    }
    assert_eq!(gate.arrived(), 9);
    for page in ["/v1/health", "/v1/health/live", "/v1/health/ready", "/v1/models"] {
        assert_eq!(gateway.page(page).status, 200, "{page} is never turned away");
    }
    let health = kept.ask(&bare("GET", "/v1/health", ""));
    assert_eq!((health.status, health.header("connection")), (200, Some("close")), "connections end with their answer");
    let shown = status(&gateway);
    assert_eq!(shown["stage"], "shedding", "{shown}");
    assert_eq!(shown["cores"][0]["worst"], "in_flight", "{shown}");
    assert_eq!(metric(&gateway, "igris_shed_total{reason=\"in_flight\"} "), 30);
    assert_eq!(metric(&gateway, "igris_overload_stage{core=\"0\"} "), 2);
    // The control plane looks several times a second.
    wait_until(SOON, "the stage is an event", || {
        let said = gateway.stderr();
        said.contains("overload core 0 went from") && said.contains("in_flight is at")
    });
    gate.open();
    for mut client in under_way {
        let answer = client.answer();
        assert_eq!(answer.status, 200, "what was under way is answered: {}", answer.text());
    }
    wait_until(SOON, "there is room again", || status(&gateway)["stage"] == "calm");
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.ask(&post(&chat("again"))).status, 200, "on a connection that stays open");
    }
    wait_until(SOON, "the way back is an event", || gateway.stderr().contains(" to calm"));
}

#[test]
fn a_stage_is_left_only_below_where_it_was_entered() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = gateway(&gate, "exchanges_per_core = 20");
    let mut under_way = fill(&gateway, &gate, ACCESS_KEY, 18);
    must_be_turned_away(&gateway.chat(&chat("more")));
    // 17 of 20 are 85 %: still within five points of 90.
    gate.let_through(1);
    wait_for_answers(&mut under_way, 1);
    must_be_turned_away(&gateway.chat(&chat("more")));
    gate.let_through(1);
    wait_for_answers(&mut under_way, 1);
    wait_until(SOON, "16 of 20 are 80 %", || status(&gateway)["stage"] == "tight");
    under_way.extend(fill(&gateway, &gate, ACCESS_KEY, 1));
    gate.open();
}

/// Reads so many answers, whoever gets them.
fn wait_for_answers(clients: &mut Vec<Client>, count: usize) {
    let (mut answered, end) = (0, Instant::now() + SOON);
    while answered < count {
        assert!(Instant::now() < end, "{answered} of {count} answers came");
        clients.retain_mut(|client| {
            let done = answered < count && client.is_readable(Duration::from_millis(5));
            if done {
                assert_eq!(client.answer().status, 200);
                answered += 1;
            }
            !done
        });
    }
}

#[test]
fn a_noisy_tenant_leaves_places_to_the_others() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = gateway(&gate, "exchanges_per_core = 20");
    // Alone it may use what there is.
    let mut noisy = fill(&gateway, &gate, ACCESS_KEY, 16);
    assert_eq!(status(&gateway)["stage"], "tight");
    let mut other = fill(&gateway, &gate, STRANGER_KEY, 1);
    for _ in 0..10 {
        let answer = gateway.chat(&chat("more"));
        must_be_turned_away(&answer);
        assert!(answer.message().contains("fair share"), "{}", answer.text());
    }
    assert_eq!(metric(&gateway, "igris_shed_total{reason=\"tenant_share\"} "), 10);
    // Each place that the noisy one gives back goes to the other, until both have as many.
    for _ in 0..7 {
        gate.let_through(1);
        wait_for_answers(&mut noisy, 1);
        must_be_turned_away(&gateway.chat(&chat("more")));
        other.extend(fill(&gateway, &gate, STRANGER_KEY, 1));
    }
    assert_eq!((noisy.len(), other.len()), (9, 8));
    gate.open();
    for mut client in noisy.into_iter().chain(other) {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn many_large_bodies_find_the_memory_in_use_and_not_the_process_gone() {
    const LARGE: usize = 12 * 1024 * 1024;
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = gateway(&gate, "memory_bytes = \"256MiB\"\nbody_bytes = \"32MiB\"");
    // A picture: a text of that length would fit no model's window.
    let picture =
        format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}"#, "A".repeat(LARGE));
    let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":[{picture}]}}]}}"#);
    let requests = [post(&body), chunked_post(&body)];
    let clients: Vec<_> = (0..14)
        .map(|number| {
            let (mut client, request) = (gateway.client(), requests[number % 2].clone());
            std::thread::spawn(move || {
                client.send(&request);
                client.try_answer()
            })
        })
        .collect();
    wait_until(Duration::from_secs(60), "some are turned away", || {
        metric(&gateway, "igris_shed_total{reason=\"bodies\"} ") >= 1
    });
    let health = gateway.page("/v1/health");
    assert_eq!(health.status, 200);
    gate.open();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().expect("it does not panic")).collect();
    let served = answers.iter().flatten().filter(|answer| answer.status == 200).count();
    for answer in answers.iter().flatten().filter(|answer| answer.status != 200) {
        answer.must_be_fault(503, "overloaded");
    }
    assert!(served >= 1, "none was served");
    let peak = gateway.peak_bytes();
    assert!(peak < 256 * 1024 * 1024, "{peak}");
    // What they held is given back.
    wait_until(SOON, "there is room again", || gateway.chat(&body).status == 200);
}

fn chunked_post(body: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{}Transfer-Encoding: chunked\r\n\r\n",
        bearer(ACCESS_KEY)
    )
    .into_bytes();
    request.extend_from_slice(&support::chunked(body.as_bytes(), 60_000));
    request
}

// ---- Slow readers -------------------------------------------------------------------------------------------------------------

/// An upstream that streams without end, and counts what was taken from it.
struct Torrent {
    base_url: String,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Torrent {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("a bound socket has an address"));
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (sent.clone(), ended.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                pour(connection, &count);
                end.store(true, Ordering::SeqCst);
            }
        });
        Self { base_url, sent, ended }
    }
}

/// Writes events until nobody takes them.
fn pour(mut connection: TcpStream, sent: &AtomicU64) {
    let mut request = [0; 16 * 1024];
    let _ = connection.read(&mut request);
    let text = "w".repeat(8_000);
    let event = format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    );
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    if connection.write_all(head.as_bytes()).is_err() {
        return;
    }
    while connection.write_all(chunk.as_bytes()).is_ok() {
        sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
    }
}

#[test]
fn a_slow_reader_holds_its_provider_back_and_no_memory() {
    let torrent = Torrent::start();
    let gateway =
        Gateway::builder().own_provider("p1", &torrent.base_url, "").limits("client_stall_deadline = \"3s\"").start();
    let before = gateway.resident_bytes();
    let mut deaf = gateway.client();
    deaf.send(&post(&stream_of("everything", "")));
    wait_until(SOON, "the stream has begun", || torrent.sent.load(Ordering::SeqCst) > 0);
    // The sockets of both sides fill, then nothing moves any more.
    wait_until(SOON, "the provider is held back", || {
        let sent = torrent.sent.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        torrent.sent.load(Ordering::SeqCst) == sent
    });
    let (sent, grown) = (torrent.sent.load(Ordering::SeqCst), gateway.resident_bytes().saturating_sub(before));
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken for a client that reads none");
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes are held for it");
    wait_until(Duration::from_secs(30), "the deadline cuts it", || torrent.ended.load(Ordering::SeqCst));
    let outcome = "igris_attempts_total{provider=\"p1\",model=\"gpt-4o\",outcome=\"client_gone\"} ";
    wait_until(SOON, "it is in the books", || gateway.admin("/metrics").text().contains(outcome));
    let output = metric(&gateway, "igris_tokens_total{provider=\"p1\",model=\"gpt-4o\",direction=\"output\"} ");
    assert!(output > 0, "what had been made is billed");
    drop(deaf);
}
