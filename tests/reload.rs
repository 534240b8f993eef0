//! A configuration is changed under traffic, whole or not at all; a bad one changes nothing and says where it is bad (rule C6).

mod support;

use igris_load::Simulator;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Gateway, SOON, chat_of, post, wait_until};

fn any() -> String {
    chat_of("any", "hello", "")
}

/// A gateway whose model `any` is the first provider's; the second one has it, too.
fn switchable() -> (Simulator, Simulator, Gateway) {
    let start = || Simulator::builder().start().expect("a loopback port");
    let (first, second) = (start(), start());
    let gateway = Gateway::builder()
        .own_provider("p1", &first.base_url(), "")
        .own_provider("p2", &second.base_url(), "")
        .ordered(&["p1"])
        .start();
    (first, second, gateway)
}

fn served_by(gateway: &Gateway) -> String {
    let answer = gateway.chat(&any());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-igris-provider").unwrap_or_default().to_owned()
}

/// The configuration with the other provider behind `any`.
fn switched(gateway: &Gateway, version: u32) -> String {
    let text = gateway.config().replace("version = 1\n", &format!("version = {version}\n"));
    text.replace(r#"{ provider = "p1", model = "gpt-4o" }"#, r#"{ provider = "p2", model = "gpt-4o" }"#)
}

#[test]
fn a_signal_puts_a_good_configuration_into_force() {
    let (_first, _second, gateway) = switchable();
    let mut kept = gateway.client();
    assert_eq!(kept.ask(&post(&any())).header("x-igris-provider"), Some("p1"));
    gateway.write_config(&switched(&gateway, 2));
    assert_eq!(served_by(&gateway), "p1", "nothing changes before it is asked for");
    gateway.signal("HUP");
    wait_until(SOON, "the new route is in force", || served_by(&gateway) == "p2");
    let answer = kept.ask(&post(&any()));
    assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some("p2")), "an old connection sees it, too");
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told_by_its_place() {
    let (_first, _second, gateway) = switchable();
    let good = switched(&gateway, 2);
    let table = [
        ("syntax", good.clone() + "\n[broken\n"),
        ("unknown key", good.replace("[server]\n", "[server]\nworkerz = 2\n")),
        ("unknown provider", good.replace(r#"provider = "p2""#, r#"provider = "p3""#)),
        ("wrong unit", good.replace("[server]\n", "[server]\ndrain_timeout = \"soon\"\n")),
    ];
    for (number, (name, text)) in table.into_iter().enumerate() {
        gateway.write_config(&text);
        gateway.signal("HUP");
        let places = || {
            let said = gateway.stdout() + &gateway.stderr();
            said.lines().filter(|line| has_place(line)).count()
        };
        wait_until(SOON, &format!("{name}: the log names file, line and column"), || places() > number);
        assert_eq!(served_by(&gateway), "p1", "{name}");
    }
    gateway.write_config(&good);
    gateway.signal("HUP");
    wait_until(SOON, "a good one is taken after bad ones", || served_by(&gateway) == "p2");
}

/// `igris.toml:LINE:COLUMN` somewhere in a line.
fn has_place(line: &str) -> bool {
    line.match_indices("igris.toml:").any(|(at, mark)| {
        let mut parts = line[at + mark.len()..].split(|letter: char| !letter.is_ascii_digit());
        parts.next().is_some_and(|line| !line.is_empty()) && parts.next().is_some_and(|column| !column.is_empty())
    })
}

#[test]
fn a_secret_that_is_missing_changes_nothing() {
    let (_first, _second, gateway) = switchable();
    let text = switched(&gateway, 2).replace("IGRIS_TEST_NARROW_KEY", "IGRIS_TEST_NO_SUCH_VARIABLE");
    gateway.write_config(&text);
    gateway.signal("HUP");
    let said = || gateway.stdout() + &gateway.stderr();
    wait_until(SOON, "the log names the variable", || said().contains("IGRIS_TEST_NO_SUCH_VARIABLE"));
    assert_eq!(served_by(&gateway), "p1");
}

#[test]
fn the_admin_socket_reloads_and_says_why_not() {
    let (_first, _second, gateway) = switchable();
    gateway.write_config(&switched(&gateway, 2));
    let answer = gateway.admin_ask("POST", "/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains('2'), "with the new version: {}", answer.text());
    wait_until(Duration::from_secs(1), "the new route is in force", || served_by(&gateway) == "p2");
    gateway.write_config(&(switched(&gateway, 3) + "\nnonsense = 1\n[broken\n"));
    let answer = gateway.admin_ask("POST", "/reload", "");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(has_place(&answer.text()), "with the reasons: {}", answer.text());
    assert_eq!(served_by(&gateway), "p2");
}

#[test]
fn reloads_under_traffic_lose_no_request() {
    let (first, second, gateway) = switchable();
    let (stop, address) = (AtomicBool::new(false), gateway.address());
    let served: usize = std::thread::scope(|scope| {
        let ask = || {
            let mut client = support::Client::connect(address);
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = client.ask(&post(&any()));
                assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
                served += 1;
            }
            served
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for round in 0..6 {
            let text = if round % 2 == 0 { switched(&gateway, round + 2) } else { gateway.config().to_owned() };
            gateway.write_config(&text);
            gateway.signal("HUP");
            std::thread::sleep(Duration::from_millis(150));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no request failed")).sum()
    });
    let (one, other) = (first.truth().counts().requests, second.truth().counts().requests);
    println!("{served} requests over six reloads: {one} and {other}");
    assert_eq!(served as u64, one + other);
    assert!(one > 0 && other > 0, "both routes were in force at some time");
}
