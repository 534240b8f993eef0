//! The books on a real PostgreSQL, where `IGRIS_TEST_STORE_URL` names one: what is sent twice counts once, days, retention, plain tables.

use super::days;
use super::shipment::day_of;
use super::{Books, BooksFault, Close, Keep, LaneEnd, Shipment, Tended};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, RequestId};
use crate::domain::money::Money;
use crate::fleet::connect::Connector;
use crate::fleet::testing;
use crate::fleet::{Fleet, schema};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

const DAY: Duration = Duration::from_secs(86_400);
/// 22:59:59.999 of a day, so that an hour later is another day.
const EVENING: UnixMillis = UnixMillis(20_000 * 86_400_000 + 23 * 3_600_000 - 1);
const MIDNIGHT: UnixMillis = UnixMillis(20_001 * 86_400_000);

/// Refuses partitioned tables, as what is not supported.
const NO_PARTITIONS: &str = "
    CREATE FUNCTION no_partitions() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        IF EXISTS (SELECT 1 FROM pg_event_trigger_ddl_commands() AS made JOIN pg_class AS c ON c.oid = made.objid WHERE c.relkind = 'p')
        THEN RAISE EXCEPTION 'no partitions here' USING ERRCODE = '0A000'; END IF; END $$;
    CREATE EVENT TRIGGER no_partitions ON ddl_command_end EXECUTE FUNCTION no_partitions()";

/// A database of its own, and the fleet that made its tables.
struct House {
    _fleet: Fleet,
    connector: Arc<Connector>,
    id: [u8; 16],
    runtime: tokio::runtime::Runtime,
}

impl House {
    /// `None`: there is no cluster to test with.
    fn new(name: &str) -> Option<Self> {
        Self::with(name, "SELECT 1")
    }

    /// On an engine that knows no partitions.
    fn plain(name: &str) -> Option<Self> {
        let house = Self::with(name, NO_PARTITIONS)?;
        let has_partitions = house.runtime.block_on(async {
            let listening = house.connector.listen().await.expect("it answers");
            days::has_partitions(&listening.client).await.expect("asked")
        });
        assert!(!has_partitions);
        Some(house)
    }

    fn with(name: &str, sql: &str) -> Option<Self> {
        let cluster = std::env::var("IGRIS_TEST_STORE_URL").ok()?;
        let url = testing::database(&cluster, &format!("books_{name}_{}", std::process::id()));
        testing::execute(&url, sql);
        let (fleet, id) = testing::join(&url);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Some(Self { connector: fleet.connector.clone(), _fleet: fleet, id, runtime })
    }

    fn books(&self) -> Books {
        Books::new(self.connector.clone(), self.id).expect("a runtime")
    }

    /// Rows, columns parted by a bar.
    fn sql(&self, sql: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let listening = self.connector.listen().await.expect("it answers");
            let answer = listening.client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            let rows = answer.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let columns: Vec<&str> = (0..row.len()).map(|place| row.get(place).unwrap_or("null")).collect();
                    Some(columns.join("|"))
                }
                _ => None,
            });
            rows.collect()
        })
    }

    /// Attempts, those of the hours, those of the days, and the three sums of money.
    fn sums(&self) -> String {
        self.sql(
            "SELECT (SELECT count(*) FROM igris.attempts), (SELECT sum(attempts) FROM igris.usage_hours),
                (SELECT sum(attempts) FROM igris.usage_days), (SELECT sum(cost_pico) FROM igris.attempts),
                (SELECT sum(cost_pico) FROM igris.usage_hours), (SELECT sum(cost_pico) FROM igris.usage_days)",
        )
        .concat()
    }

    /// Their names, without the schema.
    fn partitions(&self, table: &str) -> Vec<String> {
        self.sql(&format!(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = 'igris.{table}'::regclass ORDER BY 1"
        ))
    }
}

fn close(number: u128, started: UnixMillis) -> Close<'static> {
    Close {
        attempt: AttemptId::from_bits(number),
        exchange: RequestId::from_bits(number + 7),
        started,
        tenant: "acme",
        access_key: AccessKeyId::from_bits(3),
        provider: "openai",
        model: "gpt-4o",
        policy: "ordered",
        credential: (number.is_multiple_of(2)).then(|| CredentialId::from_bits(9)),
        outcome: "completed",
        status: 200,
        last: !number.is_multiple_of(3),
        failed: number.is_multiple_of(5),
        unpriced: false,
        source: if number.is_multiple_of(7) { "estimated" } else { "provider" },
        input_tokens: 11,
        output_tokens: 5,
        cached_tokens: 2,
        cost: Some(Money::from_pico(i128::try_from(number).expect("small") * 1_000_000_000_000_000_000_000)),
    }
}

/// A shipment of one lane.
fn shipment(lane: &str, since: u64, number: u64, closes: impl IntoIterator<Item = Close<'static>>) -> Shipment {
    let mut shipment = Shipment::default();
    closes.into_iter().for_each(|close| shipment.add(&close));
    let closes = shipment.len() as u64;
    shipment.end(LaneEnd { lane: lane.to_owned(), since, number, closes });
    shipment
}

fn numbered(numbers: std::ops::Range<u128>, started: UnixMillis) -> impl Iterator<Item = Close<'static>> {
    numbers.map(move |number| close(number, started))
}

/// What `sums` answers for the attempts 1 to `count`.
fn whole(count: u128) -> String {
    let cost = count * (count + 1) / 2 * 1_000_000_000_000_000_000_000;
    format!("{count}|{count}|{count}|{cost}|{cost}|{cost}")
}

#[test]
fn what_is_sent_twice_counts_once_and_marks_only_move_on() {
    let Some(house) = House::new("twice") else { return };
    let mut books = house.books();
    let lanes = ["run/0".to_owned(), "run/1".to_owned()];
    assert!(books.marks(&lanes).expect("asked").is_empty());
    assert_eq!(books.ship(&shipment("run/0", 0, 8, numbered(1..5, EVENING))), Ok(4));
    // The answer was lost: the same goes again, and is refused by the lane.
    assert_eq!(books.ship(&shipment("run/0", 0, 8, numbered(1..5, EVENING))), Err(BooksFault::Behind));
    assert_eq!(books.ship(&shipment("run/0", 6, 9, numbered(5..6, EVENING))), Err(BooksFault::Behind));
    assert_eq!(house.sums(), whole(4), "nothing of what was refused is there");
    // A close that stands again in the journal, in another lane, and twice in one shipment.
    let again = numbered(3..7, EVENING).chain(numbered(5..7, EVENING));
    assert_eq!(books.ship(&shipment("run/1", 0, 20, again)), Ok(2));
    assert_eq!(house.sums(), whole(6));
    // One that is known alone still moves its lane.
    assert_eq!(books.ship(&shipment("run/0", 8, 12, numbered(1..2, EVENING))), Ok(0));
    let marks = books.marks(&lanes).expect("asked");
    assert_eq!(marks.into_iter().collect::<Vec<_>>(), [(lanes[0].clone(), 12), (lanes[1].clone(), 20)]);
    books.forget(&lanes).expect("forgotten");
    assert!(house.books().marks(&lanes).expect("asked").is_empty());
    // A machine that was put back to an older state ships everything again.
    assert_eq!(house.books().ship(&shipment("run/0", 0, 8, numbered(1..5, EVENING))), Ok(0));
    assert_eq!(house.sums(), whole(6));
}

#[test]
fn sums_are_those_of_the_attempts_in_every_column() {
    let Some(house) = House::new("columns") else { return };
    let odd = Close {
        attempt: AttemptId::from_bits(900),
        tenant: "o'hara",
        model: "a\0b",
        outcome: "refused",
        unpriced: true,
        input_tokens: u64::MAX,
        cost: None,
        ..close(900, MIDNIGHT)
    };
    let closes = numbered(1..40, EVENING).chain(numbered(40..60, MIDNIGHT)).chain([odd]);
    assert_eq!(house.books().ship(&shipment("run/0", 0, 200, closes)), Ok(60));
    let sums = |from: &str, hour: &str, columns: &str| {
        house.sql(&format!(
            "SELECT tenant, {hour}, provider, model, policy, credential, access_key, {columns} FROM igris.{from} ORDER BY 1, 2, 3, 4, 5, 6, 7"
        ))
    };
    let kept = "requests, attempts, failed, estimated, unpriced, input_tokens, output_tokens, cached_tokens, cost_pico";
    let made = "count(*) FILTER (WHERE last), count(*), count(*) FILTER (WHERE failed), count(*) FILTER (WHERE source = 'estimated'),
        count(*) FILTER (WHERE unpriced), sum(input_tokens), sum(output_tokens), sum(cached_tokens), coalesce(sum(cost_pico), 0)";
    let grouped =
        |hour: &str| format!("attempts GROUP BY tenant, {hour}, provider, model, policy, credential, access_key");
    let hours = sums("usage_hours", "hour", kept);
    assert_eq!(hours, sums(&grouped("started / 3600000"), "started / 3600000", made));
    assert_eq!(sums("usage_days", "day", kept), sums(&grouped("day"), "day", made));
    assert_eq!(hours.len(), 5, "two hours with and without a key, and the odd one: {hours:?}");
    assert!(hours.iter().any(|line| line.starts_with("o'hara|480024|openai|a\u{fffd}b|ordered|")), "{hours:?}");
}

#[test]
fn two_shippers_of_one_lane_count_it_once() {
    let Some(house) = House::new("shippers") else { return };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut books, mut at) = (house.books(), 0);
                while at < 400 {
                    let next = at + 10;
                    let numbers = u128::from(at) + 1..u128::from(next) + 1;
                    match books.ship(&shipment("run/0", at, next, numbered(numbers, EVENING))) {
                        Ok(fresh) => (at, _) = (next, assert_eq!(fresh, 10)),
                        Err(BooksFault::Behind) => {
                            at = books.marks(&["run/0".to_owned()]).expect("asked").get("run/0").copied().unwrap_or(0);
                        }
                        Err(fault) => panic!("{fault}"),
                    }
                }
            });
        }
    });
    assert_eq!(house.sums(), whole(400));
    assert_eq!(house.sql("SELECT number, closes FROM igris.lanes"), ["400|400"]);
}

#[test]
fn machines_that_add_to_the_same_lines_and_days_at_once_lose_nothing() {
    let Some(house) = House::new("machines") else { return };
    let names: Vec<&'static str> = (0..6).map(|number| &*format!("model-{number}").leak()).collect();
    std::thread::scope(|scope| {
        for machine in 0..4u64 {
            let (house, names) = (&house, &names);
            scope.spawn(move || {
                let (mut books, mut dice) = (house.books(), fastrand::Rng::with_seed(machine));
                for piece in 0..15u64 {
                    let first = u128::from(machine * 300 + piece * 20);
                    let mut closes: Vec<_> = (first + 1..first + 21)
                        .map(|number| {
                            // Days that nobody has made a partition of.
                            let at = UnixMillis(EVENING.0 + dice.u64(..4) * 86_400_000);
                            Close { model: names[dice.usize(..6)], ..close(number, at) }
                        })
                        .collect();
                    dice.shuffle(&mut closes);
                    let lane = format!("machine-{machine}/0");
                    assert_eq!(books.ship(&shipment(&lane, piece, piece + 1, closes)), Ok(20));
                }
            });
        }
    });
    assert_eq!(house.sums(), whole(1_200));
    let days = house.partitions("attempts");
    assert_eq!(
        days,
        house.partitions("usage_hours").iter().map(|name| name.replace("usage_hours", "attempts")).collect::<Vec<_>>()
    );
    assert!(days.len() >= 4 && days.contains(&"attempts_2024_10_04".to_owned()), "{days:?}");
}

#[test]
fn what_the_database_does_not_keep_is_not_acknowledged() {
    let Some(house) = House::new("counted") else { return };
    let mut books = house.books();
    assert_eq!(books.ship(&shipment("run/0", 0, 4, numbered(1..3, EVENING))), Ok(2));
    house.sql(
        "CREATE FUNCTION igris.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.attempt = decode(lpad(to_hex(4), 32, '0'), 'hex') THEN RETURN NULL; END IF; RETURN NEW; END $$;
         CREATE TRIGGER swallow BEFORE INSERT ON igris.attempts_2024_10_04 FOR EACH ROW EXECUTE FUNCTION igris.swallow()",
    );
    let refused = books.ship(&shipment("run/0", 4, 8, numbered(2..6, EVENING)));
    assert_eq!(refused, Err(BooksFault::Uncounted { sent: 4, there: 3 }));
    assert_eq!(house.sums(), whole(2));
    house.sql("DROP TRIGGER swallow ON igris.attempts_2024_10_04");
    assert_eq!(books.ship(&shipment("run/0", 4, 8, numbered(2..6, EVENING))), Ok(3));
    assert_eq!(house.sums(), whole(5));
}

#[test]
fn retention_drops_whole_days_that_are_old_by_one_machine_alone() {
    let Some(house) = House::new("retention") else { return };
    let now = UnixMillis::now();
    let ago = |days: u64| UnixMillis(now.0 - days * 86_400_000);
    let mut books = house.books();
    let closes = [0, 1, 2, 3, 9].into_iter().zip(1..).map(|(days, number)| close(number, ago(days)));
    assert_eq!(books.ship(&shipment("run/0", 0, 9, closes)), Ok(5));
    house.sql("CREATE TABLE igris.attempts_by_hand PARTITION OF igris.attempts FOR VALUES FROM (1) TO (2)");
    let keep = Keep { attempts: Some(2 * DAY), hours: Some(5 * DAY) };
    assert_eq!(books.tend(&keep), Ok(Tended::Done));
    let left = |table: &str| house.sql(&format!("SELECT count(*) FROM igris.{table}")).concat();
    assert_eq!((left("attempts"), left("usage_hours"), left("usage_days")), ("3".into(), "4".into(), "5".into()));
    assert!(house.partitions("attempts").contains(&"attempts_by_hand".to_owned()), "what somebody else made stays");
    let tomorrow = super::shipment::day_of(UnixMillis(now.0 + 86_400_000));
    let bounds = house.sql("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname LIKE 'attempts_2%'");
    assert!(bounds.iter().any(|bound| bound.contains(&format!("({tomorrow})"))), "made ahead: {bounds:?}");
    // Within the hour nobody does it again; without a limit nothing goes.
    let sparing = Keep { attempts: Some(DAY), hours: None };
    assert_eq!(house.books().tend(&sparing), Ok(Tended::Done));
    assert_eq!(left("attempts"), "3");
    house.sql("UPDATE igris.books SET tended = 0");
    assert_eq!(house.books().tend(&Keep::default()), Ok(Tended::Done));
    assert_eq!((left("attempts"), left("usage_hours")), ("3".into(), "4".into()));
    // Who still has something of a day that is gone makes it again, on a connection that knew the day.
    assert_eq!(books.ship(&shipment("run/0", 9, 10, [close(6, ago(9))])), Ok(1));
    assert_eq!(left("attempts"), "4");
}

#[test]
fn an_engine_without_partitions_has_plain_tables_and_deletes_some_rows_at_a_time() {
    let Some(house) = House::plain("plain") else { return };
    let now = UnixMillis::now();
    let ago = |days: u64| UnixMillis(now.0 - days * 86_400_000);
    let mut books = house.books();
    let closes = [0, 1, 2, 3, 9].into_iter().zip(1..).map(|(days, number)| close(number, ago(days)));
    assert_eq!(books.ship(&shipment("run/0", 0, 9, closes)), Ok(5));
    assert_eq!(books.ship(&shipment("run/0", 9, 12, numbered(5..6, ago(9)))), Ok(0));
    assert_eq!(house.sums(), whole(5));
    let keep = Keep { attempts: Some(2 * DAY), hours: Some(5 * DAY) };
    let mut turns = 1;
    while books.tend(&keep).expect("tended") == Tended::Part {
        turns += 1;
    }
    assert_eq!(turns, 2, "as long as something was there to delete");
    let left = |table: &str| house.sql(&format!("SELECT count(*) FROM igris.{table}")).concat();
    assert_eq!((left("attempts"), left("usage_hours"), left("usage_days")), ("3".into(), "4".into(), "5".into()));
    assert_eq!(
        books.tend(&Keep { attempts: Some(Duration::ZERO), hours: None }),
        Ok(Tended::Done),
        "not within the hour"
    );
    assert_eq!(left("attempts"), "3");
}

#[test]
fn who_is_cut_off_in_the_middle_holds_no_locks_for_long() {
    let Some(house) = House::new("cut") else { return };
    let begin = super::begin("3s");
    let said = house.sql(&format!("{begin}; SHOW idle_in_transaction_session_timeout; SHOW lock_timeout; ROLLBACK"));
    assert_eq!(said, ["10s", "3s"]);
}

#[test]
fn a_step_with_partitions_says_the_same_without() {
    let plain = schema::plain(schema::BOOKS);
    assert!(schema::BOOKS.contains("PARTITION") && !plain.contains("PARTITION"), "{plain}");
    assert_eq!(plain.matches("CREATE TABLE").count(), schema::BOOKS.matches("CREATE TABLE").count());
    assert_eq!(schema::plain("CREATE TABLE a (b integer)"), "CREATE TABLE a (b integer)");
}

#[test]
fn another_database_takes_no_books() {
    let Some(house) = House::new("another") else { return };
    let mut books = Books::new(house.connector.clone(), [9; 16]).expect("a runtime");
    let refused = books.ship(&shipment("run/0", 0, 4, numbered(1..3, EVENING)));
    assert!(matches!(refused, Err(BooksFault::Refused(_))), "{refused:?}");
    assert_eq!(house.sql("SELECT count(*) FROM igris.attempts"), ["0"]);
}

#[test]
fn a_day_begins_at_midnight() {
    let last = UnixMillis(MIDNIGHT.0 - 1);
    assert_eq!((day_of(EVENING), day_of(last), day_of(MIDNIGHT)), (20_000, 20_000, 20_001));
}
