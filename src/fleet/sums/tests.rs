//! The same lines in the books of one machine and in those of all: every question has one answer. Where `IGRIS_TEST_STORE_URL` names a
//! cluster of PostgreSQL.

use super::super::testing::{Session, database_with, join};
use super::*;
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId};
use crate::store::tests::{Place, credential, tenant};
use crate::store::{Bucket, CredentialState, NewCredential, RollupReader, Spans, UsageBatch, UsageRow};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

/// 2024-02-27T22:00:00Z, a Tuesday before a leap day.
const LEAP: u64 = 1_709_071_200_000 / 3_600_000;

/// A cluster whose database sorts texts as people do, with the schema and one estate, and a store with the same estate.
struct Stand {
    reader: RollupReader,
    url: String,
    session: Session,
    fleet: Fleet,
    acme: TenantId,
    own: CredentialId,
    store: crate::store::Store,
    place: Place,
}

impl Stand {
    fn new(name: &str) -> Option<Self> {
        let Ok(cluster) = std::env::var("IGRIS_TEST_STORE_URL") else {
            println!("skipped: IGRIS_TEST_STORE_URL names no cluster");
            return None;
        };
        let place = Place::new(name);
        let (mut store, keyring) = place.open();
        let acme = tenant(&mut store, &keyring, "acme");
        tenant(&mut store, &keyring, "Zeta");
        let stored = credential(1, CredentialState::Active);
        let new = NewCredential { row: &stored, data_key_generation: 1, seals: 1 };
        store.insert_credential(&acme, &new).expect("stored");
        let sorted = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
        let url = database_with(&cluster, &format!("sums_{name}_{}", std::process::id()), sorted);
        let (fleet, _) = join(&url);
        fleet.replace(store.estate().expect("rows")).expect("put there").expect("it was empty");
        let session = Session::open(&url);
        session.sql("CREATE TABLE igris.usage_hours_of_test PARTITION OF igris.usage_hours DEFAULT");
        let reader = RollupReader::open(&place.database(), || false).expect("opened");
        Some(Self { reader, url, session, fleet, acme, own: stored.id, store, place })
    }

    /// Into both books.
    fn add(&mut self, sequence: u64, rows: &[UsageRow]) {
        self.store.admin().add_usage(&UsageBatch { source: "test", sequence, rows }).expect("added");
        self.reader = RollupReader::open(&self.place.database(), || false).expect("opened");
        for (table, period, hours) in [("usage_hours", "hour", 1), ("usage_days", "day", 24)] {
            for rows in rows.chunks(500) {
                self.session.sql(&insert(table, period, hours, rows));
            }
        }
    }

    /// The books of all machines, for as long as a test takes.
    fn sums(&self) -> (SharedSums, oneshot::Sender<()>) {
        let (held, left) = oneshot::channel();
        (self.fleet.sums(Instant::now() + Duration::from_secs(60), left).expect("it answers"), held)
    }
}

/// What a machine ships, by hand: lines that are there are added to.
fn insert(table: &str, period: &str, hours: u64, rows: &[UsageRow]) -> String {
    const SUMS: [&str; 9] = [
        "requests",
        "attempts",
        "failed",
        "estimated",
        "unpriced",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cost_pico",
    ];
    let names = "provider, model, policy, credential, access_key";
    let sums = SUMS.map(|name| format!("sum({name})")).join(", ");
    let sets = SUMS.map(|name| format!("{name} = b.{name} + excluded.{name}")).join(", ");
    let mut text = format!("INSERT INTO igris.{table} AS b SELECT tenant, {period}, {names}, {sums} FROM (VALUES ");
    for (place, row) in rows.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let quoted = |text: &str| text.replace('\'', "''");
        write!(
            text,
            "{comma}('{}', {}::bigint, '{}', '{}', '{}', '\\x{:032x}'::bytea, '\\x{:032x}'::bytea, {}, {}, {}, {}, {}, {}::bigint, {}::bigint, {}::bigint, {}::numeric)",
            row.tenant,
            row.hour / hours,
            row.provider,
            quoted(&row.model),
            row.policy,
            row.credential.bits(),
            row.access_key.bits(),
            row.requests,
            row.attempts,
            row.failed,
            row.estimated,
            row.unpriced,
            row.input_tokens,
            row.output_tokens,
            row.cached_tokens,
            row.cost.pico(),
        )
        .expect("a text takes it");
    }
    write!(
        text,
        ") AS new (tenant, {period}, {names}, {}) GROUP BY tenant, {period}, {names} \
         ON CONFLICT (tenant, {period}, {names}) DO UPDATE SET {sets}",
        SUMS.join(", ")
    )
    .expect("a text takes it");
    text
}

/// Lines over some weeks, with names that people sort otherwise than machines do, with many that cost the same, and with some that cost so much
/// that a float does not tell them apart.
fn random(dice: &mut fastrand::Rng, own: CredentialId) -> UsageRow {
    const MODELS: [&str; 8] = ["gpt-4o", "GPT-4", "gpt 4", "Éclair", "eclair", "o'1", "", "zz"];
    let credentials = [CredentialId::from_bits(0), own, CredentialId::from_bits(77), CredentialId::from_bits(78)];
    let pico = match dice.u8(0..4) {
        0 => 0,
        1 => 1_300_000,
        2 => 20_000_000_000_000_000 + dice.i128(0..3),
        _ => dice.i128(0..9_000_000_000_000),
    };
    UsageRow {
        tenant: TenantId::new(["acme", "Zeta", "gone"][dice.usize(..3)]),
        hour: LEAP + dice.u64(0..24 * 40),
        provider: ProviderId::new(["openai", "Anthropic", "google"][dice.usize(..3)]),
        model: MODELS[dice.usize(..MODELS.len())].to_owned(),
        policy: ["", "cost", "Latency"][dice.usize(..3)].to_owned(),
        credential: credentials[dice.usize(..4)],
        access_key: AccessKeyId::from_bits(dice.u128(0..3)),
        requests: dice.u64(0..3),
        attempts: dice.u64(1..4),
        failed: dice.u64(0..2),
        estimated: dice.u64(0..2),
        unpriced: dice.u64(0..2),
        input_tokens: dice.u64(0..1 << 40),
        output_tokens: dice.u64(0..1 << 20),
        cached_tokens: dice.u64(0..100),
        cost: Money::from_pico(pico),
    }
}

/// Windows that begin and end at days, within them, and outside of everything.
fn window(dice: &mut fastrand::Rng) -> Range<u64> {
    let first = LEAP - 50 + dice.u64(0..24 * 44);
    let start = if dice.bool() { first } else { first - first % 24 };
    let end = start + 1 + if dice.bool() { dice.u64(0..100) } else { dice.u64(0..24 * 44) };
    start..if dice.bool() { end } else { end.next_multiple_of(24) }
}

#[test]
fn the_books_of_all_machines_answer_as_those_of_one() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let Some(mut stand) = Stand::new("same") else { return };
    let rows: Vec<UsageRow> = (0..4_000).map(|_| random(&mut dice, stand.own)).collect();
    stand.add(1, &rows[..2_500]);
    stand.add(2, &rows[2_500..]);
    let (sums, _held) = stand.sums();
    let mut lines = 0;
    for _ in 0..400 {
        let mut group_by = Dimension::ALL.to_vec();
        dice.shuffle(&mut group_by);
        group_by.truncate(dice.usize(0..=6));
        let buckets = [None, Some(Bucket::Hour), Some(Bucket::Day), Some(Bucket::Week), Some(Bucket::Month)];
        let (skip, most) = if dice.bool() { (0, 100_000) } else { (dice.u64(0..40), dice.u64(1..60)) };
        let bucket = buckets[dice.usize(..buckets.len())];
        let question = SumQuestion { hours: window(&mut dice), group_by, bucket, skip, most };
        let (own, all) = match dice.u8(0..3) {
            0 => (stand.reader.for_tenant(&stand.acme, &question), sums.for_tenant(&stand.acme, &question)),
            1 => {
                let one = Some(&stand.acme);
                (stand.reader.for_operator(one, &question), sums.for_operator(one, &question))
            }
            _ => (stand.reader.for_operator(None, &question), sums.for_operator(None, &question)),
        };
        let (own, all) = (own.expect("read"), all.expect("read"));
        assert_eq!(own, all, "{question:?}");
        lines += own.len();
    }
    assert!(lines > 10_000, "{lines}");
}

#[test]
fn rule_t3_a_tenant_sees_no_key_of_the_operators() {
    let Some(mut stand) = Stand::new("shared") else { return };
    let mut dice = fastrand::Rng::with_seed(1);
    let own = stand.own;
    let rows: Vec<UsageRow> = (0..200).map(|_| random(&mut dice, own)).collect();
    stand.add(1, &rows);
    let (sums, _held) = stand.sums();
    let hours = LEAP..LEAP + 24 * 40;
    let question = SumQuestion { hours, group_by: vec![Dimension::Key], bucket: None, skip: 0, most: 10 };
    let names = |lines: Vec<SumRow>| {
        let mut names: Vec<String> = lines.into_iter().flat_map(|line| line.names).collect();
        names.sort();
        names
    };
    assert_eq!(
        names(sums.for_tenant(&stand.acme, &question).expect("read")),
        [own.to_string(), "none".to_owned(), "shared".to_owned()]
    );
    assert_eq!(names(sums.for_operator(Some(&stand.acme), &question).expect("read")).len(), 4);
}

#[test]
fn an_asker_sees_one_instant_and_the_next_one_sees_more() {
    let Some(mut stand) = Stand::new("instant") else { return };
    let row = random(&mut fastrand::Rng::with_seed(2), stand.own);
    let question = SumQuestion { hours: LEAP..LEAP + 24 * 40, group_by: Vec::new(), bucket: None, skip: 0, most: 1 };
    let attempts = |sums: &SharedSums| sums.for_operator(None, &question).expect("read")[0].sums.attempts;
    let (first, _held) = stand.sums();
    assert_eq!(attempts(&first), 0);
    stand.add(1, std::slice::from_ref(&row));
    assert_eq!(attempts(&first), 0);
    let (second, _held) = stand.sums();
    assert_eq!(attempts(&second), row.attempts);
}

#[test]
fn a_question_that_nobody_waits_for_ends_in_the_database() {
    let Some(stand) = Stand::new("left") else { return };
    let question = SumQuestion { hours: LEAP..LEAP + 24 * 40, group_by: Vec::new(), bucket: None, skip: 0, most: 1 };
    // Nobody reads the hours while this is open.
    let lock = Session::open(&stand.url);
    lock.sql("BEGIN; LOCK TABLE igris.usage_hours IN ACCESS EXCLUSIVE MODE");
    let waiting = || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        stand.session.sql(sql)[0].clone()
    };
    let becomes = |count: &str| {
        for _ in 0..4_000 {
            if waiting() == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} wait in the database, and not {count}", waiting());
    };
    std::thread::scope(|scope| {
        let (held, left) = oneshot::channel();
        let asker = scope.spawn(|| {
            let sums = stand.fleet.sums(Instant::now() + Duration::from_secs(60), left).expect("it answers");
            sums.for_operator(None, &question)
        });
        becomes("1");
        drop(held);
        assert_eq!(asker.join().expect("no panic"), Err(SumsError::TooLong));
        becomes("0");
    });
    // Nor does it go on behind its deadline.
    let (_held, left) = oneshot::channel();
    let sums = stand.fleet.sums(Instant::now() + Duration::from_millis(300), left).expect("it answers");
    assert_eq!(sums.for_operator(None, &question), Err(SumsError::TooLong));
    assert!(sums.for_operator(None, &question).is_err(), "it is over");
    becomes("0");
    lock.sql("COMMIT");
    let (sums, _held) = stand.sums();
    assert_eq!(sums.for_operator(None, &question).expect("read").len(), 1);
}

/// 200 000 lines of hours over 60 days, and their days: 3 000 access keys of 300 tenants.
const FILLED: &str = "
    DROP TABLE igris.usage_hours_of_test;
    DO $$ BEGIN FOR d IN 20400..20459 LOOP
        EXECUTE format('CREATE TABLE igris.hours_of_%s PARTITION OF igris.usage_hours FOR VALUES FROM (%s) TO (%s)', d, d * 24, d * 24 + 24);
    END LOOP; END $$;
    INSERT INTO igris.usage_hours
        SELECT 't' || key % 300, 20400 * 24 + line * 60 * 24 / 200000, 'provider-' || key % 5, 'model-' || key % 12, 'policy-' || key % 2,
            decode(lpad(to_hex(key % 7), 32, '0'), 'hex'), decode(lpad(to_hex(key), 32, '0'), 'hex'),
            3, 4, 0, 0, 0, 1000, 500, 0, line * 1000
        FROM (SELECT line, line * 7919 % 3000 AS key FROM generate_series(0::bigint, 199999) AS line) AS lines;
    INSERT INTO igris.usage_days
        SELECT tenant, hour / 24, provider, model, policy, credential, access_key, sum(requests), sum(attempts), sum(failed), sum(estimated),
            sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(cost_pico)
        FROM igris.usage_hours GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 2;
    ANALYZE igris.usage_hours; ANALYZE igris.usage_days; ANALYZE igris.credentials";

/// A statement with its values in it, so that its plan can be had.
fn with_values(whose: Whose, tenant: &str, question: &SumQuestion) -> String {
    let Spans { head, days, tail } = question.spans();
    let numbers = [head.start, head.end, days.start, days.end, tail.start, tail.end, question.most, question.skip];
    let text = text::statement(whose, question).replace("$9", &format!("'{tenant}'"));
    (1..).zip(numbers).fold(text, |text, (place, number)| text.replace(&format!("${place}"), &number.to_string()))
}

/// `docs/fleet.md` says what this looks at; with `--nocapture` it prints how long each takes.
#[test]
fn what_pages_ask_is_read_by_an_index_and_from_no_other_days() {
    let Some(stand) = Stand::new("plans") else { return };
    stand.session.sql(FILLED);
    let end = 20_459 * 24 + 17;
    let (month, day) = (end - 721..end, end - 25..end);
    let by = |hours: &Range<u64>, group_by: &[Dimension], bucket| SumQuestion {
        hours: hours.clone(),
        group_by: group_by.to_vec(),
        bucket,
        skip: 0,
        most: 5_001,
    };
    let model = [Dimension::Model];
    for (name, whose, question) in [
        ("a month by day", Whose::All, by(&month, &[], Some(Bucket::Day))),
        ("a month by model", Whose::All, by(&month, &model, None)),
        ("24 hours by hour", Whose::All, by(&day, &[], Some(Bucket::Hour))),
        ("a month of one tenant by model and day", Whose::Own, by(&month, &model, Some(Bucket::Day))),
        ("a month of one tenant by key", Whose::Own, by(&month, &[Dimension::Key], None)),
        ("24 hours of one tenant by hour", Whose::One, by(&day, &model, Some(Bucket::Hour))),
    ] {
        let sql = format!("EXPLAIN (ANALYZE, TIMING OFF) {}", with_values(whose, "t7", &question));
        let plan = stand.session.sql(&sql);
        let told = |word: &str| plan.iter().filter(|line| line.contains(word)).collect::<Vec<_>>();
        println!("{name}: {}", told("Execution Time")[0].trim());
        // Of the 60 days those at both ends of the question: the others are not so much as looked at.
        let partitions: std::collections::BTreeSet<&str> = plan
            .iter()
            .filter_map(|line| line.split_once(" on hours_of_"))
            .map(|(_, rest)| rest.split([' ', '_']).next().unwrap_or_default())
            .collect();
        assert_eq!(partitions.len(), 2, "{name}: {plan:#?}");
        assert_eq!(told("Seq Scan on usage_days"), Vec::<&String>::new(), "{name}: {plan:#?}");
        if whose != Whose::All {
            let own = plan.iter().filter(|line| line.contains("Index Cond") && line.contains("tenant = 't7'"));
            // Each part of the question that has anything.
            assert!(own.count() >= 2, "{name}: {plan:#?}");
            assert!(told("usage_days_by_day").is_empty() || question.bucket == Some(Bucket::Hour), "{name}: {plan:#?}");
        }
    }
}
