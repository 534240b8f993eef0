//! `igris-load compare` on saved results whose truth is known: its words, its exit codes, and what it refuses.

use igris_load::measure::{Interval, Measured, Outcome, Reason, Second, Stamp, Sums, Timings, Weight};
use igris_load::report::{Machine, Report};
use igris_load::workload::{Arrivals, Plan};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

/// A result of so many seconds at 200 requests a second whose latencies spread about a median, the same way in every second.
fn report(seconds: u64, median_us: u64, failed_each: u64) -> Report {
    let mut whole = (Sums::default(), Timings::default());
    let mut rows = Vec::new();
    for second in 0..seconds {
        let mut interval = Interval::new(second);
        for number in 0..200_u64 {
            // From half the median to one and a half of it, with some difference between seconds.
            let nanos = median_us * (500 + 5 * number + (second * 7 + number * 3) % 11);
            interval.timings.e2e.record(nanos).expect("in range");
            interval.timings.ttft.record(nanos / 2).expect("in range");
        }
        interval.sums.outcomes[Outcome::Ok as usize] = 200 - failed_each;
        interval.sums.outcomes[Outcome::ServerError as usize] = failed_each;
        whole.0.add(&interval.sums);
        whole.1.add(&interval.timings);
        rows.push(Second::from(&interval));
    }
    let measured = Measured {
        planned: 200 * seconds,
        sums: whole.0,
        timings: whole.1,
        by_share: Vec::new(),
        by_tenant: Vec::new(),
        statuses: BTreeMap::new(),
        seconds: rows,
        failures: Vec::new(),
        health: Vec::new(),
        elapsed: Duration::from_secs(seconds),
        measured: Duration::from_secs(seconds),
        stopped: false,
    };
    let plan = Plan { arrivals: Arrivals::Constant { rate: 200.0 }, ..Plan::default() };
    let (version, machine) = (String::from("0"), Machine::default());
    Report { plan, measured, stamp: Stamp::Valid, started: UNIX_EPOCH, machine, version, thresholds: Vec::new() }
}

/// A directory of its own that is removed with the value.
struct Shelf(PathBuf);

impl Shelf {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-load-compare-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for temporary files");
        Self(path)
    }

    fn put(&self, name: &str, report: &Report) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, report.to_json().to_string()).expect("room on the disk");
        path.to_str().expect("plain letters").to_owned()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

fn compare(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_igris-load")).arg("compare").args(arguments).output().expect("it was built");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn better_worse_and_same_have_their_exit_codes() {
    let shelf = Shelf::new("words");
    let a = shelf.put("a.json", &report(30, 1000, 0));
    for (name, other, code, word) in [
        ("same.json", report(30, 1000, 0), 0, "B is same"),
        ("slower.json", report(30, 1300, 0), 5, "B is WORSE"),
        ("faster.json", report(30, 700, 0), 0, "B is better"),
        ("failing.json", report(30, 1000, 10), 5, "B is WORSE"),
    ] {
        let b = shelf.put(name, &other);
        let (status, text, said) = compare(&[&a, &b]);
        assert_eq!(status, Some(code), "{name}: {text}{said}");
        assert!(text.ends_with(&format!("{word}\n")), "{name}: {text}");
        assert!(text.contains("one run a side"), "what it cannot see is said: {text}");
    }
}

#[test]
fn too_little_is_inconclusive() {
    let shelf = Shelf::new("little");
    let (a, b) = (shelf.put("a.json", &report(12, 1000, 0)), shelf.put("b.json", &report(12, 1000, 0)));
    let (status, text, _) = compare(&[&a, &b, "--metric", "p99.9(e2e)", "--json", "-"]);
    assert_eq!(status, Some(6), "{text}");
    let found: Value = serde_json::from_str(&text).expect("JSON on standard output");
    assert_eq!((&found["verdict"], &found["correction"]), (&"inconclusive".into(), &"holm".into()));
    assert!(found["lines"][0]["because"].as_str().is_some_and(|why| why.contains("10000")), "{text}");
}

#[test]
fn several_runs_a_side_are_the_unit() {
    let shelf = Shelf::new("runs");
    let put = |name: &str, median| shelf.put(name, &report(12, median, 0));
    let a = [put("a1", 1000), put("a2", 1020), put("a3", 990)];
    let b = [put("b1", 1500), put("b2", 1480), put("b3", 1530)];
    let mut arguments = Vec::new();
    for (flag, files) in [("--a", &a), ("--b", &b)] {
        files.iter().for_each(|file| arguments.extend([flag, file.as_str()]));
    }
    arguments.extend(["--metric", "p50(e2e)", "--json", "-"]);
    let (status, text, said) = compare(&arguments);
    assert_eq!(status, Some(5), "{text}{said}");
    let line = &serde_json::from_str::<Value>(&text).expect("JSON")["lines"][0];
    assert_eq!(line["varied"], "runs");
    let change = line["change"]["value"].as_f64().expect("a change");
    assert!((45.0..55.0).contains(&change), "{line}");
}

#[test]
fn what_does_not_compare_is_refused() {
    let shelf = Shelf::new("refused");
    let a = shelf.put("a.json", &report(12, 1000, 0));
    let mut other = report(12, 1000, 0);
    other.plan.arrivals = Arrivals::Constant { rate: 300.0 };
    let b = shelf.put("b.json", &other);
    let (status, _, said) = compare(&[&a, &b]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("rate: 200.0 and 300.0") && said.contains("--force"), "{said}");
    let (status, text, said) = compare(&[&a, &b, "--force"]);
    assert_eq!(status, Some(0), "{text}{said}");
    assert!(text.contains("overlooked (--force)"), "{text}");

    let mut unfit = report(12, 1000, 0);
    unfit.stamp = Stamp::of(vec![Reason {
        check: "late".into(),
        weight: Weight::Invalidates,
        figure: 1.0,
        limit: 0.1,
        unit: "share".into(),
        says: "The tester was late.".into(),
        remedy: "Lower the rate.".into(),
    }]);
    let c = shelf.put("c.json", &unfit);
    let (status, _, said) = compare(&[&a, &c]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("INVALID") && said.contains("--force"), "{said}");
    for (arguments, remedy) in [
        (vec![a.as_str()], "A.json and B.json"),
        (vec![], "--a and --b"),
        (vec![&a, "/nowhere/b.json"], "igris-load run --json"),
        (vec![&a, &b, "--metric", "p99"], "p99(ttft)"),
        (vec![&a, &b, "--tolerance", "much"], "5%"),
    ] {
        let (status, _, said) = compare(&arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(remedy), "{arguments:?}: {said}");
    }
}
