//! Several gateways, one estate in a real PostgreSQL: what one changes all have within a second, and who is cut off serves on.

mod fleet;
mod support;

use fleet::{Ground, Load, Machine, or_skip, seen_by_all};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::{Answer, Gateway, bearer, chat, post_with, wait_until};

/// What a change may take to be everywhere.
const SOON: Duration = Duration::from_secs(1);
/// What a start, or a database that comes back, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

fn ground(describe: impl FnOnce(fleet::GroundBuilder) -> fleet::GroundBuilder) -> Option<Ground> {
    or_skip(describe(Ground::builder(3).postgres()).start())
}

fn status(machine: &Machine) -> Value {
    machine.admin("/status").json()["fleet"].clone()
}

fn generation(machine: &Machine) -> u64 {
    status(machine)["generation"].as_u64().expect("a number")
}

/// Makes an access key on a machine: its id and its text.
fn make_key(machine: &Machine, name: &str) -> (String, String) {
    let body = json!({ "name": name, "scopes": ["inference"] });
    let made = machine.admin_ask("POST", "/access-keys", &body.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    let view = made.json();
    let text = |member: &str| view[member].as_str().unwrap_or_else(|| panic!("no `{member}`: {view}")).to_owned();
    (text("id"), text("key"))
}

fn ask_with(machine: &Machine, key: &str) -> u16 {
    machine.ask(&post_with("/v1/chat/completions", &bearer(key), chat("hello").as_bytes())).status
}

fn refused(answer: &Answer) -> String {
    assert_eq!(answer.status, 503, "{}", answer.text());
    answer.json()["error"]["message"].as_str().expect("a sentence").to_owned()
}

#[test]
fn what_one_machine_changes_all_have_within_a_second() {
    let Some(ground) = ground(|builder| builder) else { return };
    let machines = ground.machines(|_, builder| builder);
    let load = Load::on(&machines.iter().collect::<Vec<_>>(), 2);
    for turn in 0..3 {
        let (id, key) = make_key(&machines[turn], &format!("key-{turn}"));
        seen_by_all(&machines, SOON, "the new key opens", |machine| ask_with(machine, &key) == 200);
        let revoking = &machines[(turn + 1) % 3];
        let revoked = revoking.admin_ask("DELETE", &format!("/access-keys/{id}"), "");
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        seen_by_all(&machines, SOON, "the key opens nothing any more", |machine| ask_with(machine, &key) == 401);
    }
    let tenant = machines[1].admin_ask("POST", "/tenants", r#"{"id":"acme"}"#);
    assert_eq!(tenant.status, 201, "{}", tenant.text());
    let has = |machine: &Machine| machine.admin("/tenants/acme").status;
    seen_by_all(&machines, SOON, "the tenant is there", |machine| has(machine) == 200);
    let gone = machines[2].admin_ask("DELETE", "/tenants/acme", "");
    assert_eq!(gone.status, 200, "{}", gone.text());
    seen_by_all(&machines, SOON, "the tenant is gone", |machine| has(machine) == 404);
    let served = load.end();
    assert_eq!(served.failures, Vec::<String>::new());
    assert!(served.answered > 20, "{}", served.answered);
    // A budget binds where it was not set, and no longer once it is taken away.
    let path = "/v1/tenants/default/budget";
    let set = machines[2].ask(&post_with(path, &bearer(support::ACCESS_KEY), br#"{"budget":"$0.000001/month"}"#));
    assert_eq!(set.status, 200, "{}", set.text());
    seen_by_all(&machines, SOON, "the budget refuses", |machine| ask_with(machine, support::INFERENCE_KEY) == 402);
    let gone = machines[1].ask(&support::bare("DELETE", path, &bearer(support::ACCESS_KEY)));
    assert_eq!(gone.status, 200, "{}", gone.text());
    seen_by_all(&machines, SOON, "nothing refuses", |machine| ask_with(machine, support::INFERENCE_KEY) == 200);
    // One log, written by all of them in turns, and whole.
    for machine in &machines {
        let proof = machine.admin_ask("POST", "/vault/verify", "{}");
        assert_eq!(proof.json()["whole"], true, "{}", proof.text());
    }
    let generations: Vec<u64> = machines.iter().map(generation).collect();
    assert!(generations.iter().all(|one| *one == generations[0] && *one > 8), "{generations:?}");
    let digests = ground.sql("SELECT count(*) FROM igris.access_keys WHERE revoked IS NOT NULL");
    assert_eq!(digests, "3");
}

#[test]
fn machines_that_cannot_listen_ask_often_enough() {
    let Some(ground) = ground(|builder| builder.parameters("?listen=no")) else { return };
    let machines = ground.machines(|_, builder| builder);
    for machine in &machines {
        assert_eq!(
            (status(machine)["listens"].clone(), status(machine)["reachable"].clone()),
            (json!(false), json!(true))
        );
    }
    for turn in 0..3 {
        let (_, key) = make_key(&machines[turn], &format!("key-{turn}"));
        seen_by_all(&machines, SOON, "the new key opens", |machine| ask_with(machine, &key) == 200);
    }
}

#[test]
fn many_changes_at_once_all_come_through() {
    let Some(ground) = ground(|builder| builder) else { return };
    let machines = ground.machines(|_, builder| builder);
    std::thread::scope(|scope| {
        for machine in &machines {
            scope.spawn(move || {
                for number in 0..8 {
                    make_key(machine, &format!("key-{}-{number}", machine.number));
                }
            });
        }
    });
    seen_by_all(&machines, SOON, "all keys are there", |machine| {
        let listed = machine.admin("/access-keys").json();
        let rows = listed["data"].as_array().expect("a list");
        rows.iter().filter(|row| row["name"].as_str().is_some_and(|name| name.starts_with("key-"))).count() == 24
    });
    for machine in &machines {
        assert_eq!(machine.admin_ask("POST", "/vault/verify", "{}").json()["whole"], true);
    }
}

#[test]
fn without_its_database_a_machine_serves_says_so_and_starts() {
    let Some(ground) = ground(|builder| builder) else { return };
    let mut machines = ground.machines(|_, builder| builder);
    let (_, key) = make_key(&machines[0], "before");
    seen_by_all(&machines, SOON, "the key opens", |machine| ask_with(machine, &key) == 200);
    let load = Load::on(&[&machines[0], &machines[1]], 2);
    ground.postgres().kill();
    seen_by_all(&machines, PATIENCE, "they notice", |machine| status(machine)["reachable"] == false);
    let body = json!({ "name": "late", "scopes": ["inference"] }).to_string();
    let sentence = refused(&machines[0].admin_ask("POST", "/access-keys", &body));
    assert!(sentence.contains("the database cannot be reached"), "{sentence}");
    // A machine that starts without it has what it had.
    machines[2].kill();
    wait_until(PATIENCE, "nobody listens any more", || machines[2].try_client().is_err());
    machines[2].restart();
    assert_eq!(ask_with(&machines[2], &key), 200);
    assert_eq!(status(&machines[2])["reachable"], false);
    assert_eq!(machines[2].chat(&chat("alone")).status, 200);
    let metrics = machines[2].admin("/metrics").text();
    assert!(metrics.contains("\nigris_fleet_reachable 0"), "{metrics}");

    ground.postgres().start();
    seen_by_all(&machines, PATIENCE, "they find it again", |machine| status(machine)["reachable"] == true);
    let (_, late) = make_key(&machines[1], "late");
    seen_by_all(&machines, SOON, "the new key opens", |machine| ask_with(machine, &late) == 200);
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn a_machine_that_was_cut_off_catches_up() {
    let Some(ground) = ground(|builder| builder.wires()) else { return };
    let machines = ground.machines(|_, builder| builder);
    let (id, key) = make_key(&machines[0], "one");
    seen_by_all(&machines, SOON, "the key opens", |machine| ask_with(machine, &key) == 200);
    let load = Load::on(&machines.iter().collect::<Vec<_>>(), 3);
    ground.wire(2).hole();
    wait_until(PATIENCE, "it notices", || status(&machines[2])["reachable"] == false);
    assert_eq!(machines[1].admin_ask("DELETE", &format!("/access-keys/{id}"), "").status, 200);
    seen_by_all(&machines[..2], SOON, "the key is revoked", |machine| ask_with(machine, &key) == 401);
    assert_eq!(ask_with(&machines[2], &key), 200, "who is cut off knows what it knew");
    let sentence = refused(&machines[2].admin_ask("POST", "/tenants", r#"{"id":"nobody"}"#));
    assert!(sentence.contains("cannot be reached"), "{sentence}");
    ground.wire(2).heal();
    seen_by_all(&machines, PATIENCE, "it knows", |machine| ask_with(machine, &key) == 401);
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn a_rotation_is_taken_up_and_decided_once_by_whoever_lives() {
    let Some(ground) =
        ground(|builder| builder.provider(|provider| provider.keys(["sk-old-0123456789", "sk-new-0123456789"])))
    else {
        return;
    };
    let mut machines = ground.machines(|_, builder| builder.key(None));
    let path = "/v1/tenants/default/providers/openai/keys";
    let post = |machine: &Machine, path: &str, body: &str| {
        machine.ask(&post_with(path, &bearer(support::ACCESS_KEY), body.as_bytes()))
    };
    assert_eq!(post(&machines[0], path, r#"{"api_key":"sk-old-0123456789"}"#).status, 201);
    seen_by_all(&machines, SOON, "all serve with the key", |machine| machine.chat(&chat("first")).status == 200);
    let body = r#"{"new_api_key":"sk-new-0123456789","grace_period_minutes":15}"#;
    let begun = post(&machines[0], &format!("{path}/rotate"), body);
    assert_eq!(begun.status, 200, "{}", begun.text());
    let id = begun.json()["rotation_id"].as_str().expect("an id").to_owned();
    let place = format!("/v1/tenants/default/providers/openai/rotations/{id}");
    let view = |machine: &Machine| machine.ask(&support::bare("GET", &place, &bearer(support::ACCESS_KEY)));
    seen_by_all(&machines, SOON, "all know of the rotation", |machine| view(machine).status == 200);
    let load = Load::on(&[&machines[1], &machines[2]], 2);
    machines[0].kill();
    let done = post(&machines[2], &format!("{place}/complete"), "{}");
    assert_eq!(done.status, 200, "{}", done.text());
    seen_by_all(&machines[1..], SOON, "the new key serves", |machine| view(machine).json()["state"] == "promoted");
    let twice = post(&machines[1], &format!("{place}/complete"), "{}");
    assert_eq!(twice.status, 409, "{}", twice.text());
    machines[0].restart();
    assert_eq!(view(&machines[0]).json()["state"], "promoted");
    assert_eq!(load.end().failures, Vec::<String>::new());
    let steps = ground.sql("SELECT count(*) FROM igris.audit WHERE what = 'rotation.complete'");
    assert_eq!(steps, "1");
}

#[test]
fn three_machines_on_a_network_lose_no_request_whatever_is_taken_from_them() {
    let Some(ground) = ground(|builder| builder.namespaces()) else { return };
    let mut machines = ground.machines(|_, builder| builder);
    let (id, key) = make_key(&machines[0], "kept");
    seen_by_all(&machines, SOON, "the key opens", |machine| ask_with(machine, &key) == 200);
    // Clients of the two that stay find their machine at every instant; those of the third walk round it.
    let strict = [Load::on(&[&machines[0]], 2), Load::on(&[&machines[1]], 2)];
    let balanced = Load::on(&[&machines[2], &machines[0]], 2);

    let budget = machines[1].ask(&post_with(
        "/v1/tenants/default/budget",
        &bearer(support::ACCESS_KEY),
        br#"{"budget":"$500/month"}"#,
    ));
    assert_eq!(budget.status, 200, "{}", budget.text());
    let budgets = |machine: &Machine| machine.admin("/budgets").text();
    seen_by_all(&machines, SOON, "the budget is known", |machine| budgets(machine).contains("500"));

    ground.net().partition(1);
    wait_until(PATIENCE, "it notices that it is cut off", || status(&machines[1])["reachable"] == false);
    assert_eq!(machines[0].admin_ask("DELETE", &format!("/access-keys/{id}"), "").status, 200);
    let others = [&machines[0], &machines[2]];
    wait_until(SOON, "the two others refuse the key", || others.iter().all(|machine| ask_with(machine, &key) == 401));
    machines[2].kill();
    let (_, while_gone) = make_key(&machines[0], "while one is gone");
    ground.postgres().kill();
    wait_until(PATIENCE, "the database is missed", || status(&machines[0])["reachable"] == false);
    machines[2].restart();
    // It was killed before it could hear of the last change, and has what it had.
    assert_eq!((ask_with(&machines[2], &key), ask_with(&machines[2], &while_gone)), (401, 401));
    assert_eq!(machines[2].chat(&chat("without its database")).status, 200);

    ground.postgres().start();
    ground.net().heal(1);
    seen_by_all(&machines, PATIENCE, "all have found it", |machine| status(machine)["reachable"] == true);
    seen_by_all(&machines, PATIENCE, "all refuse the revoked key", |machine| ask_with(machine, &key) == 401);
    seen_by_all(&machines, PATIENCE, "all know the new one", |machine| ask_with(machine, &while_gone) == 200);
    for load in strict.into_iter().chain([balanced]) {
        let served = load.end();
        assert_eq!(served.failures, Vec::<String>::new());
        assert!(served.answered > 20, "{}", served.answered);
    }
    // Each has alarms of its own to join to the list of all, so that the estate moves on for a moment.
    wait_until(PATIENCE, "all are equally far", || {
        let generations: Vec<u64> = machines.iter().map(generation).collect();
        generations.iter().all(|one| *one == generations[0])
    });
    for machine in &machines {
        assert_eq!(machine.admin_ask("POST", "/vault/verify", "{}").json()["whole"], true);
    }
}

#[test]
fn an_encrypted_database_is_one_that_is_verified() {
    let described = Ground::builder(1).postgres_with(fleet::PostgresBuilder::tls);
    let Some(ground) = or_skip(described.start()) else { return };
    let authority = ground.postgres().ca_file().expect("it has one");
    let root = "[vault]\nroot_key = { env = \"IGRIS_ROOT\" }\n";
    let store = |parameters: &str| format!("[store]\nurl = \"{}?{parameters}\"\n{root}", ground.store_url(0));
    let folder = tempdir().join("tls");
    std::fs::create_dir_all(&folder).expect("made");
    let config = folder.join("igris.toml");
    // The server takes no plain connection, and its authority is not one of the system's.
    for (parameters, why) in [("sslmode=disable", "no encryption"), ("sslmode=verify-full", "certificate")] {
        std::fs::write(&config, format!("version = 1\n{}", store(parameters))).expect("written");
        let data = folder.join("data");
        let words = ["serve", "--config", config.to_str().expect("text"), "--data-dir", data.to_str().expect("text")];
        let (ok, said) = igris(&words);
        assert!(!ok && said.contains(why), "{parameters}: {said}");
    }
    std::fs::remove_dir_all(folder).expect("removed");
    let gateway = Gateway::builder()
        .provider("openai", &ground.provider)
        .env("IGRIS_ROOT", fleet::ROOT_KEY)
        .config_toml(&store(&format!("sslmode=verify-full&sslrootcert={}", authority.display())))
        .start();
    assert_eq!(gateway.chat(&chat("over TLS")).status, 200);
    assert_eq!(gateway.admin("/status").json()["fleet"]["reachable"], true);
}

fn tempdir() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("igris-fleet-estate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    folder
}

/// `igris` with these words, in the environment of a machine: what it printed, and whether it was content.
fn igris(words: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    let output = command.args(words).env("IGRIS_ROOT", fleet::ROOT_KEY).output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn an_estate_is_carried_into_a_database_and_out_again() {
    let Some(ground) = or_skip(Ground::builder(1).postgres().start()) else { return };
    let root = "[vault]\nroot_key = { env = \"IGRIS_ROOT\" }\n";
    let mut gateway = Gateway::builder()
        .provider("openai", &ground.provider)
        .env("IGRIS_ROOT", fleet::ROOT_KEY)
        .config_toml(root)
        .start();
    let made = gateway.admin_ask("POST", "/access-keys", r#"{"name":"carried","scopes":["inference"]}"#).json();
    let key = made["key"].as_str().expect("a text").to_owned();
    let ask = |gateway: &Gateway| {
        gateway.ask(&post_with("/v1/chat/completions", &bearer(&key), chat("hello").as_bytes())).status
    };
    assert_eq!(ask(&gateway), 200);
    let (data, file) = (gateway.home().join("data"), gateway.home().join("igris.toml"));
    let (data, file) = (data.to_str().expect("text").to_owned(), file.to_str().expect("text").to_owned());
    let alone = gateway.config().to_owned();
    let shared = format!("{alone}\n[store]\nurl = \"{}\"\n", ground.store_url(0));
    let migrate = |more: &[&str]| {
        igris(&[&["admin", "store", "migrate", "--data-dir", &data, "--config", &file, "--json"], more].concat())
    };
    gateway.write_config(&shared);
    let (ok, said) = migrate(&[]);
    assert!(!ok && said.contains("another igris uses"), "{said}");
    gateway.kill();
    let (ok, said) = migrate(&[]);
    assert!(ok && said.contains("\"generation\":1"), "{said}");
    let (ok, said) = migrate(&[]);
    assert!(!ok && said.contains("is a copy of an estate"), "{said}");
    gateway.restart();
    assert_eq!((ask(&gateway), gateway.admin("/status").json()["fleet"]["reachable"].clone()), (200, json!(true)));
    // A second machine with nothing of its own has all of it.
    let second = Gateway::builder()
        .provider("openai", &ground.provider)
        .env("IGRIS_ROOT", fleet::ROOT_KEY)
        .config_toml(&format!("{root}[store]\nurl = \"{}\"\n", ground.store_url(0)))
        .start();
    assert_eq!(ask(&second), 200);
    let later = second.admin_ask("POST", "/tenants", r#"{"id":"later"}"#);
    assert_eq!(later.status, 201, "{}", later.text());
    drop(second);
    gateway.kill();

    let copy = format!("sqlite:{data}/copied/estate.db");
    let (ok, said) = igris(&["admin", "store", "copy", "--to", &copy, "--config", &file, "--data-dir", &data]);
    assert!(ok, "{said}");
    let (ok, said) = igris(&["admin", "store", "copy", "--to", &copy, "--config", &file, "--data-dir", &data]);
    assert!(!ok && said.contains("exists already"), "{said}");
    let (ok, said) = igris(&[
        "vault",
        "verify",
        "--config",
        &file,
        "--store",
        &format!("{data}/copied/estate.db"),
        "--insecure-dumps",
    ]);
    assert!(ok, "{said}");

    let (ok, said) = migrate(&["--back"]);
    assert!(ok, "{said}");
    gateway.write_config(&alone);
    ground.postgres().stop();
    gateway.restart();
    assert_eq!(ask(&gateway), 200);
    assert_eq!(gateway.admin("/tenants/later").status, 200, "what was changed on the other machine came along");
    assert_eq!(gateway.admin_ask("POST", "/tenants", r#"{"id":"own"}"#).status, 201);
    assert!(gateway.admin("/status").json()["fleet"].is_null());
}

#[test]
fn a_machine_with_another_root_key_or_none_is_refused_with_the_remedy() {
    let Some(ground) = or_skip(Ground::builder(1).postgres().start()) else { return };
    let folder = tempdir().join("root");
    std::fs::create_dir_all(&folder).expect("made");
    let config = folder.join("igris.toml");
    let text = format!("version = 1\n[store]\nurl = \"{}\"\n", ground.store_url(0));
    std::fs::write(&config, &text).expect("written");
    let data = folder.join("data");
    let words = ["serve", "--config", config.to_str().expect("text"), "--data-dir", data.to_str().expect("text")];
    let (ok, said) = igris(&words);
    assert!(!ok && said.contains("share its root key"), "{said}");
    assert!(!data.join("root.key").exists(), "none is made behind the owner's back");
    let first = ground.machine(0, |builder| builder);
    assert_eq!(first.chat(&chat("first")).status, 200);
    std::fs::write(&config, format!("{text}[vault]\nroot_key = {{ env = \"OTHER\" }}\n")).expect("written");
    let mut other = Command::new(env!("CARGO_BIN_EXE_igris"));
    let output = other.args(words).env("OTHER", "ab".repeat(32)).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("root key"), "{said}");
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn a_machine_that_is_upgraded_keeps_its_place_among_the_others() {
    let Some(ground) = or_skip(Ground::builder(2).postgres().start()) else { return };
    let mut machines = ground.machines(|_, builder| builder);
    let load = Load::on(&[&machines[0]], 2);
    let before = machines[0].pid();
    let upgraded = machines[0].gateway_mut().upgrade("{}");
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    let (_, key) = make_key(&machines[1], "after");
    seen_by_all(&machines, SOON, "the new process hears of it", |machine| ask_with(machine, &key) == 200);
    let (_, own) = make_key(&machines[0], "by the new process");
    seen_by_all(&machines, SOON, "and is heard", |machine| ask_with(machine, &own) == 200);
    assert_ne!(machines[0].admin("/status").json()["pid"], json!(before));
    assert_eq!(load.end().failures, Vec::<String>::new());
}

/// What a database that is there, slow, silent and gone costs requests: figures, for people.
#[test]
#[ignore = "a measurement"]
fn what_a_database_costs_requests() {
    let ground = ground(|builder| builder.wires()).expect("a database");
    let machines = ground.machines(|_, builder| builder);
    let round = |name: &str| {
        let before: Vec<Duration> = machines.iter().map(|machine| machine.cpu()).collect();
        let load = Load::on(&machines.iter().collect::<Vec<_>>(), 3);
        std::thread::sleep(Duration::from_secs(6));
        let served = load.end();
        let spent: Duration = machines.iter().zip(before).map(|(machine, before)| machine.cpu() - before).sum();
        let each = spent.as_micros() as f64 / served.answered as f64;
        println!(
            "{name:<8} {:>6} answered, {} failed, p50 {:?}, p99 {:?}, {each:.0} us of processor time each",
            served.answered,
            served.failures.len(),
            served.quantile(0.5),
            served.quantile(0.99),
        );
    };
    for _ in 0..3 {
        round("present");
        ground.wires().iter().for_each(|wire| wire.delay(Duration::from_millis(500)));
        round("slow");
        ground.wires().iter().for_each(|wire| wire.hole());
        round("silent");
        ground.wires().iter().for_each(|wire| wire.cut());
        round("gone");
        ground.wires().iter().for_each(|wire| {
            wire.delay(Duration::ZERO);
            wire.heal();
        });
        seen_by_all(&machines, PATIENCE, "they find it again", |machine| status(machine)["reachable"] == true);
    }
}
