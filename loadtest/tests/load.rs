#![cfg(feature = "load")]
//! The program against its own mock: counts agree, every byte is checked, and the mock speaks what it is told to.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

#[test]
fn the_program_runs_against_its_own_mock() {
    let mut mock = Command::new(PROGRAM)
        .args(["mock", "--listen", "127.0.0.1:0", "--key", "sk-load-test-00000001", "--event-gap", "1ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut url = String::new();
    BufReader::new(mock.stdout.take().expect("piped")).read_line(&mut url).expect("its first line");
    let run = |more: &[&str]| {
        let common = ["run", "--url", url.trim(), "--stream", "--tokens", "5", "--verify", "--json", "-"];
        Command::new(PROGRAM).args(common).args(more).env_remove("IGRIS_LOAD_KEY").output().expect("the program runs")
    };
    let good = run(&["--rate", "100", "--duration", "300ms", "--key", "sk-load-test-00000001"]);
    let refused = run(&["--requests", "2", "--key", "sk-wrong-0000000000"]);
    let unusable = run(&["--rate", "5"]);
    let wrong_url = Command::new(PROGRAM).args(["run", "--url", "ftp://x", "--requests", "1"]).output();
    Command::new("kill").args(["-TERM", &mock.id().to_string()]).status().expect("kill runs");
    assert!(mock.wait().expect("it ends").success());
    let report: Value = serde_json::from_slice(&good.stdout).expect("JSON on standard output");
    // 4: a machine that is busy with other tests is told to be unfit.
    assert!(matches!(good.status.code(), Some(0 | 4)), "{report:#}");
    assert_eq!(
        (&report["outcomes"]["ok"], &report["mode"], &report["verified"]),
        (&30.into(), &"open".into(), &30.into())
    );
    assert!(matches!(refused.status.code(), Some(1 | 4)));
    assert_eq!(unusable.status.code(), Some(2));
    assert_eq!(wrong_url.expect("the program runs").status.code(), Some(2));
}

#[test]
fn the_mock_speaks_any_dialect() {
    for (dialect, end) in
        [("anthropic", ""), ("gemini", ""), ("bedrock", ""), ("cohere", ""), ("azure", ""), ("compatible", "/v1")]
    {
        let mut mock = Command::new(PROGRAM)
            .args(["mock", "--listen", "127.0.0.1:0", "--dialect", dialect])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut url = String::new();
        BufReader::new(mock.stdout.take().expect("piped")).read_line(&mut url).expect("its first line");
        Command::new("kill").args(["-TERM", &mock.id().to_string()]).status().expect("kill runs");
        assert!(mock.wait().expect("it ends").success());
        let (origin, path) = url.trim().split_at("http://127.0.0.1:".len());
        let digits = path.trim_start_matches(|letter: char| letter.is_ascii_digit());
        assert_eq!((origin, digits), ("http://127.0.0.1:", end), "{dialect}");
    }
    let wrong = Command::new(PROGRAM).args(["mock", "--dialect", "esperanto"]).output().expect("the program runs");
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("there are azure, bedrock, cohere, anthropic, gemini, openai, compatible"), "{said}");
}
