#![cfg(feature = "load")]
//! `igris-load run` as people use it: the first line of the manual works, wrong use names the fix, and Ctrl-C still reports.

use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("run").args(arguments).env_remove("IGRIS_LOAD_KEY").stdin(Stdio::null());
    command
}

fn run(url: &str, arguments: &[&str]) -> Output {
    command(&["--url", url]).args(arguments).output().expect("the program runs")
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {said}"))
}

/// Whether nothing failed. A machine that is busy with other tests is told to be unfit to measure, which is exit code 4.
fn went_well(output: &Output) -> bool {
    matches!(output.status.code(), Some(0 | 4))
}

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

/// A file of this test's own.
fn file(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("igris-load-run-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

#[test]
fn the_first_line_of_the_manual_works() {
    let simulator = simulator();
    let url = format!("{}/chat/completions", simulator.base_url());
    let page = file("first.html");
    let shown = run(&url, &["--rate", "100", "--duration", "1s", "--html", &page.to_string_lossy()]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(went_well(&shown), "{text} {}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.contains("100") && text.contains("ok"), "{text}");
    assert!(std::fs::read_to_string(&page).expect("a page").to_ascii_lowercase().starts_with("<!doctype html>"));
    let report = json(&run(
        &url,
        &["--rate", "100", "--duration", "500ms", "--stream", "--tokens", "7", "--verify", "--json", "-"],
    ));
    assert_eq!(
        (&report["outcomes"]["ok"], &report["verified"], &report["mode"]),
        (&50.into(), &50.into(), &"open".into())
    );
    assert!(report["ttft"]["p50"].as_f64().is_some_and(|micros| micros > 0.0), "{report:#}");
}

#[test]
fn a_result_is_a_scenario_that_reruns() {
    let simulator = simulator();
    let result = file("result.json");
    let place = result.to_string_lossy().into_owned();
    let arguments =
        ["--requests", "20", "--concurrency", "2", "--tokens", "3", "--seed", "5", "--key", "sk-secret-000000000000"];
    let first = run(&simulator.origin(), &[&arguments[..], &["--json", &place]].concat());
    assert!(went_well(&first), "{}", String::from_utf8_lossy(&first.stderr));
    let text = std::fs::read_to_string(&result).expect("a result");
    assert!(!text.contains("sk-secret"), "no key in a result");
    let again =
        command(&["--scenario", &place, "--json", "-"]).env("IGRIS_LOAD_KEY", "sk-secret-000000000000").output();
    let again = json(&again.expect("the program runs"));
    let first: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(again["plan"], first["plan"]);
    assert_eq!(again["outcomes"]["ok"], 20);
    let written =
        command(&["--scenario", &place, "--write-plan", "-"]).env("IGRIS_LOAD_KEY", "sk-secret-000000000000").output();
    let written = String::from_utf8(written.expect("the program runs").stdout).expect("text");
    assert!(written.contains("seed = 5") && !written.contains("sk-secret"), "{written}");
    assert_eq!(simulator.truth().counts().requests, 40, "--write-plan sends nothing");
}

#[test]
fn exit_codes_tell_what_happened() {
    let simulator = Simulator::builder().fault(Fault::status(503), When::Every(2)).start().expect("a loopback port");
    let code = |arguments: &[&str]| run(&simulator.origin(), arguments).status.code();
    assert!(matches!(code(&["--requests", "4"]), Some(1 | 4)), "requests failed, or the rig did");
    assert_eq!(code(&["--rate", "5"]), Some(2), "no end");
    assert_eq!(code(&["--rate", "5", "--duration", "1s", "--burst", "1..2,every=1s,for=1s"]), Some(2));
    let missing = run("http://127.0.0.1:1", &["--rate", "1", "--duration", "1s", "--scenario", "/nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read the scenario /nowhere.toml"));
}

#[test]
fn help_is_worth_reading() {
    let help = command(&["--help"]).output().expect("the program runs").stdout;
    let help = String::from_utf8(help).expect("text");
    for wanted in [
        "Whom to ask:",
        "When (one rhythm",
        "What to ask",
        "Means and judgement:",
        "igris-load run --url http://127.0.0.1:8081/v1/chat/completions --rate 200 --duration 30s",
        "lognormal:200,0.6",
        "Exit codes:",
        "goodput",
    ] {
        assert!(help.contains(wanted), "{wanted:?} is not in:\n{help}");
    }
}

/// The commands that a text shows, one a line, joined where a line goes on.
fn shown_commands(text: &str, name: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let after_comment = |line: &str| line.trim_start_matches(['#', ' ']).to_owned();
    let from_program = |line: String| line.find(name).map(|at| line[at..].to_owned());
    joined.lines().map(after_comment).filter_map(from_program).collect()
}

/// Runs a command as it is shown, by the shell, with this build as the program.
fn as_shown(line: &str, more: &str) -> Output {
    let line = line.replacen("igris-load", &format!("'{PROGRAM}'"), 1);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let key = "sk-test-000000000000";
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{line} {more}")]).current_dir(root).stdin(Stdio::null());
    shell.env("IGRIS_LOAD_KEY", key).env("ACME_KEY", key).env("BOLT_KEY", key).output().expect("the shell runs")
}

#[test]
fn every_command_that_is_shown_is_understood() {
    let help = command(&["--help"]).output().expect("the program runs").stdout;
    let mut texts = vec![String::from_utf8(help).expect("text")];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for entry in std::fs::read_dir(root.join("config/load")).expect("scenarios") {
        texts.push(std::fs::read_to_string(entry.expect("an entry").path()).expect("a file"));
    }
    texts.push(std::fs::read_to_string(root.join("docs/load-workload.md")).expect("a page"));
    let (mut runs, mut mocks) = (0, 0);
    for text in &texts {
        for line in shown_commands(text, "igris-load run --") {
            if line.contains("THIS-FILE") || line.contains("RESULT.json") {
                continue;
            }
            let output = as_shown(line.trim_end_matches('`'), "--write-plan -");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            runs += 1;
        }
        for line in shown_commands(text, "igris-load mock --") {
            let output = as_shown(&line, "--help");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            mocks += 1;
        }
    }
    assert!(runs >= 20 && mocks >= 7, "{runs} runs and {mocks} mocks were found");
}

#[test]
fn the_first_interrupt_reports() {
    let simulator = simulator();
    let mut running = command(&["--url", &simulator.origin(), "--rate", "50", "--duration", "60s", "--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let began = Instant::now();
    while simulator.truth().counts().completed < 20 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing arrives");
        std::thread::sleep(Duration::from_millis(10));
    }
    Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    let ended = loop {
        if running.try_wait().expect("it can be asked").is_some() {
            break running.wait_with_output().expect("it ended");
        }
        if began.elapsed() > Duration::from_secs(30) {
            running.kill().expect("it is ours");
            panic!("it goes on after SIGINT");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let report = json(&ended);
    assert!(report["outcomes"]["ok"].as_u64().is_some_and(|ok| ok >= 20), "{report:#}");
}
