//! What is written is read again, by other code than wrote it.

use super::*;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::limits::books::EXPORT_GROUP_ROWS;
use crate::report::{AttemptReport, Outcome};
use crate::routing::policy::Policy;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use std::fs::File;
use std::sync::{Arc, Mutex};

fn attempt(number: u128, model: &str, cost: Option<i128>) -> AttemptReport {
    AttemptReport {
        exchange: RequestId::from_bits(number),
        attempt: AttemptId::from_bits(number + 1),
        last: true,
        tenant: TenantId::new("acme"),
        access_key: AccessKeyId::from_bits(3),
        provider: ProviderId::new("openai"),
        credential: number.is_multiple_of(2).then(|| CredentialId::from_bits(4)),
        model: Arc::from(model),
        policy: Policy::Ordered,
        outcome: Outcome::Completed,
        status: 200,
        key_refused: false,
        stream: true,
        usage: Usage { input: 10, output: 3, cached_input: 4, reasoning: 2, ..Usage::default() },
        usage_source: UsageSource::Estimated,
        cost: cost.map(Money::from_pico),
        price_version: u64::MAX,
        started: UnixMillis(1_795_416_713_045),
        connect_us: 1,
        tls_us: 2,
        first_byte_us: 3,
        first_token_us: 4,
        total_us: 5,
    }
}

/// A destination that can still be read when the export has ended.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(format: Format, reports: &[AttemptReport]) -> Vec<u8> {
    let kept = Kept::default();
    let mut export = Export::begin(format, kept.clone()).expect("begun");
    for (report, record) in reports.iter().zip(1..) {
        export.row(&Row { report, lane: "1/0", record }).expect("written");
    }
    export.finish().expect("ended");
    std::mem::take(&mut kept.0.lock().expect("no panic"))
}

/// Parquet is read from a file, which is gone when the reader is.
fn opened(name: &str, reports: &[AttemptReport]) -> SerializedFileReader<File> {
    let path = std::env::temp_dir().join(format!("igris-export-{name}-{}.parquet", std::process::id()));
    std::fs::write(&path, written(Format::Parquet, reports)).expect("written");
    let file = File::open(&path).expect("open");
    std::fs::remove_file(&path).expect("removed");
    SerializedFileReader::new(file).expect("a file")
}

#[test]
fn csv_is_read_again_and_no_text_of_it_is_a_formula() {
    let evil =
        ["=HYPERLINK(\"http://x\")", "+1", "-1", "@SUM(A1)", "\t=1", "a \"quoted\", one\r\nwith a line", "gpt-4o"];
    let reports: Vec<AttemptReport> =
        evil.iter().zip(0..).map(|(model, number)| attempt(number, model, Some(1))).collect();
    let bytes = written(Format::Csv, &reports);
    let mut reader = ::csv::Reader::from_reader(&*bytes);
    let names: Vec<String> = reader.headers().expect("names").iter().map(str::to_owned).collect();
    assert_eq!(names, COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>());
    let at = |name: &str| names.iter().position(|known| known == name).expect("a column");
    let rows: Vec<::csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), evil.len());
    for (row, model) in rows.iter().zip(evil) {
        let read = &row[at("model")];
        assert!(!read.starts_with(['=', '+', '-', '@', '\t', '\r']), "{read}");
        assert_eq!(read.strip_prefix('\'').unwrap_or(read), model);
        assert_eq!((&row[at("cost_usd")], &row[at("cost_picodollars")]), ("0.000000000001", "1"));
        assert_eq!(&row[at("started_at")], "2026-11-23T06:51:53.045Z");
        assert_eq!((&row[at("price_version")], &row[at("usage_source")]), ("18446744073709551615", "estimated"));
    }
    assert_eq!((&rows[1][at("credential_id")], &rows[6][at("model")]), ("", "gpt-4o"));
}

#[test]
fn every_line_is_json_with_exact_money() {
    let amount = 123_456_789_012_345_678;
    let bytes = written(Format::Jsonl, &[attempt(1, "\"\n\u{7}ä", Some(amount)), attempt(2, "m", None)]);
    let lines: Vec<serde_json::Value> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["model"], "\"\n\u{7}ä");
    assert_eq!(lines[0]["cost_usd"], "123456.789012345678");
    assert_eq!(lines[0]["cost_picodollars"], 123_456_789_012_345_678_u64);
    assert!(
        lines[1]["cost_usd"].is_null() && lines[0]["credential_id"].is_null() && lines[1]["credential_id"].is_string()
    );
    for line in &lines {
        let names: Vec<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>());
    }
}

#[test]
fn parquet_is_read_again_over_several_groups() {
    let count = EXPORT_GROUP_ROWS + 10;
    let reports: Vec<AttemptReport> = (0..count)
        .map(|number| attempt(number as u128, "gpt-4o", (number % 3 != 0).then_some(number as i128)))
        .collect();
    let reader = opened("rows", &reports);
    assert_eq!(reader.num_row_groups(), 2);
    assert_eq!(reader.metadata().file_metadata().num_rows(), count as i64);
    let mut seen = 0;
    for (row, report) in reader.get_row_iter(None).expect("rows").zip(&reports) {
        let row = row.expect("a row");
        let field = |name: &str| row.get_column_iter().find(|(known, _)| *known == name).expect("a column").1.clone();
        assert_eq!(field("attempt_id"), Field::Str(report.attempt.to_string()));
        assert_eq!(field("started_at"), Field::TimestampMillis(1_795_416_713_045));
        assert_eq!((field("price_version"), field("input_tokens")), (Field::ULong(u64::MAX), Field::Long(10)));
        assert_eq!((field("stream"), field("total_us")), (Field::Bool(true), Field::Long(5)));
        match (report.cost, field("cost_usd")) {
            (None, Field::Null) => assert_eq!(field("cost_picodollars"), Field::Null),
            (Some(cost), Field::Decimal(decimal)) => {
                assert_eq!((decimal.precision(), decimal.scale()), (38, 12));
                assert_eq!(decimal.data(), cost.pico().to_be_bytes());
                assert_eq!(field("cost_picodollars"), Field::Long(i64::try_from(cost.pico()).expect("small")));
            }
            other => panic!("{other:?}"),
        }
        seen += 1;
    }
    assert_eq!(seen, count);
    let empty = opened("none", &[]);
    assert_eq!((empty.num_row_groups(), empty.metadata().file_metadata().num_rows()), (0, 0));
}

#[test]
fn a_destination_that_is_full_is_said() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in Format::ALL {
        let report = attempt(1, "m", None);
        let done = Export::begin(format, Full).and_then(|mut export| {
            export.row(&Row { report: &report, lane: "1/0", record: 1 })?;
            export.finish()
        });
        assert!(done.is_err(), "{format:?}");
    }
}

#[test]
fn names_lead_to_formats() {
    for format in Format::ALL {
        assert_eq!(Format::parse(format.name()), Some(format));
        assert!(format.media_type().contains('/'));
    }
    assert_eq!(Format::parse("xlsx"), None);
}
