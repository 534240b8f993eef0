//! The books from a journal: once each, whatever the store refuses and whenever the process ends.

use super::*;
use crate::control_plane::journal::ship::Shipper;
use crate::control_plane::journal::ship::tests::{Fake, Mood};
use crate::control_plane::journal::{JournalSeat, Reach};
use crate::ledger::{Durability, Journal, Ledger, LedgerPlan, Reader};
use crate::limits::books::{ATTEMPT_TOKENS_MAX, BATCH_RECORDS, PRUNE_TICK, REPEAT_RECORDS_MAX};
use crate::vault::LedgerKey;

/// A process that keeps a journal.
struct Process {
    control: Control,
    ledger: Arc<Ledger>,
    run: String,
}

fn plan(directory: &std::path::Path) -> LedgerPlan {
    let key = Arc::new(LedgerKey::for_tests());
    LedgerPlan { reserve: 0, clock, ..LedgerPlan::new(directory.to_owned(), key, Durability::Process, 1) }
}

impl Process {
    fn start(house: &House) -> Self {
        Self::start_with(house, CONFIG)
    }

    fn start_with(house: &House, config: &str) -> Self {
        // Runs are told apart by their beginning.
        CLOCK.set(CLOCK.get() + 1);
        let mut control = house.open(config);
        let directory = house.directory.join("ledger");
        let key = Arc::new(LedgerKey::for_tests());
        let reader = Reader::new(&directory, Some(key));
        let (ledger, recovered) = Ledger::open(plan(&directory)).expect("a ledger");
        let run = ledger.run().to_owned();
        let seat = JournalSeat { ledger: ledger.clone(), reader, directory, durability: "process", recovered };
        control.keep_journal(seat).expect("the books are there");
        Self { control, ledger, run }
    }

    fn pen(&self) -> Journal {
        self.ledger.journal(0).expect("a journal")
    }

    /// Attempts and picodollars of `acme`, as an API call reads them.
    fn seen(&mut self) -> (u64, i128) {
        let total = self.control.usage(&tenant("acme"), UsagePeriod::Day, clock()).expect("summed").total;
        (total.attempts, total.cost.pico())
    }

    /// How far the store says the books are in this process's lane.
    fn booked(&mut self) -> u64 {
        let source = format!("ledger/{}/0", self.run);
        self.control.store.admin().usage_sequence(&source).expect("read").unwrap_or(0)
    }
}

/// Attempt number `number`, of one picodollar.
fn numbered(number: u128) -> AttemptReport {
    AttemptReport {
        attempt: AttemptId::from_bits(number),
        ..attempt("acme", Outcome::Completed, Some("0.000000000001"))
    }
}

fn make(pen: &Journal, numbers: std::ops::Range<u128>) {
    for number in numbers {
        let report = numbered(number);
        let _ = pen.open(&report, 10, None);
        let _ = pen.close(&report);
    }
}

#[test]
fn what_is_journaled_is_in_the_books_once_and_reports_add_nothing() {
    let house = House::new("journal-once");
    let mut process = Process::start(&house);
    let pen = process.pen();
    make(&pen, 1..4);
    for _ in 0..3 {
        report(&house, "acme", Outcome::Completed, true, Some("0.000000000001"));
    }
    assert_eq!(process.seen(), (3, 3));
    assert_eq!(process.control.provider_stats("openai").expect("configured")["requests"], 3, "figures are of reports");
    make(&pen, 4..6);
    process.control.tick();
    assert_eq!((process.seen(), process.booked()), ((5, 5), 10));
    assert_eq!(process.control.store.admin().usage_sequence("reports").expect("read"), None);
    // Killed: what was written after the last tick is there at the next start, before anybody asks.
    make(&pen, 6..8);
    drop(process);
    let mut process = Process::start(&house);
    let filter = crate::store::UsageFilter { hours: 0..u64::MAX >> 1 };
    let mut attempts = 0;
    process.control.store.admin().for_each_usage(&filter, |row| attempts += row.attempts).expect("read");
    assert_eq!(attempts, 7, "in the store before serving");
    assert_eq!(process.seen(), (7, 7));
    let status = process.control.status();
    assert_eq!((&status["ledger"]["durability"], &status["ledger"]["behind_seconds"]), (&"process".into(), &0.into()));
}

#[test]
fn tokens_that_a_provider_made_up_stop_no_books() {
    let house = House::new("journal-made-up");
    let mut process = Process::start(&house);
    let pen = process.pen();
    for number in 1..4 {
        let usage = Usage { input: u64::MAX, output: u64::MAX, cached_input: u64::MAX, ..Usage::default() };
        let report = AttemptReport { usage, ..numbered(number) };
        let _ = pen.open(&report, 10, None);
        let _ = pen.close(&report);
        assert_eq!(process.seen(), (number as u64, number as i128), "each in a transaction of its own");
    }
    let total = process.control.usage(&tenant("acme"), UsagePeriod::Day, clock()).expect("summed").total;
    assert_eq!((total.input_tokens, total.output_tokens), (3 * ATTEMPT_TOKENS_MAX, 3 * ATTEMPT_TOKENS_MAX));
}

#[test]
fn a_store_that_refuses_costs_nothing() {
    let house = House::new("journal-refused");
    let mut process = Process::start(&house);
    let pen = process.pen();
    make(&pen, 1..10);
    let path = process.control.place.store.clone();
    process.control.store.release().expect("closed");
    for _ in 0..3 {
        process.control.ingest().expect_err("there are no tables");
    }
    make(&pen, 10..12);
    process.control.store.take_back(&path).expect("open again");
    assert_eq!(process.seen(), (11, 11));
}

#[test]
fn pieces_are_bounded_and_a_kill_between_two_of_them_neither_skips_nor_repeats() {
    let house = House::new("journal-pieces");
    let mut process = Process::start(&house);
    let count = u128::try_from(BATCH_RECORDS).expect("small") + 5;
    make(&process.pen(), 1..count + 1);
    let books = process.control.journal.as_mut().expect("a journal");
    let reach = books.lanes.take(&mut process.control.store, Some(Instant::now())).expect("taken");
    assert_eq!(reach, Reach::Part, "one piece and its time is up");
    assert_eq!(process.booked(), u64::try_from(BATCH_RECORDS).expect("small"));
    drop(process);
    let mut process = Process::start(&house);
    let all = u64::try_from(count).expect("small");
    assert_eq!(process.seen(), (all, i128::from(all)));
}

#[test]
fn a_record_that_is_written_again_counts_once_also_after_a_restart() {
    let house = House::new("journal-repeats");
    let mut process = Process::start(&house);
    let pen = process.pen();
    make(&pen, 1..5);
    // After a failed sync: both of its records, with new numbers.
    make(&pen, 2..4);
    assert_eq!(process.seen(), (4, 4));
    make(&pen, 4..7);
    assert_eq!(process.seen(), (6, 6), "also when the first one is in the books already");
    make(&pen, 5..8);
    let first = process.run.clone();
    drop(process);
    let mut process = Process::start(&house);
    assert_eq!(process.seen(), (7, 7), "and when it was another process that took it in");
    assert!(process.run != first && REPEAT_RECORDS_MAX > 14);
}

#[test]
fn two_processes_each_have_their_run_and_the_one_with_the_store_reads_both() {
    let house = House::new("journal-upgrade");
    let mut old = Process::start(&house);
    let old_pen = old.pen();
    make(&old_pen, 1..3);
    old.control.release(WHO).expect("released");
    make(&old_pen, 3..4);
    let mut new = Process::start(&house);
    let new_pen = new.pen();
    make(&new_pen, 100..102);
    old.control.part();
    report(&house, "acme", Outcome::Completed, true, None);
    assert_eq!(old.control.next_batch(), None, "nothing is passed on");
    assert_eq!(house.reports.waiting(), 0, "and no queue fills");
    make(&old_pen, 4..6);
    assert_eq!(new.seen(), (7, 7));
    drop(old);
    make(&new_pen, 102..103);
    assert_eq!(new.seen(), (8, 8));
}

#[test]
fn a_store_that_was_away_is_gone_on_with_where_the_other_process_stopped() {
    let house = House::new("journal-back");
    let mut old = Process::start(&house);
    let pen = old.pen();
    make(&pen, 1..3);
    old.control.release(WHO).expect("released");
    {
        let mut new = Process::start(&house);
        make(&pen, 3..4);
        make(&new.pen(), 100..101);
        assert_eq!(new.seen(), (4, 4), "it took in what the old one wrote meanwhile");
    }
    old.control.reclaim().expect("taken back");
    assert_eq!(old.seen(), (4, 4));
    make(&pen, 4..5);
    assert_eq!(old.seen(), (5, 5));
}

#[test]
fn budgets_count_what_a_killed_process_journaled_and_what_another_one_still_does() {
    let config = CONFIG.replace("$50/month", "$0.000001/month");
    let house = House::new("journal-budget");
    let spent = |process: &Process| {
        let snapshot = process.control.published().load_full();
        let key = shown(&process.control, APP_KEY.as_bytes()).expect("the key");
        let view = process.control.allowance_of_key(key.id).expect("it has a budget");
        drop(snapshot);
        (view.budgets[0].spent * 1e9).round()
    };
    let mut process = Process::start_with(&house, &config);
    let key = shown(&process.control, APP_KEY.as_bytes()).expect("the key").id;
    let costly =
        |number: u128| AttemptReport { access_key: key, cost: Money::parse_usd("0.0000001"), ..numbered(number) };
    let pen = process.pen();
    for number in 1..4 {
        let _ = pen.open(&costly(number), 1, None);
        let _ = pen.close(&costly(number));
    }
    process.control.tick();
    assert_eq!(spent(&process), 0.0, "what this process does, its own counters know from its cores");
    let _ = pen.open(&costly(4), 1, None);
    let _ = pen.close(&costly(4));
    drop(process);
    let mut process = Process::start_with(&house, &config);
    assert_eq!(spent(&process), 400.0, "also what no tick had taken in");
    // A process that finishes what it has writes on in its own run.
    let (other, _) = Ledger::open(plan(&house.directory.join("ledger"))).expect("a ledger");
    let pen = other.journal(0).expect("a journal");
    let _ = pen.open(&costly(9), 1, None);
    let _ = pen.close(&costly(9));
    process.control.tick();
    assert_eq!(spent(&process), 500.0, "added while this one serves");
    process.control.tick();
    assert_eq!(spent(&process), 500.0, "once");
}

#[test]
fn what_is_old_goes_and_its_name_with_it() {
    let house = House::new("journal-keep");
    let config = format!("{CONFIG}\n[ledger]\nkeep = \"2h\"\n");
    let mut process = Process::start_with(&house, &config);
    make(&process.pen(), 1..4);
    assert_eq!(process.seen(), (3, 3));
    let first = format!("ledger/{}/0", process.run);
    drop(process);
    let mut process = Process::start_with(&house, &config);
    make(&process.pen(), 4..5);
    let _ = process.seen();
    process.control.tick();
    assert!(process.control.store.admin().usage_sequence(&first).expect("read").is_some(), "it is young");
    CLOCK.set(clock().0 + 4 * 3_600_000);
    make(&process.pen(), 5..6);
    process.control.tend_journal(clock(), Instant::now() + PRUNE_TICK);
    assert_eq!(process.control.store.admin().usage_sequence(&first).expect("read"), None);
    assert_eq!(process.seen(), (5, 5), "sums stay");
    assert!(events(&process.control).contains("segments of the journal from before"), "{}", events(&process.control));
    let kept = process.control.store.admin().usage_sequence("journal.kept").expect("read");
    assert_eq!(kept.map(|at| at % 3_600_000), Some(0), "from a whole hour on");
}

#[test]
fn what_the_books_of_all_machines_do_not_have_is_not_deleted_however_old() {
    let house = House::new("journal-unshipped");
    let config = format!("{CONFIG}\n[ledger]\nkeep = \"2h\"\n");
    let (fake, directory) = (Fake::default(), house.directory.join("ledger"));
    fake.kept().mood = Mood::Gone;
    let start = || {
        let mut process = Process::start_with(&house, &config);
        let reader = Reader::new(&directory, Some(Arc::new(LedgerKey::for_tests())));
        let shipper = Shipper::start(fake.clone(), reader, Instant::now()).expect("a thread");
        process.control.journal.as_mut().expect("a journal").shipper = Some(shipper);
        process
    };
    let mut process = start();
    make(&process.pen(), 1..4);
    assert_eq!(process.seen(), (3, 3));
    let first = format!("{}/0", process.run);
    drop(process);
    let mut process = start();
    make(&process.pen(), 4..5);
    CLOCK.set(clock().0 + 4 * 3_600_000);
    make(&process.pen(), 5..6);
    let mut prunes = 0;
    let mut prune = |process: &mut Process| {
        prunes += 1;
        process.control.tick();
        process.control.tend_journal(clock(), Instant::now() + PRUNE_TICK * prunes);
        process.control.store.admin().usage_sequence(&format!("ledger/{first}")).expect("read")
    };
    assert!(prune(&mut process).is_some(), "it is old, and here alone");
    assert!(directory.join(&first).parent().expect("a run").exists());
    fake.kept().mood = Mood::Well;
    let end = Instant::now() + std::time::Duration::from_secs(10);
    while fake.kept().attempts.len() < 5 || fake.kept().lanes.contains_key(&first) {
        let _ = prune(&mut process);
        assert!(Instant::now() < end, "{:?}", fake.kept().lanes);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(prune(&mut process), None, "now it goes, and its mark there with it");
    assert!(!directory.join(&first).parent().expect("a run").exists());
    assert_eq!(process.seen(), (5, 5), "sums stay");
}
