//! When a provider key fails by itself: another key of that provider answers the same request, the dead one is left alone, and nobody else
//! notices anything.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Builder as SimulatorBuilder, KeyCounts, Surface};
use serde_json::Value;
use std::time::{Duration, Instant};
use support::websocket::{handshake, open};
use support::{
    ACCESS_KEY, Answer, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, bare, bearer, chat_of, chunked, post, post_with,
    provider_key, wait_until,
};

/// Comes by the API, and goes before the one from the configuration.
const FIRST: &str = "sk-canary-first-of-two-0123456789ab1111";

/// A provider of each wire format, and a model of it.
const PROVIDERS: [(&str, Surface, &str); 3] = [
    ("openai", Surface::OpenAi, "gpt-4o"),
    ("anthropic", Surface::Anthropic, "claude-sonnet-4-5"),
    ("google", Surface::Gemini, "gemini-2.5-flash"),
];

/// A gateway with two keys for one simulated provider.
struct House {
    name: &'static str,
    model: String,
    simulator: Simulator,
    gateway: Gateway,
}

/// The key from the configuration.
fn second(name: &str) -> String {
    // Another ending than the first one's: the simulator's log tells keys apart by it.
    format!("sk-canary-{name}-second-0123456789ab2222")
}

impl House {
    fn of(name: &'static str, surface: Surface, model: &str) -> Self {
        Self::with(name, surface, model, |simulator| simulator, r#"{"timeout":30,"max_retries":3}"#)
    }

    fn openai() -> Self {
        Self::of("openai", Surface::OpenAi, "gpt-4o")
    }

    fn with(
        name: &'static str,
        surface: Surface,
        model: &str,
        more: impl FnOnce(SimulatorBuilder) -> SimulatorBuilder,
        config: &str,
    ) -> Self {
        let simulator = Simulator::builder().dialect(surface).keys([FIRST, &second(name)]).models(Vec::<String>::new());
        let simulator = more(simulator).start().expect("a loopback port");
        let another = Simulator::builder().start().expect("a loopback port");
        let targets = format!(
            "[[models]]\nname = \"any\"\npolicy = \"ordered\"\ntargets = [{{ provider = \"{name}\", model = \"{model}\" }}, \
             {{ provider = \"another\", model = \"gpt-4o\" }}]\n"
        );
        let gateway = Gateway::builder()
            .provider(name, &simulator)
            .key(Some(&second(name)))
            .own_provider("another", &another.base_url(), "")
            .config_toml(&targets)
            .start();
        // Whoever goes there instead of to the second key finds nobody.
        another.stop();
        let house = Self { name, model: format!("{name}/{model}"), simulator, gateway };
        add(&house.gateway, "default", name, ACCESS_KEY, FIRST, config);
        wait_until(SOON, "the first key is used", || {
            house.good(&house.ask(""));
            house.counts(FIRST).accepted > 0
        });
        house
    }

    fn ask(&self, members: &str) -> Answer {
        self.gateway.chat(&chat_of(&self.model, "hello", members))
    }

    #[track_caller]
    fn good(&self, answer: &Answer) {
        assert_eq!((answer.status, answer.whole), (200, true), "{}: {}", self.name, answer.text());
        assert_eq!(answer.header("x-igris-provider"), Some(self.name));
    }

    #[track_caller]
    fn good_in(&self, answer: &Answer, attempts: &str) {
        self.good(answer);
        assert_eq!(answer.header("x-igris-attempts"), Some(attempts), "{}", self.name);
    }

    fn counts(&self, key: &str) -> KeyCounts {
        self.simulator.truth().key_counts(key)
    }
}

fn add(gateway: &Gateway, tenant: &str, provider: &str, access_key: &str, key: &str, config: &str) {
    let path = format!("/v1/tenants/{tenant}/providers/{provider}/keys");
    let body = format!(r#"{{"api_key":"{key}","config":{config}}}"#);
    let added = gateway.ask(&post_with(&path, &bearer(access_key), body.as_bytes()));
    assert!(matches!(added.status, 200 | 201), "{} {}", added.status, added.text());
}

/// Every value of a member of this name, however deep.
fn all_of<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| all_of(item, name)).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(known, value)| if known == name { vec![value] } else { all_of(value, name) })
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_second_key_answers_the_same_request_in_every_dialect() {
    for (name, surface, model) in PROVIDERS {
        for members in ["", r#","stream":true"#] {
            let house = House::of(name, surface, model);
            let mine = second(name);
            house.simulator.refuse_key(FIRST);
            let began = Instant::now();
            let answer = house.gateway.chat(&chat_of("any", "hello", members));
            house.good_in(&answer, "2");
            assert_eq!((house.counts(FIRST).refused, house.counts(&mine).refused), (1, 0), "{name}");
            let answer = house.ask(members);
            house.good(&answer);
            let in_pause = began.elapsed() < Duration::from_secs(1);
            assert!(!in_pause || answer.header("x-igris-attempts") == Some("1"), "{name}: it is left alone");
            // The other way round: the one that was refused is asked although its pause may not be over.
            house.simulator.refuse_key(&mine);
            house.simulator.accept_key(FIRST);
            for _ in 0..3 {
                house.good(&house.ask(members));
            }
            assert!(house.counts(&mine).refused <= 1 || !in_pause, "{name}");
        }
    }
}

#[test]
fn a_dead_key_is_asked_less_and_less_and_found_when_it_is_good_again() {
    let house = House::openai();
    house.simulator.refuse_key(FIRST);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3_600) {
        house.good(&house.ask(""));
    }
    let (mut probes, mut at) = (1, Duration::ZERO);
    // After one second, three, seven …
    while at < began.elapsed() {
        at += Duration::from_secs(1 << (probes - 1));
        probes += 1;
    }
    let refused = house.counts(FIRST).refused;
    assert!((2..=probes).contains(&refused), "{refused} refusals in {:?}", began.elapsed());
    let served = house.counts(FIRST).accepted;
    house.simulator.accept_key(FIRST);
    wait_until(SOON, "it is used again", || {
        house.good(&house.ask(""));
        house.counts(FIRST).accepted > served
    });
    house.good_in(&house.ask(""), "1");
}

#[test]
fn when_every_key_is_dead_all_are_asked_and_the_first_good_one_answers() {
    let house = House::openai();
    let mine = second("openai");
    house.simulator.refuse_key(FIRST);
    house.simulator.refuse_key(&mine);
    for round in 1..=3 {
        let answer = house.ask("");
        answer.must_be_fault(502, "provider_authentication_failed");
        assert_eq!((house.counts(FIRST).refused, house.counts(&mine).refused), (round, round));
    }
    for key in [&mine, FIRST] {
        house.simulator.accept_key(key);
        house.good(&house.ask(""));
        house.simulator.refuse_key(key);
    }
    house.ask("").must_be_fault(502, "provider_authentication_failed");
}

#[test]
fn an_owner_who_allows_no_retries_has_not_ruled_out_another_key() {
    let house =
        House::with("openai", Surface::OpenAi, "gpt-4o", |simulator| simulator, r#"{"timeout":30,"max_retries":0}"#);
    house.simulator.refuse_key(FIRST);
    house.good_in(&house.ask(""), "2");
}

#[test]
fn one_tenants_dead_key_is_nobody_elses_affair() {
    let house = House::openai();
    const DEAD: &str = "sk-canary-dead-from-the-start-000000003333";
    add(&house.gateway, "other", "openai", STRANGER_KEY, DEAD, r#"{"timeout":30,"max_retries":3}"#);
    let as_stranger = || {
        let body = chat_of(&house.model, "hello", "");
        house.gateway.ask(&post_with("/v1/chat/completions", &bearer(STRANGER_KEY), body.as_bytes()))
    };
    wait_until(SOON, "the stranger's key is used", || as_stranger().status == 502);
    for _ in 0..20 {
        as_stranger().must_be_fault(502, "provider_authentication_failed");
        house.good_in(&house.ask(""), "1");
    }
    assert!(house.counts(DEAD).refused > 20, "it is their only one, and asked each time");
    let breakers = house.gateway.admin("/breakers").json();
    let states = all_of(&breakers, "state");
    assert!(!states.is_empty() && states.iter().all(|state| *state == "closed"), "{breakers}");
    // Twice what it takes until what was observed is in the scores.
    std::thread::sleep(Duration::from_millis(1_200));
    let scores = house.gateway.admin("/scores").json();
    let rates = all_of(&scores, "error_rate");
    assert!(!rates.is_empty() && rates.iter().all(|rate| rate.as_f64() == Some(0.0)), "{scores}");
}

#[test]
fn a_session_and_a_passthrough_fall_back_before_anything_has_gone_to_the_client() {
    let house = House::openai();
    house.simulator.refuse_key(FIRST);
    let (head, _session) =
        open(house.gateway.address(), &handshake("/v1/realtime?model=openai/gpt-4o", &bearer(ACCESS_KEY)));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(house.counts(FIRST).refused, 1);
    let house = House::openai();
    house.simulator.refuse_key(FIRST);
    for _ in 0..3 {
        let answer = house.gateway.ask(&bare("GET", "/v1/passthrough/openai/models", &bearer(ACCESS_KEY)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(house.counts(FIRST).refused, 1, "it is left alone there, too");
    house.good_in(&house.ask(""), "2");
}

#[test]
fn what_can_be_sent_once_is_not_put_on_a_key_that_was_refused() {
    let house = House::openai();
    house.simulator.refuse_key(FIRST);
    house.good_in(&house.ask(""), "2");
    let long = chat_of("openai/gpt-4.1", &"x".repeat(1_500_000), "");
    let path = "/v1/passthrough/openai/chat/completions";
    let fields = format!("{}Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n", bearer(ACCESS_KEY));
    let began = Instant::now();
    let mut rounds = 0;
    // Also when its pause is over: that is for those to find out who can be put right.
    while rounds < 2 || began.elapsed() < Duration::from_millis(1_500) {
        rounds += 1;
        house.good_in(&house.gateway.chat(&long), "1");
        let plain = long.replace("openai/", "");
        let mut request = format!("POST {path} HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n").into_bytes();
        request.extend_from_slice(&chunked(plain.as_bytes(), 60_000));
        let answer = house.gateway.ask(&request);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(house.counts(FIRST).refused, 1);
}

#[test]
fn a_stream_in_flight_keeps_its_key() {
    let house = House::openai();
    let before = house.counts(FIRST).accepted;
    std::thread::scope(|scope| {
        let members = r#","stream":true,"user":"sim:tokens=40;gap=15ms""#;
        let stream = scope.spawn(|| house.gateway.stream(&chat_of(&house.model, "hello", members)));
        wait_until(SOON, "it is under way", || house.counts(FIRST).accepted > before);
        house.simulator.refuse_key(FIRST);
        house.good(&house.ask(""));
        let stream = stream.join().expect("the client");
        assert!(stream.answer.whole && stream.answer.text().ends_with("data: [DONE]\n\n"), "{}", stream.answer.text());
    });
    // The end of what began before is no sign of life.
    house.good_in(&house.ask(""), "1");
}

#[test]
fn a_decision_says_which_key_was_refused() {
    let house = House::openai();
    house.simulator.refuse_key(FIRST);
    let mut client = house.gateway.client();
    let answer = client.ask(&post(&chat_of(&house.model, "hello", "")));
    house.good_in(&answer, "2");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let path = format!("/decisions/{id}");
    wait_until(SOON, "the decision is there", || house.gateway.admin(&path).status == 200);
    let decision = house.gateway.admin(&path).json();
    let attempts = decision["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2, "{decision}");
    assert_eq!((&attempts[0]["key_refused"], &attempts[0]["status"]), (&Value::from(true), &Value::from(401)));
    assert!(attempts[1]["key_refused"].is_null() && attempts[1]["outcome"] == "completed", "{decision}");
    let path = format!("/v1/routing/decisions/{id}");
    let told = house.gateway.ask(&bare("GET", &path, &bearer(INFERENCE_KEY)));
    assert!(told.status == 200 && !told.text().contains("key_refused"), "the operator's affair: {}", told.text());
}

#[test]
fn keys_are_told_apart() {
    // What every count above rests on.
    let endings = [FIRST, &second("openai"), &provider_key("openai")].map(|key| key[key.len() - 4..].to_owned());
    assert!(endings[0] != endings[1] && endings[1] != endings[2] && endings[0] != endings[2]);
}
