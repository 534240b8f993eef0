use super::super::tests::{Place, credential, tenant};
use super::super::{CredentialState, NewCredential, UsageBatch, UsageRow};
use super::*;
use crate::domain::clock::UnixMillis;
use crate::domain::id::ProviderId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// 2024-02-27T22:00:00Z, a Tuesday before a leap day.
const LEAP: u64 = 1_709_071_200_000 / 3_600_000;

fn row(tenant: &str, hour: u64, provider: &str, pico: i128) -> UsageRow {
    UsageRow {
        tenant: TenantId::new(tenant),
        hour,
        provider: ProviderId::new(provider),
        model: format!("{provider}-1"),
        policy: String::new(),
        credential: CredentialId::from_bits(0),
        access_key: AccessKeyId::from_bits(9),
        requests: 1,
        attempts: 2,
        failed: 1,
        estimated: 1,
        unpriced: 0,
        input_tokens: 10,
        output_tokens: 5,
        cached_tokens: 3,
        cost: Money::from_pico(pico),
    }
}

fn add(store: &mut Store, sequence: u64, rows: &[UsageRow]) {
    store.admin().add_usage(&UsageBatch { source: "test", sequence, rows }).expect("added");
}

fn all(hours: Range<u64>, group_by: &[Dimension], bucket: Option<Bucket>) -> SumQuestion {
    SumQuestion { hours, group_by: group_by.to_vec(), bucket, skip: 0, most: 10_000 }
}

/// Random lines over some weeks: `(rows, first hour, end)`.
fn random(seed: u64) -> Vec<UsageRow> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..3_000)
        .map(|_| UsageRow {
            policy: ["", "cost", "latency"][dice.usize(..3)].to_owned(),
            credential: CredentialId::from_bits(dice.u128(0..3)),
            access_key: AccessKeyId::from_bits(dice.u128(0..4)),
            requests: dice.u64(0..3),
            ..row(
                ["acme", "b"][dice.usize(..2)],
                LEAP + dice.u64(0..24 * 40),
                ["openai", "anthropic", "google"][dice.usize(..3)],
                dice.i128(0..9_000_000_000_000),
            )
        })
        .collect()
}

#[test]
fn every_way_of_telling_apart_adds_up_to_the_same() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let place = Place::new("sums");
    let (mut store, keyring) = place.open();
    let acme = tenant(&mut store, &keyring, "acme");
    let rows = random(seed);
    add(&mut store, 1, &rows);
    let reader = RollupReader::open(&place.database(), || false).expect("opened");
    let mut dice = fastrand::Rng::with_seed(seed ^ 1);
    for _ in 0..40 {
        let start = LEAP + dice.u64(0..24 * 40);
        let end = start + 1 + dice.u64(0..24 * 40);
        let within = |row: &&UsageRow| row.tenant == acme && (start..end).contains(&row.hour);
        let truth: Money = rows.iter().filter(within).map(|row| row.cost).sum();
        let requests: u64 = rows.iter().filter(within).map(|row| row.requests).sum();
        for bucket in [None, Some(Bucket::Hour), Some(Bucket::Day), Some(Bucket::Week), Some(Bucket::Month)] {
            for group_by in [
                &[][..],
                &[Dimension::Provider],
                &[Dimension::Model, Dimension::Policy],
                &[Dimension::Key, Dimension::AccessKey, Dimension::Provider],
            ] {
                let lines = reader.for_operator(Some(&acme), &all(start..end, group_by, bucket)).expect("read");
                let sum: Money = lines.iter().map(|line| line.sums.cost).sum();
                assert_eq!(sum, truth, "{start}..{end} {bucket:?} {group_by:?}");
                assert_eq!(lines.iter().map(|line| line.sums.requests).sum::<u64>(), requests);
                assert!(lines.is_sorted_by_key(|line| line.hour), "buckets in their order");
            }
        }
        // By name, against the truth by name.
        for line in
            reader.for_operator(None, &all(start..end, &[Dimension::Tenant, Dimension::Provider], None)).expect("read")
        {
            let of = |row: &&UsageRow| {
                (start..end).contains(&row.hour)
                    && row.tenant.as_str() == line.names[0]
                    && row.provider.as_str() == line.names[1]
            };
            assert_eq!(rows.iter().filter(of).map(|row| row.cost).sum::<Money>(), line.sums.cost, "{:?}", line.names);
        }
    }
}

#[test]
fn buckets_begin_where_the_calendar_says() {
    let place = Place::new("buckets");
    let (mut store, keyring) = place.open();
    tenant(&mut store, &keyring, "acme");
    let at = |text: &str| crate::domain::clock::UnixMillis(seconds(text) * 1_000).0 / 3_600_000;
    let hours = ["2024-02-28T23", "2024-02-29T00", "2024-02-29T23", "2024-03-01T00", "2024-03-03T23", "2024-03-04T00"];
    let rows: Vec<UsageRow> = hours.iter().map(|hour| row("acme", at(hour), "openai", 1)).collect();
    add(&mut store, 1, &rows);
    let reader = RollupReader::open(&place.database(), || false).expect("opened");
    let begins = |bucket| -> Vec<(String, u64)> {
        let lines = reader.for_operator(None, &all(LEAP..LEAP + 24 * 20, &[], Some(bucket))).expect("read");
        lines.iter().map(|line| (UnixMillis(line.hour * 3_600_000).to_rfc3339(), line.sums.requests)).collect()
    };
    let expected = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
        list.iter().map(|(begin, count)| (format!("{begin}:00:00Z"), *count)).collect()
    };
    let each: Vec<(&str, u64)> = hours.iter().map(|hour| (*hour, 1)).collect();
    assert_eq!(begins(Bucket::Hour), expected(&each));
    assert_eq!(
        begins(Bucket::Day),
        expected(&[
            ("2024-02-28T00", 1),
            ("2024-02-29T00", 2),
            ("2024-03-01T00", 1),
            ("2024-03-03T00", 1),
            ("2024-03-04T00", 1)
        ])
    );
    assert_eq!(begins(Bucket::Week), expected(&[("2024-02-26T00", 5), ("2024-03-04T00", 1)]));
    assert_eq!(begins(Bucket::Month), expected(&[("2024-02-01T00", 3), ("2024-03-01T00", 3)]));
}

/// Seconds since the Unix epoch of `2024-02-29T23`, by SQLite's calendar.
fn seconds(text: &str) -> u64 {
    let raw = rusqlite::Connection::open_in_memory().expect("opened");
    raw.query_row("SELECT unixepoch(?1 || ':00:00')", [text], |row| row.get(0)).expect("an instant")
}

#[test]
fn hours_and_days_answer_the_same() {
    let place = Place::new("days");
    let (mut store, keyring) = place.open();
    tenant(&mut store, &keyring, "acme");
    add(&mut store, 1, &random(7));
    let reader = RollupReader::open(&place.database(), || false).expect("opened");
    let question = all(LEAP..LEAP + 24 * 30, &[Dimension::Model], None);
    assert!(!question.spans().days.is_empty());
    let by_days = reader.for_operator(None, &question).expect("read");
    // The same from hours alone, which is how a question for hours is read.
    let mut by_hours = std::collections::BTreeMap::<String, Money>::new();
    for line in reader.for_operator(None, &SumQuestion { bucket: Some(Bucket::Hour), ..question }).expect("read") {
        *by_hours.entry(line.names[0].clone()).or_default() += line.sums.cost;
    }
    assert_eq!(by_days.len(), by_hours.len());
    for line in by_days {
        assert_eq!(by_hours[&line.names[0]], line.sums.cost, "{:?}", line.names);
    }
}

#[test]
fn spans_cover_every_hour_once() {
    for (start, end) in [(0, 1), (5, 24), (5, 96), (5, 100), (24, 24 * 4), (23, 24 * 4 + 1), (7, 24 * 400 + 3)] {
        let spans = all(start..end, &[], None).spans();
        let days = spans.days.flat_map(|day| day * 24..day * 24 + 24);
        let covered: Vec<u64> = spans.head.chain(days).chain(spans.tail).collect();
        assert_eq!(covered, (start..end).collect::<Vec<_>>(), "{start}..{end}");
    }
}

#[test]
fn lines_are_bounded_and_pages_fit_together() {
    let place = Place::new("pages");
    let (mut store, keyring) = place.open();
    tenant(&mut store, &keyring, "acme");
    add(&mut store, 1, &random(11));
    let reader = RollupReader::open(&place.database(), || false).expect("opened");
    let question = all(LEAP..LEAP + 24 * 40, &[Dimension::AccessKey, Dimension::Model], Some(Bucket::Day));
    let whole = reader.for_operator(None, &question).expect("read");
    let mut pages = Vec::new();
    while pages.len() < whole.len() {
        let page = SumQuestion { skip: pages.len() as u64, most: 7, ..question.clone() };
        let lines = reader.for_operator(None, &page).expect("read");
        assert!(lines.len() <= 7 && !lines.is_empty());
        pages.extend(lines);
    }
    assert_eq!(pages, whole);
    for pair in whole.windows(2).filter(|pair| pair[0].hour == pair[1].hour) {
        assert!(pair[0].sums.cost >= pair[1].sums.cost, "the costliest first");
    }
}

#[test]
fn rule_t3_a_tenant_sees_no_key_of_the_operators() {
    let place = Place::new("keys");
    let (mut store, keyring) = place.open();
    let acme = tenant(&mut store, &keyring, "acme");
    let stored = credential(1, CredentialState::Active);
    let own = stored.id;
    store.insert_credential(&acme, &NewCredential { row: &stored, data_key_generation: 1, seals: 1 }).expect("stored");
    let of = |bits| CredentialId::from_bits(bits);
    let rows = [
        UsageRow { credential: own, ..row("acme", LEAP, "openai", 5) },
        UsageRow { credential: of(77), ..row("acme", LEAP, "openai", 3) },
        UsageRow { credential: of(78), ..row("acme", LEAP, "openai", 1) },
        row("acme", LEAP, "local", 2),
        UsageRow { credential: of(77), ..row("b", LEAP, "openai", 100) },
    ];
    add(&mut store, 1, &rows);
    let reader = RollupReader::open(&place.database(), || false).expect("opened");
    let question = all(LEAP..LEAP + 1, &[Dimension::Key], None);
    let seen = |lines: Vec<SumRow>| -> Vec<(String, i128)> {
        lines.into_iter().map(|line| (line.names[0].clone(), line.sums.cost.pico())).collect()
    };
    let expected = [(own.to_string(), 5), ("shared".to_owned(), 4), ("none".to_owned(), 2)];
    assert_eq!(seen(reader.for_tenant(&acme, &question).expect("read")), expected);
    let all = seen(reader.for_operator(Some(&acme), &question).expect("read"));
    assert!(all.contains(&(of(77).to_string(), 3)) && all.len() == 4, "{all:?}");
}

#[test]
fn a_question_that_nobody_waits_for_ends() {
    let place = Place::new("stop");
    let (mut store, keyring) = place.open();
    tenant(&mut store, &keyring, "acme");
    add(&mut store, 1, &random(3));
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    let reader = RollupReader::open(&place.database(), move || asked.load(Ordering::Relaxed)).expect("opened");
    let question = all(LEAP..LEAP + 24 * 40, &Dimension::ALL, Some(Bucket::Hour));
    assert!(reader.for_operator(None, &question).is_ok());
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(reader.for_operator(None, &question), Err(StoreError::Database(_))));
}

#[test]
fn the_plan_of_a_tenants_question_reads_its_own_lines_alone() {
    let place = Place::new("plan");
    let (store, _) = place.open();
    for bucket in [None, Some(Bucket::Hour), Some(Bucket::Month)] {
        let question = all(0..24 * 400, &[Dimension::Provider, Dimension::Model], bucket);
        let acme = TenantId::new("acme");
        let text = format!("EXPLAIN QUERY PLAN {}", statement(Scope::Tenant(&acme), &question));
        let mut explained = store.connection.prepare(&text).expect("prepared");
        let plan: Vec<String> = explained
            .query_map(params!["acme", 0, 1, 0, 400, 1, 2, 10, 0], |row| row.get(3))
            .expect("explained")
            .map(|line| line.expect("a line"))
            .collect();
        for table in ["usage_hours", "usage_days"] {
            let read: Vec<&String> = plan.iter().filter(|line| line.contains(table)).collect();
            assert!(!read.is_empty());
            assert!(read.iter().all(|line| line.contains("PRIMARY KEY (tenant=? AND")), "{plan:#?}");
        }
    }
}
