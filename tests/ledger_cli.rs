//! `igris ledger`: what is on the disk is proven, whatever the process died of; what was changed afterwards is found; every attempt is a row
//! that other programs read.

mod support;

use igris_load::Simulator;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use support::{Gateway, SOON, chat, chat_of, post, stream_of, wait_until};

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

/// A few answers, streams and refusals.
fn traffic(gateway: &Gateway) {
    for number in 0..6 {
        assert_eq!(gateway.chat(&chat(&format!("question {number}"))).status, 200);
    }
    for _ in 0..2 {
        assert!(gateway.stream(&stream_of("stream", r#","user":"sim:tokens=5""#)).answer.whole);
    }
    let refused = gateway.chat(&chat_of("gpt-4o", "fails", r#","user":"sim:fault=500""#));
    assert!(refused.status >= 500, "{}", refused.text());
}

fn igris(gateway: &Gateway, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    command.arg("ledger").args(words).arg("--data-dir").arg(gateway.home().join("data"));
    command.arg("--config").arg(gateway.home().join("igris.toml"));
    command.output().expect("the binary runs")
}

/// The exit code and the proof.
fn verify(gateway: &Gateway) -> (i32, Value) {
    let output = igris(gateway, &["verify", "--json"]);
    let proof = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().expect("it ends by itself"), proof)
}

#[track_caller]
fn is_balanced(gateway: &Gateway) -> Value {
    let (code, proof) = verify(gateway);
    assert_eq!((code, &proof["whole"], &proof["chain"]), (0, &true.into(), &true.into()), "{proof:#}");
    for (tenant, sides) in proof["tenants"].as_object().expect("tenants") {
        assert_eq!(sides["journal"], sides["books"], "{tenant}");
    }
    proof
}

/// The segments of all runs, the oldest first.
fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    let list = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found: Vec<PathBuf> = list(&gateway.home().join("data/ledger")).iter().flat_map(|run| list(run)).collect();
    found.retain(|path| path.extension().is_some_and(|kind| kind == "seg"));
    found.sort();
    found
}

fn attempts(proof: &Value) -> u64 {
    proof["attempts"].as_u64().expect("a count")
}

#[test]
fn books_and_journal_balance_while_it_runs_after_kills_and_with_it_stopped() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    traffic(&gateway);
    assert!(simulator.truth().wait_settled(SOON));
    wait_until(SOON, "it is all in the books", || {
        let proof = is_balanced(&gateway);
        proof["compared"] == simulator.truth().counts().requests && proof["not_yet_booked"] == 0
    });
    for round in 0..3 {
        let mut streaming = gateway.client();
        streaming.send(&post(&stream_of("cut", r#","user":"sim:tokens=2000;gap=10ms""#)));
        streaming.read_bytes(300);
        traffic(&gateway);
        gateway.kill();
        let (code, proof) = verify(&gateway);
        assert_eq!(code, 0, "round {round}, killed: {proof:#}");
        assert!(proof["open"].as_u64() >= Some(1), "the stream was cut: {proof:#}");
        gateway.restart();
        let proof = is_balanced(&gateway);
        assert_eq!((&proof["open"], &proof["not_yet_booked"]), (&0.into(), &0.into()), "replayed before serving");
    }
    traffic(&gateway);
    gateway.signal("TERM");
    let status = gateway.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
    let proof = is_balanced(&gateway);
    assert_eq!((&proof["open"], &proof["not_yet_booked"]), (&0.into(), &0.into()));
    assert_eq!(attempts(&proof), simulator.truth().counts().requests, "every attempt that the provider saw");
    let said = igris(&gateway, &["verify"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("balanced to the last unit"), "{text}");
}

#[test]
fn whatever_is_changed_afterwards_is_found_and_a_copy_heals_it() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    traffic(&gateway);
    gateway.signal("TERM");
    let _ = gateway.wait(SOON).expect("it ends");
    let whole = is_balanced(&gateway);
    let path = segments(&gateway).into_iter().next().expect("a segment");
    let copy = fs::read(&path).expect("read");

    let mut bytes = copy.clone();
    let text = memchr::memmem::rfind(&bytes, b"default").expect("the tenant of an attempt");
    bytes[text] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let (code, proof) = verify(&gateway);
    let problems = proof["problems"].as_array().expect("problems");
    assert_eq!((code, &proof["whole"]), (1, &false.into()), "{proof:#}");
    assert!(problems.iter().all(|one| one["remedy"].is_string() && one["path"].is_string()), "{proof:#}");

    fs::remove_file(&path).expect("removed");
    let (code, proof) = verify(&gateway);
    assert_eq!(code, 1, "{proof:#}");
    assert!(proof["problems"][0]["what"].is_string() && attempts(&proof) < attempts(&whole), "{proof:#}");

    fs::write(&path, &copy).expect("written");
    is_balanced(&gateway);

    let store = gateway.home().join("data/igris.db");
    let edit = |sql: &str| {
        let connection = rusqlite::Connection::open(&store).expect("a database");
        assert!(connection.execute(sql, []).expect(sql) > 0);
    };
    for (edit_it, undo, table) in [
        (
            "UPDATE usage_hours SET input_tokens = input_tokens + 1",
            "UPDATE usage_hours SET input_tokens = input_tokens - 1",
            "usage_hours",
        ),
        (
            "UPDATE usage_hours SET cost_pico = cost_pico + 1",
            "UPDATE usage_hours SET cost_pico = cost_pico - 1",
            "usage_hours",
        ),
        (
            "UPDATE usage_days SET attempts = attempts + 1",
            "UPDATE usage_days SET attempts = attempts - 1",
            "usage_days",
        ),
        (
            "UPDATE spent_totals SET cost_pico = CAST(cost_pico + 1 AS TEXT)",
            "UPDATE spent_totals SET cost_pico = CAST(cost_pico - 1 AS TEXT)",
            "spent_totals",
        ),
    ] {
        edit(edit_it);
        let (code, proof) = verify(&gateway);
        let tables: Vec<&str> =
            proof["problems"].as_array().expect("problems").iter().filter_map(|one| one["path"].as_str()).collect();
        assert!(code == 1 && tables.contains(&table), "{edit_it}: {proof:#}");
        edit(undo);
        is_balanced(&gateway);
    }
}

#[test]
fn without_the_root_key_checksums_are_verified_and_that_is_said() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    traffic(&gateway);
    gateway.signal("TERM");
    let _ = gateway.wait(SOON).expect("it ends");
    let key = gateway.home().join("data/root.key");
    fs::rename(&key, gateway.home().join("elsewhere.key")).expect("renamed");
    let output = igris(&gateway, &["verify"]);
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{said}");
    assert!(said.contains("only checksums are verified") && out.contains("checksums verified"), "{out}{said}");
    let nowhere =
        Command::new(env!("CARGO_BIN_EXE_igris")).args(["ledger", "verify", "--data-dir", "/nowhere"]).output();
    let nowhere = nowhere.expect("the binary runs");
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--data-dir"));
}

/// The rows of a CSV as objects.
fn csv_rows(bytes: &[u8]) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(bytes);
    let names = reader.headers().expect("names").clone();
    let object = |row: csv::StringRecord| {
        let members = names.iter().zip(row.iter()).map(|(name, text)| (name.to_owned(), Value::from(text)));
        Value::Object(members.collect())
    };
    reader.records().map(|row| object(row.expect("a row"))).collect()
}

fn pico(rows: impl Iterator<Item = Option<i128>>) -> i128 {
    rows.flatten().sum()
}

#[test]
fn every_attempt_is_a_row_in_each_format_and_others_read_it() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    traffic(&gateway);
    wait_until(SOON, "everything is closed and booked", || {
        let proof = verify(&gateway).1;
        proof["open"] == 0 && proof["not_yet_booked"] == 0
    });
    let proof = is_balanced(&gateway);
    let count = usize::try_from(attempts(&proof)).expect("small");
    let spent: i128 =
        proof["tenants"]["default"]["journal"]["cost_picodollars"].as_str().expect("text").parse().expect("a number");
    assert!(count > 8 && spent > 0, "{proof:#}");

    let csv = igris(&gateway, &["export", "--format", "csv"]);
    let rows = csv_rows(&csv.stdout);
    assert_eq!(rows.len(), count);
    assert_eq!(pico(rows.iter().map(|row| row["cost_picodollars"].as_str().and_then(|text| text.parse().ok()))), spent);
    assert!(rows.iter().all(|row| row["tenant"] == "default" && row["provider"] == "openai"));
    assert!(rows.iter().any(|row| row["stream"] == "true") && rows.iter().any(|row| row["outcome"] == "refused"));

    let jsonl = igris(&gateway, &["export", "--format", "jsonl", "--tenant", "default"]);
    let lines: Vec<Value> = String::from_utf8(jsonl.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), count);
    assert_eq!(pico(lines.iter().map(|row| row["cost_picodollars"].as_i64().map(i128::from))), spent);
    let ids = |rows: &[Value]| {
        rows.iter().map(|row| row["attempt_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&rows), ids(&lines));

    let file = gateway.home().join("attempts.parquet");
    let path = file.to_str().expect("text");
    assert!(igris(&gateway, &["export", "--format", "parquet", "--out", path]).status.success());
    let again = igris(&gateway, &["export", "--format", "parquet", "--out", path]);
    assert_eq!(again.status.code(), Some(1), "a file that is there stays");
    let reader = SerializedFileReader::new(File::open(&file).expect("open")).expect("Parquet");
    let decimal = |row: &parquet::record::Row| match &row
        .get_column_iter()
        .find(|(name, _)| *name == "cost_usd")
        .expect("a column")
        .1
    {
        Field::Decimal(decimal) => Some(i128::from_be_bytes(decimal.data().try_into().expect("16 bytes"))),
        _ => None,
    };
    let costs: Vec<Option<i128>> =
        reader.get_row_iter(None).expect("rows").map(|row| decimal(&row.expect("a row"))).collect();
    assert_eq!((costs.len(), pico(costs.into_iter())), (count, spent));
    arrow_agrees(&file, count, spent);

    let none = igris(&gateway, &["export", "--format", "csv", "--to", "2020-01-01"]);
    assert!(none.status.success() && csv_rows(&none.stdout).is_empty());
    let none = igris(&gateway, &["export", "--format", "jsonl", "--tenant", "other"]);
    assert!(none.status.success() && none.stdout.is_empty());
    assert_eq!(igris(&gateway, &["export", "--format", "xlsx"]).status.code(), Some(2));
    assert_eq!(igris(&gateway, &["export", "--format", "csv", "--from", "yesterday"]).status.code(), Some(2));
}

/// Where there is Python with pyarrow, it reads the same.
fn arrow_agrees(file: &Path, count: usize, spent: i128) {
    const SCRIPT: &str = "import sys, pyarrow.parquet as p\nt = p.read_table(sys.argv[1])\n\
        print(t.num_rows, int(sum(c for c in t['cost_usd'].to_pylist() if c is not None) * 10**12))";
    let python = std::env::var("IGRIS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    match Command::new(python).args(["-c", SCRIPT]).arg(file).output() {
        Ok(output) if output.status.success() => {
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{count} {spent}"));
        }
        _ => println!("skipped: no Python with pyarrow"),
    }
}

#[test]
fn the_admin_socket_shows_the_ledger_and_streams_an_export() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    traffic(&gateway);
    wait_until(SOON, "it is all in the books", || verify(&gateway).1["not_yet_booked"] == 0);
    wait_until(Duration::from_secs(5), "everything is closed", || verify(&gateway).1["open"] == 0);
    let status = gateway.admin("/ledger").json();
    assert_eq!((&status["durability"], &status["trouble"]), (&"process".into(), &Value::Null), "{status:#}");
    let tenant = &status["tenants"][0];
    assert_eq!(tenant["tenant"], "default");
    assert_eq!(tenant["sums"]["attempts"], attempts(&verify(&gateway).1), "{status:#}");
    let answer = gateway.admin("/ledger/export?format=csv");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(csv_rows(answer.text().as_bytes()), csv_rows(&igris(&gateway, &["export", "--format", "csv"]).stdout));
    for query in ["format=xlsx", "from=yesterday", "tenant=..", "form=csv"] {
        assert_eq!(gateway.admin(&format!("/ledger/export?{query}")).status, 400, "{query}");
    }
    assert_eq!(gateway.admin("/status").json()["ledger"]["durability"], "process");
}
