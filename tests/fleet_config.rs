//! Several gateways, one configuration: what one of them accepts all serve within a second, and an old file takes nobody back.

mod fleet;
mod support;

use fleet::{Ground, Load, Machine, or_skip, seen_by_all};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::{Client, bearer, chat, chat_of, post, post_with, wait_until};

/// What a change may take to be everywhere.
const SOON: Duration = Duration::from_secs(1);
/// What a start, or a database that comes back, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
/// An access key that only some configurations have.
const EXTRA_KEY: &str = "sk-igris-canary-extra-0123456789abcdef";

fn ground(machines: u8) -> Option<Ground> {
    or_skip(Ground::builder(machines).postgres().start())
}

/// Machines with the very same file and environment.
fn machines(ground: &Ground) -> Vec<Machine> {
    ground.machines(|_, builder| builder.common().env("IGRIS_TEST_EXTRA_KEY", EXTRA_KEY))
}

/// The file that all start with, as another version with further sections.
fn text(machine: &Machine, version: u32, more: &str) -> String {
    machine.config().replace("version = 1\n", &format!("version = {version}\n")) + more
}

/// A model that only some configurations have.
fn alias(name: &str) -> String {
    format!("[[models]]\nname = \"{name}\"\ntargets = [{{ provider = \"openai\", model = \"gpt-4o\" }}]\n")
}

fn extra_key() -> String {
    "[[access_keys]]\nname = \"extra\"\ntenant = \"default\"\nkey = { env = \"IGRIS_TEST_EXTRA_KEY\" }\nscopes = [\"inference\"]\n"
        .to_owned()
}

fn serves(machine: &Machine, model: &str) -> bool {
    machine.ask(&post(&chat_of(model, "hello", ""))).status == 200
}

fn opens(machine: &Machine, key: &str) -> bool {
    machine.ask(&post_with("/v1/chat/completions", &bearer(key), chat("hello").as_bytes())).status == 200
}

fn fleets(machine: &Machine) -> Value {
    machine.admin("/status").json()["fleet"]["config"].clone()
}

fn here(machine: &Machine) -> String {
    fleets(machine)["here"].as_str().unwrap_or_default().to_owned()
}

fn version(machine: &Machine) -> u64 {
    machine.admin("/config").json()["version"].as_u64().expect("a version")
}

/// What it says, it says a moment later.
#[track_caller]
fn says(machine: &Machine, words: &str) {
    wait_until(PATIENCE, words, || (machine.stdout() + &machine.stderr()).contains(words));
}

/// Pushes a configuration; answers the status and the body.
fn push(machine: &Machine, text: &str, query: &str) -> (u16, Value) {
    let mut client = Client::unix(&machine.home().join("admin.sock")).expect("the admin socket takes connections");
    let length = text.len();
    let head = format!(
        "PUT /config{query} HTTP/1.1\r\nhost: admin\r\ncontent-type: application/toml\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    let answer = client.ask(format!("{head}{text}").as_bytes());
    (answer.status, answer.json())
}

#[track_caller]
fn pushed(machine: &Machine, text: &str) {
    let (status, said) = push(machine, text, "");
    assert_eq!((status, &said["changed"]), (200, &json!(true)), "{said}");
}

fn generation(ground: &Ground) -> u64 {
    ground.sql("SELECT generation FROM igris.fleet").parse().expect("a number")
}

#[test]
fn what_one_machine_accepts_all_serve_within_a_second() {
    let Some(ground) = ground(3) else { return };
    let machines = machines(&ground);
    assert_eq!(ground.sql("SELECT count(*) FROM igris.fleet_config"), "1", "three starts with one file are one");
    let load = Load::on(&machines.iter().collect::<Vec<_>>(), 3);
    let before = generation(&ground);
    let mut took = Vec::new();
    for turn in 0..6_usize {
        let (machine, model) = (&machines[turn % 3], format!("alias-{turn}"));
        let key = if turn % 2 == 0 { extra_key() } else { String::new() };
        let changed = text(machine, turn as u32 + 2, &(alias(&model) + &key));
        if turn < 3 {
            pushed(machine, &changed);
        } else {
            machine.write_config(&changed);
            machine.signal("HUP");
        }
        took.push(seen_by_all(&machines, SOON, "the new model is served", |machine| serves(machine, &model)));
        seen_by_all(&machines, SOON, "the key is as the configuration has it", |machine| {
            opens(machine, EXTRA_KEY) == (turn % 2 == 0)
        });
        assert!(machines.iter().all(|machine| here(machine) == "applied"));
        let former = format!("alias-{}", turn.wrapping_sub(1));
        assert!(machines.iter().all(|machine| turn == 0 || !serves(machine, &former)), "it took the place of {former}");
    }
    println!("served by all after {took:?}");
    assert_eq!(generation(&ground), before + 6, "who follows stores nothing in the estate");
    assert_eq!(ground.sql("SELECT count(*) FROM igris.audit WHERE what = 'config.put'"), "6");
    assert_eq!(
        ground.sql("SELECT count(*) FROM igris.audit WHERE what = 'config.put' AND who NOT LIKE '% host:_%'"),
        "0"
    );
    assert_eq!(ground.sql("SELECT count(*) FROM igris.fleet_config WHERE text IS NOT NULL"), "1");
    let served = load.end();
    assert_eq!(served.failures, Vec::<String>::new());
    assert!(served.answered > 20, "{}", served.answered);
    for machine in &machines {
        assert_eq!(machine.admin_ask("POST", "/vault/verify", "{}").json()["whole"], true);
    }
}

#[test]
fn changes_on_all_machines_at_once_end_in_one_configuration() {
    let Some(ground) = ground(3) else { return };
    let machines = machines(&ground);
    for round in 0..3_u32 {
        std::thread::scope(|scope| {
            for machine in &machines {
                let number = machine.number as u32;
                scope.spawn(move || {
                    pushed(machine, &text(machine, 10 * round + number + 2, &alias(&format!("by-{number}"))))
                });
            }
        });
        let newest = ground.sql("SELECT version FROM igris.fleet_config ORDER BY number DESC LIMIT 1");
        seen_by_all(&machines, SOON, "all serve the last one", |machine| version(machine).to_string() == newest);
    }
    assert_eq!(ground.sql("SELECT max(number) FROM igris.fleet_config"), "10");
}

#[test]
fn an_old_file_takes_nobody_back_and_a_new_one_takes_all_along() {
    let Some(ground) = ground(3) else { return };
    let mut machines = machines(&ground);
    let old = text(&machines[0], 1, "");
    let load = Load::on(&[&machines[0], &machines[1]], 2);
    machines[2].kill();
    pushed(&machines[0], &text(&machines[0], 2, &alias("new")));
    machines[2].restart();
    assert_eq!(
        (version(&machines[2]), here(&machines[2]), serves(&machines[2], "new")),
        (2, "applied".to_owned(), true)
    );
    says(&machines[2], "is older than the configuration of the fleet");
    // By its own copy alone it knows as well, and so does a reload.
    machines[2].restart();
    let reloaded = machines[2].admin_ask("POST", "/reload", "");
    let said = reloaded.text();
    assert_eq!((reloaded.status, &reloaded.json()["changed"]), (200, &json!(false)), "{said}");
    assert!(said.contains("push the old one"), "{said}");
    assert!(machines.iter().all(|machine| version(machine) == 2));

    // Rolled out by file: the first one that starts with it takes all along, and nothing happens on the others.
    let rolled = text(&machines[0], 3, &alias("rolled"));
    machines.iter().for_each(|machine| machine.write_config(&rolled));
    machines[2].restart();
    seen_by_all(&machines, SOON, "the rolled out one is served", |machine| serves(machine, "rolled"));
    let number = fleets(&machines[0])["number"].clone();
    machines[2].restart();
    let reloaded = machines[1].admin_ask("POST", "/reload", "");
    assert_eq!(reloaded.json()["changed"], false, "{}", reloaded.text());
    assert!(machines.iter().all(|machine| fleets(machine)["number"] == number && version(machine) == 3));

    // Back on purpose.
    pushed(&machines[1], &old);
    seen_by_all(&machines, SOON, "the old one is served again", |machine| version(machine) == 1);
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn what_cannot_be_served_on_one_machine_is_said_there_and_repaired_there() {
    let Some(ground) = ground(3) else { return };
    let describe = |number: usize| {
        move |builder: support::Builder| match number {
            2 => builder.common(),
            _ => builder.common().env("IGRIS_TEST_EXTRA_KEY", EXTRA_KEY),
        }
    };
    let mut machines = ground.machines(|number, builder| describe(number)(builder));
    let load = Load::on(&machines.iter().collect::<Vec<_>>(), 3);
    pushed(&machines[0], &text(&machines[0], 2, &(alias("two") + &extra_key())));
    seen_by_all(&machines[..2], SOON, "two serve it", |machine| serves(machine, "two"));
    wait_until(SOON, "the third one says why not", || here(&machines[2]) == "refused");
    let trouble = fleets(&machines[2])["trouble"].as_str().expect("a sentence").to_owned();
    assert!(trouble.contains("IGRIS_TEST_EXTRA_KEY"), "{trouble}");
    says(&machines[2], "cannot be served here");
    let metric = |machine: &Machine| machine.admin("/metrics").text().contains("\nigris_fleet_config_refused 1");
    assert_eq!([metric(&machines[1]), metric(&machines[2])], [false, true]);
    assert_eq!((version(&machines[2]), opens(&machines[2], EXTRA_KEY)), (1, true), "keys are the estate's");
    // The next one repairs it.
    pushed(&machines[1], &text(&machines[0], 3, &alias("three")));
    seen_by_all(&machines, SOON, "all serve it", |machine| serves(machine, "three"));
    assert_eq!((here(&machines[2]), metric(&machines[2])), ("applied".to_owned(), false));
    assert_eq!(load.end().failures, Vec::<String>::new());

    // A file that is missing when a machine starts, and there when it is told to reload.
    let folder = tempdir("late");
    let file = folder.join("late.key");
    fs::write(&file, EXTRA_KEY).expect("written");
    let late =
        extra_key().replace("{ env = \"IGRIS_TEST_EXTRA_KEY\" }", &format!("{{ file = \"{}\" }}", file.display()));
    machines[2].kill();
    pushed(&machines[0], &text(&machines[0], 4, &(alias("four") + &late)));
    fs::remove_file(&file).expect("removed");
    machines[2].restart();
    assert_eq!((here(&machines[2]), version(&machines[2])), ("refused".to_owned(), 3), "it serves what it had");
    assert!(opens(&machines[0], EXTRA_KEY), "and ended nobody's key");
    fs::write(&file, EXTRA_KEY).expect("written");
    let reloaded = machines[2].admin_ask("POST", "/reload", "");
    assert_eq!((reloaded.status, version(&machines[2])), (200, 4), "{}", reloaded.text());
    assert_eq!((here(&machines[2]), serves(&machines[2], "four")), ("applied".to_owned(), true));
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn one_on_trial_is_its_machines_alone_until_it_has_passed() {
    let Some(ground) = ground(2) else { return };
    let mut machines = machines(&ground);
    pushed(&machines[0], &text(&machines[0], 2, &extra_key()));
    seen_by_all(&machines, SOON, "the key opens", |machine| opens(machine, EXTRA_KEY));
    let watched = |text: &str| {
        let (status, said) = push(&machines[0], text, "?watch=600s");
        assert_eq!(status, 200, "{said}");
    };
    let end = |how: &str| machines[0].admin_ask("POST", &format!("/rollout/{how}"), "").status;
    // The key goes with it, but not before it has passed.
    watched(&text(&machines[0], 3, &alias("canary")));
    assert_eq!((here(&machines[0]), serves(&machines[0], "canary")), ("on_trial".to_owned(), true));
    // What came after it has reached the other one, and it has not.
    assert_eq!(machines[0].admin_ask("POST", "/tenants", r#"{"id":"later"}"#).status, 201);
    wait_until(SOON, "the tenant is there", || machines[1].admin("/tenants/later").status == 200);
    assert_eq!((version(&machines[1]), here(&machines[1])), (2, "applied".to_owned()));
    assert!(!serves(&machines[1], "canary") && opens(&machines[1], EXTRA_KEY));
    assert_eq!(end("revert"), 200);
    assert_eq!((version(&machines[0]), here(&machines[0])), (2, "applied".to_owned()));
    assert_eq!(ground.sql("SELECT max(number) FROM igris.fleet_config"), "2", "nobody else ever heard of it");

    watched(&text(&machines[0], 4, &alias("good")));
    assert_eq!(end("accept"), 200);
    seen_by_all(&machines, SOON, "all serve it", |machine| serves(machine, "good") && !opens(machine, EXTRA_KEY));
    assert!(machines.iter().all(|machine| here(machine) == "applied"));

    // What another machine makes the fleet's ends a trial.
    watched(&text(&machines[0], 5, &alias("undecided")));
    pushed(&machines[1], &text(&machines[1], 6, &alias("decided")));
    seen_by_all(&machines, SOON, "all serve the other one", |machine| serves(machine, "decided"));
    says(&machines[0], "ended undecided");
    assert!(machines[0].admin("/rollout").json()["on_trial"].is_null());

    // A restart in the middle of a trial by file goes on with it, and tells nobody.
    let file = text(&machines[0], 7, &alias("by-file"));
    machines[0].write_config(&file);
    assert_eq!(machines[0].admin_ask("POST", "/reload?watch=600s", "").status, 200);
    machines[0].restart();
    assert_eq!((version(&machines[0]), here(&machines[0])), (7, "on_trial".to_owned()));
    assert_eq!(version(&machines[1]), 6);
    assert_eq!(machines[0].admin_ask("POST", "/rollout/accept", "").status, 200);
    seen_by_all(&machines, SOON, "all serve it", |machine| serves(machine, "by-file"));
}

#[test]
fn without_the_database_a_start_serves_the_fleets_and_keeps_a_new_file_for_later() {
    let Some(ground) = ground(3) else { return };
    let mut machines = machines(&ground);
    pushed(&machines[0], &text(&machines[0], 2, &alias("two")));
    seen_by_all(&machines, SOON, "all serve it", |machine| serves(machine, "two"));
    ground.postgres().kill();
    seen_by_all(&machines, PATIENCE, "they notice", |machine| {
        machine.admin("/status").json()["fleet"]["reachable"] == false
    });
    machines[2].restart();
    assert_eq!((version(&machines[2]), serves(&machines[2], "two")), (2, true), "its file is older");
    let (status, said) = push(&machines[0], &text(&machines[0], 3, ""), "");
    assert_eq!((status, version(&machines[0])), (503, 2), "{said}");
    // A new file is served by its machine, and by all once there is somebody to tell.
    machines[1].write_config(&text(&machines[1], 4, &alias("four")));
    machines[1].restart();
    assert_eq!((version(&machines[1]), here(&machines[1])), (4, "not_stored".to_owned()));
    assert_eq!(version(&machines[0]), 2);
    ground.postgres().start();
    seen_by_all(&machines, PATIENCE, "all serve the new file", |machine| serves(machine, "four"));
    seen_by_all(&machines, PATIENCE, "and say so", |machine| here(machine) == "applied");
}

#[test]
fn a_machine_that_was_cut_off_has_it_later_and_keeps_its_own_place() {
    // Each reaches the database by another address, which is in its file.
    let Some(ground) = or_skip(Ground::builder(2).postgres().wires().start()) else { return };
    let mut machines = machines(&ground);
    let load = Load::on(&machines.iter().collect::<Vec<_>>(), 2);
    let reachable = |machine: &Machine| machine.admin("/status").json()["fleet"]["reachable"] == true;
    ground.wire(1).hole();
    wait_until(PATIENCE, "it notices", || !reachable(&machines[1]));
    pushed(&machines[0], &text(&machines[0], 2, &alias("two")));
    assert!(!serves(&machines[1], "two"));
    ground.wire(1).heal();
    wait_until(PATIENCE, "it has it", || serves(&machines[1], "two"));
    assert_eq!(load.end().failures, Vec::<String>::new());
    // What it serves names the other one's address, which leads nowhere now.
    ground.wire(0).cut();
    wait_until(PATIENCE, "the other one is alone", || !reachable(&machines[0]));
    machines[1].restart();
    assert_eq!((reachable(&machines[1]), version(&machines[1]), here(&machines[1])), (true, 2, "applied".to_owned()));
}

#[test]
fn a_machine_that_is_killed_after_its_answer_has_told_all() {
    let Some(ground) = ground(3) else { return };
    let mut machines = machines(&ground);
    let load = Load::on(&[&machines[1], &machines[2]], 2);
    for turn in 0..4_u32 {
        let model = format!("alias-{turn}");
        pushed(&machines[0], &text(&machines[0], turn + 2, &alias(&model)));
        machines[0].kill();
        seen_by_all(&machines[1..], SOON, "the others serve it", |machine| serves(machine, &model));
        machines[0].restart();
        assert!(serves(&machines[0], &model), "and so does the machine itself, whose file is older");
    }
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn signatures_count_between_machines_too() {
    let Some(ground) = ground(2) else { return };
    let folder = tempdir("signed");
    let (secret, public) = (path(&folder, "a.key"), path(&folder, "a.pub"));
    igris(&["sign", "keygen", "--no-password", "--secret", &secret, "--public", &public]);
    let mut machines = machines(&ground);
    let versioned = |number: u32, more: &str| {
        let text = machines[0].config().to_owned();
        text.replace("version = 1\n", &format!("version = {number}\nconfig_id = \"prod\"\n")) + more
    };
    let texts = [versioned(2, ""), versioned(3, &alias("three")), versioned(4, &alias("four"))];
    let sign = |file: &str| igris(&["sign", "sign", file, "--secret", &secret]);
    for machine in &mut machines {
        machine.write_config(&texts[0]);
        sign(&path(machine.home(), "igris.toml"));
        let socket = path(machine.home(), "admin.sock");
        machine.gateway_mut().restart_with(&["--admin-socket", &socket, "--trust-key", &public]);
        machine.restart();
    }
    let put = |machine: &Machine, text: &str| {
        let file = path(&folder, "pushed.toml");
        fs::write(&file, text).expect("written");
        let _ = fs::remove_file(path(&folder, "pushed.toml.minisig"));
        sign(&file);
        igris(&["admin", "config", "--put", &file, "--socket", &path(machine.home(), "admin.sock")]);
    };
    put(&machines[0], &texts[1]);
    seen_by_all(&machines, SOON, "all serve what was signed", |machine| version(machine) == 3);
    // A row that nobody signed, by somebody who can write to the database.
    let forged = texts[2].replace('\'', "''");
    ground.sql(&format!(
        "BEGIN; UPDATE igris.fleet SET generation = generation + 1;
         INSERT INTO igris.fleet_config SELECT 90, 'forged', 'prod', 9, '{forged}', NULL, 'x', 0, generation FROM igris.fleet;
         NOTIFY igris_estate; COMMIT"
    ));
    seen_by_all(&machines, PATIENCE, "all refuse it", |machine| here(machine) == "refused");
    assert!(machines.iter().all(|machine| version(machine) == 3));
    let trouble = fleets(&machines[1])["trouble"].as_str().expect("a sentence").to_owned();
    assert!(trouble.contains("not signed"), "{trouble}");
    // An older file, and what was forged, change nothing at a start either; what is signed next counts.
    machines[1].restart();
    assert_eq!((version(&machines[1]), here(&machines[1])), (3, "refused".to_owned()));
    put(&machines[1], &texts[2]);
    seen_by_all(&machines, SOON, "all serve the next one", |machine| {
        version(machine) == 4 && here(machine) == "applied"
    });
    fs::remove_dir_all(folder).expect("removed");
}

fn tempdir(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("igris-fleet-config-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("made");
    folder
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("text").to_owned()
}

#[track_caller]
fn igris(words: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_igris")).args(words).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
