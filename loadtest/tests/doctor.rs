#![cfg(feature = "load")]
//! `igris-load doctor` on whatever machine this is: its lines have their parts, and a rig made bad on purpose is called bad.

use serde_json::Value;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

fn shell(script: &str) -> Output {
    Command::new("sh").args(["-c", script, PROGRAM]).output().expect("a shell")
}

fn findings(output: &Output) -> (Value, Vec<Value>) {
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on standard output");
    let findings = json["findings"].as_array().expect("a list").clone();
    (json, findings)
}

#[test]
fn every_line_has_its_figure_and_what_is_wrong_has_its_remedy() {
    let output = shell("exec \"$0\" doctor --quick --json");
    let (json, findings) = findings(&output);
    let named: Vec<_> = findings.iter().filter_map(|finding| finding["check"].as_str()).collect();
    for check in ["cores", "frequency", "open files", "cpu quota", "clock", "timers", "loopback", "wake-up"] {
        assert!(named.contains(&check), "{check} is missing of {named:?}");
    }
    let mut worst = "ok";
    for finding in &findings {
        let level = finding["level"].as_str().expect("a word");
        assert!(!finding["figure"].as_str().expect("text").is_empty(), "{finding}");
        for part in ["effect", "remedy"] {
            assert_eq!(finding[part].as_str().expect("text").is_empty(), level == "ok", "{finding}");
        }
        worst = match (worst, level) {
            (_, "bad") | ("bad", _) => "bad",
            (_, "warn") | ("warn", _) => "warn",
            _ => "ok",
        };
    }
    assert_eq!(json["worst"], worst);
    assert_eq!(output.status.code(), Some(if worst == "bad" { 4 } else { 0 }));
}

#[test]
fn too_few_descriptors_are_bad_whatever_else_is_well() {
    let output = shell("ulimit -n 64 && exec \"$0\" doctor --quick --json");
    let (json, findings) = findings(&output);
    let files = findings.iter().find(|finding| finding["check"] == "open files").expect("its line");
    assert_eq!((&files["level"], &json["worst"]), (&"bad".into(), &"bad".into()), "{files}");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn the_text_ends_with_a_judgement_and_the_file_holds_the_same() {
    let file = std::env::temp_dir().join(format!("igris-load-doctor-{}.json", std::process::id()));
    let output = Command::new(PROGRAM).args(["doctor", "--quick", "--json"]).arg(&file).output().expect("the program");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let json: Value = serde_json::from_slice(&std::fs::read(&file).expect("the file")).expect("JSON");
    std::fs::remove_file(&file).expect("our own file");
    assert!(text.contains("timers") && text.lines().last().expect("a line").ends_with('.'), "{text}");
    assert_eq!(text.contains("BAD "), json["worst"] == "bad", "{text}");
}
