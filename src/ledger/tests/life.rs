//! A journal in good times.

use super::*;
use crate::report::brief::Brief;

#[test]
fn what_is_written_is_read_in_order_across_segments() {
    let place = Place::new("order");
    let (ledger, recovered) = open(plan(&place));
    assert_eq!(recovered, Recovered::default());
    let journal = ledger.journal(0).expect("a pen");
    for attempt in 1..=200 {
        wait_until("there is room", || journal.has_room(1));
        // Where room is short, a mark is left out.
        assert!(begin(&journal, attempt) <= journal.mark(&mark(attempt, 5)));
        journal.close(&report(attempt));
    }
    assert!(place.segments().len() > 4, "it rolled");
    let all = entries(&place);
    let numbers: Vec<u64> = all.iter().map(|(_, number, _)| *number).collect();
    assert!(numbers.len() > 400, "some marks are there");
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    for (attempt, close) in closes(&all) {
        assert_eq!(format!("{close:?}"), format!("{:?}", report(attempt)));
    }
    assert_eq!(closes(&all).len(), 200);
    assert_eq!(journal.lane(), all[0].0);
    assert_eq!(ledger.status().records, numbers.len() as u64);
}

#[test]
fn a_reader_goes_on_where_it_stood_and_anew_from_a_number() {
    let place = Place::new("resume");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    let (lane, mut reader) = (journal.lane(), Reader::new(&place.ledger(), None));
    let mut after = 0;
    for attempt in 1..=100 {
        begin(&journal, attempt);
        journal.close(&report(attempt));
        let mut seen = Vec::new();
        after = reader.read(&lane, after, 10, &mut |number, _| seen.push(number)).expect("it is whole");
        assert_eq!(seen, [2 * attempt - 1, 2 * attempt], "everything that is written, and nothing twice");
    }
    for after in [0, 1, 57, 150, 199, 200, 500] {
        let mut seen = Vec::new();
        let read =
            Reader::new(&place.ledger(), Some(key())).read(&lane, after, 1_000, &mut |number, _| seen.push(number));
        assert_eq!(read.expect("it is whole"), after.max(200));
        assert_eq!(seen, (after + 1..=200).collect::<Vec<_>>());
    }
    assert_eq!(reader.read("../etc/0", 0, 10, &mut |_, _| {}).expect("nothing is there"), 0);
}

#[test]
fn what_the_books_read_is_what_stands_there_also_of_a_run_that_is_taken_for_granted() {
    let place = Place::new("briefly");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    for attempt in 1..=300 {
        begin(&journal, attempt);
        if attempt % 3 > 0 {
            journal.mark(&mark(attempt, attempt));
        }
        journal.close(&report(attempt));
    }
    let (lane, whole) = (journal.lane(), entries(&place));
    let mut trusting = Reader::new(&place.ledger(), Some(key()));
    trusting.trust(lane.split('/').next().expect("a run"));
    for mut reader in [Reader::new(&place.ledger(), Some(key())), trusting] {
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let mut each = |number, brief: Option<Brief<'_>>| seen.push((number, brief.map(|one| format!("{one:?}"))));
            let last = reader.read_briefly(&lane, after, 37, &mut each).expect("it is whole");
            if last == after {
                break;
            }
            after = last;
        }
        let close = |entry: &Entry| match entry {
            Entry::Close(report) => Some(format!("{:?}", Brief::of(report))),
            _ => None,
        };
        let expected: Vec<_> = whole.iter().map(|(_, number, entry)| (*number, close(entry))).collect();
        assert!(seen == expected && seen.len() > 600, "{} of {}", seen.len(), expected.len());
    }
}

#[test]
fn a_run_that_ended_well_is_not_replayed() {
    let place = Place::new("well");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    begin(&journal, 1);
    journal.close(&report(1));
    drop(journal);
    ledger.finish().expect("the disk takes it");
    drop(ledger);
    let before = place.bytes();
    let (ledger, recovered) = open(plan(&place));
    assert_eq!(recovered, Recovered::default());
    drop(ledger);
    let after = place.bytes();
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "nothing was touched");
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(verification.is_whole() && verification.chain, "{verification:?}");
    assert_eq!((verification.lanes[0].attempts, verification.lanes[0].closed), (1, 1));
}

#[test]
fn open_attempts_of_a_dead_run_are_closed_as_interrupted() {
    let place = Place::new("dead");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    begin(&journal, 1);
    journal.close(&report(1));
    begin(&journal, 2);
    journal.mark(&mark(2, 40));
    journal.mark(&mark(2, 60));
    journal.open(&report(3), 90, None);
    die(ledger, vec![journal]);
    let (ledger, recovered) = open(plan(&place));
    assert_eq!((recovered.runs, recovered.interrupted, recovered.torn_bytes), (1, 2, 0));
    let closes = closes(&entries(&place));
    assert_eq!(closes.len(), 3);
    let (second, third) = (&closes[&2], &closes[&3]);
    assert_eq!((second.outcome, second.usage_source), (Outcome::Interrupted, UsageSource::Estimated));
    assert_eq!((second.usage.input, second.usage.output), (80, 60), "the last mark counts");
    assert_eq!(second.cost, Some(Money::from_pico(80 * 2_500_000 + 60 * 10_000_000)));
    assert_eq!((second.started, second.price_version), (report(2).started, 3));
    assert_eq!((third.usage.input, third.usage.output, third.cost), (90, 0, None), "without a mark: what was sent");
    assert!(second.last && third.last);
    assert!(verify(&place.ledger(), Some(&key())).expect("it can be read").is_whole());
    drop(ledger);
    let (_ledger, again) = open(plan(&place));
    assert_eq!(again.interrupted, 0, "once");
}

#[test]
fn the_last_open_attempt_of_an_exchange_is_its_last_one_unless_one_was() {
    let place = Place::new("last");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    let of =
        |attempt: u64, exchange: u128| AttemptReport { exchange: RequestId::from_bits(exchange), ..report(attempt) };
    // An exchange of two that race, neither done; one whose winner is known; one that was tried again.
    for (attempt, exchange) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        journal.open(&of(attempt, exchange), 1, None);
    }
    journal.close(&of(4, 2));
    journal.close(&AttemptReport { last: false, ..of(5, 3) });
    journal.open(&of(6, 3), 1, None);
    die(ledger, vec![journal]);
    let (_ledger, recovered) = open(plan(&place));
    assert_eq!(recovered.interrupted, 4);
    let closes = closes(&entries(&place));
    let last: Vec<u64> = closes.iter().filter(|(_, close)| close.last).map(|(attempt, _)| *attempt).collect();
    assert_eq!(last, [2, 4, 6]);
}

#[test]
fn a_worker_that_starts_anew_goes_on_in_its_lane() {
    let place = Place::new("anew");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    begin(&journal, 1);
    begin(&journal, 2);
    journal.close(&report(1));
    let lane = journal.lane();
    drop(journal);
    let journal = ledger.journal(0).expect("another pen");
    assert_eq!(journal.lane(), lane);
    begin(&journal, 3);
    journal.close(&report(3));
    // One that is not dropped, because its thread hangs: the next has a lane of its own.
    let other = ledger.journal(0).expect("a pen");
    assert_ne!(other.lane(), lane);
    begin(&other, 4);
    other.close(&report(4));
    let all = entries(&place);
    assert_eq!(closes(&all).keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(closes(&all)[&2].outcome, Outcome::Interrupted);
    drop((journal, other));
    ledger.finish().expect("the disk takes it");
    assert!(verify(&place.ledger(), Some(&key())).expect("it can be read").is_whole());
}

#[test]
fn the_run_of_a_living_process_is_left_alone() {
    let place = Place::new("two");
    let (first, _) = open(plan(&place));
    let journal = first.journal(0).expect("a pen");
    begin(&journal, 1);
    let (second, recovered) = open(plan(&place));
    assert_eq!(recovered, Recovered::default());
    assert!(first.run() < second.run(), "runs sort by time even when the clock stands");
    let other = second.journal(0).expect("a pen");
    begin(&other, 2);
    assert_eq!(second.recover().expect("it is whole"), Recovered::default());
    journal.close(&report(1));
    begin(&journal, 3);
    die(first, vec![journal]);
    let recovered = second.recover().expect("it is whole");
    assert_eq!((recovered.runs, recovered.interrupted), (1, 1));
    assert_eq!(second.recover().expect("it is whole"), Recovered::default(), "once");
    other.close(&report(2));
    assert_eq!(closes(&entries(&place)).len(), 3);
}

#[test]
fn what_is_old_and_in_the_books_is_pruned() {
    let place = Place::new("prune");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    for attempt in 1..=300 {
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    let lane = journal.lane();
    wait_until("full segments are sealed", || {
        place
            .segments()
            .iter()
            .filter(|path| fs::metadata(path).is_ok_and(|file| file.len() < SEGMENT_BYTES_MIN))
            .count()
            > 2
    });
    let (never, now) = (UnixMillis(0), UnixMillis(u64::MAX));
    assert_eq!(ledger.prune(never, &|_| u64::MAX).expect("it can"), 0, "nothing is that old");
    assert_eq!(ledger.prune(now, &|_| 0).expect("it can"), 0, "nothing is in the books");
    let pruned = ledger.prune(now, &|name| if name == lane { 120 } else { 0 }).expect("it can");
    assert!(pruned > 0);
    let mut seen = Vec::new();
    let mut reader = Reader::new(&place.ledger(), Some(key()));
    reader.read(&lane, 120, 1_000, &mut |number, _| seen.push(number)).expect("it is whole");
    assert_eq!(seen, (121..=600).collect::<Vec<_>>(), "what is not in the books stays");
    begin(&journal, 301);
    die(ledger, vec![journal]);
    let (ledger, recovered) = open(plan(&place));
    assert_eq!(recovered.interrupted, 1);
    ledger.prune(now, &|_| u64::MAX).expect("it can");
    assert!(!place.segments().iter().any(|path| !path.starts_with(place.ledger().join(ledger.run()))));
    assert_eq!(fs::read_dir(place.ledger()).expect("runs").flatten().filter(|run| run.path().is_dir()).count(), 1);
}

#[test]
fn an_attempt_that_lives_long_keeps_its_segment() {
    let place = Place::new("long");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    begin(&journal, 1_000);
    for attempt in 1..=100 {
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    assert_eq!(ledger.prune(UnixMillis(u64::MAX), &|_| u64::MAX).expect("it can"), 0);
    die(ledger, vec![journal]);
    let (_ledger, recovered) = open(plan(&place));
    assert_eq!(recovered.interrupted, 1, "its intent is found where it is");
    assert_eq!(closes(&entries(&place)).len(), 101);
}

#[test]
fn texts_beyond_their_bound_are_cut_and_the_largest_record_fits() {
    let place = Place::new("texts");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    let long = "é".repeat(5_000);
    let report = AttemptReport {
        tenant: TenantId::new(&long),
        provider: ProviderId::new(&long),
        model: Arc::from(long.as_str()),
        cost: Some(Money::from_pico(i128::MAX)),
        ..report(1)
    };
    journal.open(&report, u64::MAX, Some(Rates { input_pico: u64::MAX, output_pico: u64::MAX }));
    journal.close(&report);
    let close = closes(&entries(&place)).remove(&1).expect("it is closed");
    assert_eq!(close.model.len(), 256);
    assert!(long.starts_with(&*close.model));
}

#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("modes");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    begin(&journal, 1);
    let run = place.ledger().join(ledger.run());
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&place.ledger()), mode(&run)), (0o700, 0o700));
    for file in fs::read_dir(run).expect("files").flatten() {
        assert_eq!(mode(&file.path()), 0o600, "{:?}", file.file_name());
    }
}
