#![cfg(feature = "load")]
//! The tester against the simulator: counts agree on both sides, every byte is checked, and what goes wrong is told apart.

use igris_load::Simulator;
use igris_load::load::{Ending, Plan, Prompts, Report, Shape, Target, run};
use igris_load::simulator::{Fault, When};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

fn plan(simulator: &Simulator, stream: bool) -> Plan {
    Plan {
        target: Target::parse(&simulator.base_url()).expect("the simulator's URL"),
        prompts: Prompts {
            model: "gpt-4o".into(),
            stream,
            include_usage: false,
            tokens: Some(8),
            prompt_bytes: 300,
            seed: 9,
        },
        key: "sk-load-test-00000001".into(),
        connections: 4,
        shape: Shape::Closed { requests: 100, at_most: Some(Duration::from_secs(20)) },
        timeout: Duration::from_secs(5),
        verify: true,
        verify_model: None,
    }
}

fn endings(report: &Report, ending: Ending) -> (u64, u64) {
    (report.tally.ended(ending), report.tally.total())
}

#[test]
fn both_sides_count_the_same() {
    for (stream, usage) in [(false, false), (true, false), (true, true)] {
        let simulator = Simulator::builder().start().expect("a loopback port");
        let mut plan = plan(&simulator, stream);
        plan.prompts.include_usage = usage;
        let report = run(&plan).expect("the run starts");
        assert!(report.is_success(), "{report}");
        assert!(simulator.truth().wait_settled(Duration::from_secs(5)));
        let counts = simulator.truth().counts();
        assert_eq!((counts.requests, counts.completed, counts.completion_tokens), (100, 100, 800));
        assert_eq!((counts.events, counts.connections_opened), (report.tally.events, 4));
        assert_eq!((report.tally.verified, report.tally.connections), (100, 4));
        assert!(simulator.truth().violations().is_empty(), "{:?}", simulator.truth().violations());
        let json = report.to_json();
        for figure in ["p50", "p90", "p99", "p999", "min", "max", "mean"] {
            let (ttft, e2e) = (json["ttft"][figure].as_f64(), json["e2e"][figure].as_f64());
            assert!(ttft.expect(figure) > 0.0 && ttft <= e2e, "{figure}: {ttft:?} {e2e:?}");
        }
    }
}

#[test]
fn another_answer_is_a_mismatch() {
    let simulator = Simulator::builder().tokens(9).start().expect("a loopback port");
    let mut plan = plan(&simulator, false);
    plan.prompts.tokens = None;
    let report = run(&plan).expect("the run starts");
    assert_eq!(endings(&report, Ending::Mismatch), (100, 100), "nine words are not sixteen");
    plan.verify = false;
    assert!(run(&plan).expect("the run starts").is_success());
}

#[test]
fn every_failure_has_its_own_name() {
    let table = [
        (Fault::status(429), Ending::RateLimited),
        (Fault::status(404), Ending::Refused),
        (Fault::status(503), Ending::ServerError),
        (Fault::CloseBeforeResponse, Ending::Closed),
        (Fault::GarbageHead, Ending::Malformed),
        (Fault::CutMidEvent { after_events: 2 }, Ending::Truncated),
        (Fault::Reset { after_bytes: 600 }, Ending::Truncated),
        (Fault::ErrorInStream { after_events: 2 }, Ending::StreamError),
        (Fault::Stall { after_events: 1 }, Ending::Timeout),
    ];
    for (fault, ending) in table {
        let simulator = Simulator::builder().fault(fault.clone(), When::Every(4)).start().expect("a loopback port");
        let mut plan = plan(&simulator, true);
        plan.shape = Shape::Closed { requests: 12, at_most: None };
        plan.timeout = Duration::from_millis(300);
        let report = run(&plan).expect("the run starts");
        assert_eq!(endings(&report, ending), (3, 12), "{fault:?} gave {report}");
        assert_eq!(report.tally.ended(Ending::Ok), 9, "{fault:?}");
    }
    let simulator = Simulator::builder().start().expect("a loopback port");
    let mut plan = plan(&simulator, true);
    simulator.stop();
    plan.shape = Shape::Closed { requests: 3, at_most: None };
    assert_eq!(endings(&run(&plan).expect("the run starts"), Ending::Connect), (3, 3));
}

#[test]
fn a_schedule_counts_from_the_planned_instant() {
    // One connection, answers of 50 ms, one request every 10 ms: the last of 20 waits about 19 times 40 ms.
    let simulator = Simulator::builder().latency(Duration::from_millis(50)).start().expect("a loopback port");
    let mut plan = plan(&simulator, false);
    plan.connections = 1;
    plan.shape = Shape::Open { rate: 100.0, duration: Duration::from_millis(200) };
    let report = run(&plan).expect("the run starts");
    assert_eq!(endings(&report, Ending::Ok), (20, 20));
    let worst_ms = report.tally.e2e.max() / 1_000_000;
    assert!(worst_ms >= 760, "the queue must be part of the latency, got {worst_ms} ms");
}

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
    let wrong_url = Command::new(PROGRAM).args(["run", "--url", "https://x", "--requests", "1"]).output();
    Command::new("kill").args(["-TERM", &mock.id().to_string()]).status().expect("kill runs");
    assert!(mock.wait().expect("it ends").success());
    let report: Value = serde_json::from_slice(&good.stdout).expect("JSON on standard output");
    assert_eq!(good.status.code(), Some(0), "{report:#}");
    assert_eq!(
        (&report["outcomes"]["ok"], &report["mode"], &report["verified"]),
        (&30.into(), &"open".into(), &30.into())
    );
    assert_eq!(refused.status.code(), Some(1));
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
