//! The faces of a result: what a page, a picture and a saved file show of a run that really happened, against the simulator.

use igris_load::Simulator;
use igris_load::engine::Stop;
use igris_load::measure::Objective;
use igris_load::report::{Report, html};
use igris_load::simulator::{Fault, When};
use igris_load::workload::{Arrivals, Endpoint, Plan, Share, Span, Tenant};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A name with all that a page must not obey.
const MODEL: &str = "gpt-<4o>&\"";

fn plan(simulator: &Simulator) -> Plan {
    let share = |name: &str, stream| Share {
        name: name.into(),
        model: MODEL.into(),
        stream,
        include_usage: stream,
        ..Share::default()
    };
    Plan {
        name: "two <shares>".into(),
        endpoints: vec![Endpoint { url: simulator.base_url(), ..Endpoint::default() }],
        tenants: ["one", "two"].map(|name| Tenant { name: name.into(), ..Tenant::default() }).into(),
        arrivals: Arrivals::Constant { rate: 60.0 },
        duration: Some(Span(Duration::from_secs(3))),
        warm_up: Span(Duration::from_secs(1)),
        traffic: vec![share("streams", true), share("whole", false)],
        connections: 32,
        objectives: vec![Objective::Ttft { max: Span(Duration::from_secs(2)) }],
        watch_pid: Some(std::process::id()),
        ..Plan::default()
    }
}

fn measured() -> Report {
    let simulator = Simulator::builder()
        .latency(Duration::from_millis(5))
        .event_gap(Duration::from_millis(2))
        .tokens(8)
        .models([MODEL])
        .fault(Fault::Status { code: 500, retry_after: None, body: None }, When::Every(7))
        .start()
        .expect("the simulator starts");
    let report = Report::measure(&plan(&simulator), &Stop::default(), |_| {}).expect("the run is carried out");
    simulator.stop();
    report
}

#[test]
fn a_run_shows_itself_on_a_page_and_in_a_picture() {
    let report = measured();
    let document = html::document(&report);
    let page = html::page(&document);
    for part in [
        "two &lt;shares&gt; at 60 requests a second",
        "gpt-&lt;4o&gt;&amp;&quot;",
        "Latency by percentile",
        "Requests each second",
        "Failures each second",
        "Memory of the watched process",
        "server_error",
        "By share of the traffic",
        "By tenant",
        "Statuses of answers",
        "What the first failures looked like",
        "The tester itself, by thread",
        "Run it again",
        "scenario",
        report.stamp.word(),
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    assert!(!page.contains("NaN") && !page.contains("<shares>"));
    let again = Report::from_json(&report.to_json()).expect("it reads what it wrote");
    let reread = html::page(&html::document(&again));
    assert!(page == reread, "a saved result looks the same");
    let both = html::page(&html::overlay(&[("first".into(), report), ("second <run>".into(), again)]));
    for part in ["2 runs side by side", "TTFT by percentile", "second &lt;run&gt;", "Figures side by side"] {
        assert!(both.contains(part), "no {part:?}");
    }
}

/// The program with these words, and what it said.
fn igris_load(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_igris-load")).args(words).output().expect("the program starts")
}

/// A directory of its own that is gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-load-faces-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is in the way of nobody if it stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn saved_results_are_shown_again() {
    let simulator = Simulator::builder().start().expect("the simulator starts");
    let place = Place::new("report");
    let (json, first, second, both) = (place.at("a.json"), place.at("1.html"), place.at("2.html"), place.at("3.html"));
    let url = simulator.base_url();
    let run = igris_load(&["run", "--url", &url, "--requests", "20", "--json", &json, "--html", &first, "--quiet"]);
    assert!(matches!(run.status.code(), Some(0 | 4)), "{run:?}");
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "quiet: {run:?}");
    let png = place.at("a.png");
    let shown = igris_load(&["report", &json, "--html", &second, "--png", &png]);
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("20"), "the text as well");
    let read = |path: &str| std::fs::read(path).expect(path);
    assert!(read(&first) == read(&second), "the same page as when it was measured");
    assert_eq!(&read(&png)[..8], b"\x89PNG\r\n\x1a\n");
    let named = format!("again={json}");
    let two = igris_load(&["report", &json, &named, "--html", &both]);
    assert_eq!(two.status.code(), Some(0), "{two:?}");
    let page = String::from_utf8(read(&both)).expect("text");
    assert!(page.contains("2 runs side by side") && page.contains(">again<"));
    let missed = igris_load(&["report", &json, "--quiet", "--threshold", "p50(e2e)<1us"]);
    assert!(matches!(missed.status.code(), Some(3 | 4)), "{missed:?}");
}

#[test]
fn wrong_use_of_report_names_the_fix() {
    let place = Place::new("wrong");
    let said = |words: &[&str], code: i32| {
        let output = igris_load(words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let json = place.at("a.json");
    std::fs::write(&json, measured().to_json().to_string()).expect("written");
    assert!(said(&["report", &json, &json], 2).contains("--html FILE"));
    assert!(said(&["report", &json, &json, "--markdown", "-"], 2).contains("one file at a time"));
    assert!(said(&["report", &place.at("missing.json")], 1).contains("missing.json"));
    std::fs::write(&json, "{\"tool\":\"another\"}").expect("written");
    assert!(!said(&["report", &json], 1).is_empty());
}

/// What a terminal of this size shows of a run that is asked to stop with these keys, and its exit code.
fn in_a_terminal(url: &str, size: &str, keys: &'static [u8]) -> Option<(String, Option<i32>)> {
    let program = env!("CARGO_BIN_EXE_igris-load");
    let command = format!("stty {size}; exec {program} run --url {url} --rate 50 --duration 60s");
    let spawned = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut script) = spawned else {
        println!("skipped: there is no `script` here to make a terminal");
        return None;
    };
    let mut stdin = script.stdin.take().expect("piped");
    let mut stdout = script.stdout.take().expect("piped");
    let (told, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut all, mut room) = (Vec::new(), [0; 4096]);
        while let Ok(read) = stdout.read(&mut room) {
            if read == 0 {
                break;
            }
            all.extend_from_slice(&room[..read]);
            // A first second has been taken in and drawn: a time with its unit is there.
            let text = String::from_utf8_lossy(&all);
            if text.contains("ms") || text.contains("µs") {
                let _ = told.send(());
            }
        }
        all
    });
    let shown = seen.recv_timeout(Duration::from_secs(60));
    for key in keys {
        let _ = stdin.write_all(&[*key]).and_then(|()| stdin.flush());
        std::thread::sleep(Duration::from_millis(400));
    }
    let status = script.wait().expect("it ends");
    drop(stdin);
    let all = reader.join().expect("it reads to the end");
    assert!(shown.is_ok(), "nothing was shown: {}", String::from_utf8_lossy(&all));
    Some((String::from_utf8_lossy(&all).into_owned(), status.code()))
}

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

#[test]
fn a_key_ends_the_run_and_the_terminal_is_given_back() {
    let simulator = Simulator::builder().start().expect("the simulator starts");
    for keys in [b"q".as_slice(), b"\x03"] {
        let Some((shown, code)) = in_a_terminal(&simulator.base_url(), "rows 24 cols 80", keys) else { return };
        assert_eq!((shown.matches(ENTER).count(), shown.matches(LEAVE).count()), (1, 1), "{shown}");
        let after = shown.split(LEAVE).nth(1).expect("what came after");
        assert!(after.contains("ok") && after.contains("stopped"), "the result is told: {after}");
        assert!(matches!(code, Some(0 | 4)), "{code:?}");
    }
}

#[test]
fn a_second_key_ends_the_program_and_the_terminal_is_given_back() {
    // An answer that never comes keeps the run from ending by itself.
    let simulator = Simulator::builder()
        .fault(Fault::Stall { after_events: 0 }, When::Every(2))
        .start()
        .expect("the simulator starts");
    let Some((shown, code)) = in_a_terminal(&simulator.base_url(), "rows 12 cols 40", b"qq") else { return };
    assert!(shown.ends_with("\u{1b}[?25h") && shown.matches(LEAVE).count() == 1, "{shown}");
    assert_eq!(code, Some(130));
}

#[test]
fn without_a_terminal_there_is_a_line_each_second() {
    let simulator = Simulator::builder().start().expect("the simulator starts");
    let output = igris_load(&["run", "--url", &simulator.base_url(), "--rate", "40", "--duration", "3s"]);
    let lines = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(lines.lines().filter(|line| line.contains("in flight")).count() >= 2, "{lines}");
    assert!(!lines.contains('\u{1b}'), "{lines}");
    let silent =
        igris_load(&["run", "--url", &simulator.base_url(), "--rate", "40", "--duration", "2s", "--live", "never"]);
    assert!(silent.stderr.is_empty(), "{silent:?}");
}
