//! A full disk and a disk that does not sync: nothing is admitted, everything that was admitted still closes, nothing is lost.

use super::*;

fn faulty(place: &Place, durability: Durability) -> (LedgerPlan, FaultyDisk) {
    let disk = FaultyDisk::new();
    (LedgerPlan { durability, disk: Arc::new(disk.clone()), ..plan(place) }, disk)
}

#[test]
fn on_a_full_disk_nothing_is_admitted_and_everything_that_was_can_close() {
    let place = Place::new("full");
    let (plan, disk) = faulty(&place, Durability::Process);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    wait_until("the reserve is made", || place.ledger().join(ledger.run()).join("reserve").exists());
    disk.set_full(true);
    // Admitted one after the other, as long as there is room for all of them.
    let mut admitted = 0;
    while journal.has_room(admitted + 1) {
        admitted += 1;
        begin(&journal, admitted as u64);
        assert!(admitted < 10_000);
        journal.mark(&mark(admitted as u64, 1));
    }
    assert!(admitted > 0);
    for attempt in 1..=admitted as u64 {
        journal.close(&AttemptReport { last: false, ..report(attempt) });
        for retry in [20_000, 40_000] {
            let next = AttemptReport { exchange: report(attempt).exchange, ..report(attempt + retry) };
            journal.open(&next, 1, None);
            journal.close(&next);
        }
    }
    assert_eq!(ledger.shared_lost(), 0, "every record had its room");
    assert_eq!(closes(&entries(&place)).len(), 3 * admitted);
    wait_until("it is said", || ledger.status().trouble.is_some());
    let trouble = ledger.status().trouble.expect("it is said");
    assert!(trouble.contains("no room") && trouble.contains("make room"), "{trouble}");
    assert!(!journal.has_room(1));
    assert!(ledger.status().full > 0);
    disk.set_full(false);
    wait_until("there is room again", || journal.has_room(1));
    assert_eq!(ledger.status().trouble, None);
    drop(journal);
    ledger.finish().expect("the disk takes it");
    assert!(verify(&place.ledger(), Some(&key())).expect("it can be read").is_whole());
}

#[test]
fn space_may_end_at_any_step() {
    for space in (0..14).map(|step| step * 12 * 1024) {
        let place = Place::new("space");
        let (plan, disk) = faulty(&place, Durability::Process);
        disk.set_space(space);
        let mut admitted = 0_u64;
        if let Ok((ledger, _)) = Ledger::open(plan)
            && let Ok(journal) = ledger.journal(0)
        {
            for _ in 0..200 {
                if !journal.has_room(1) {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                }
                admitted += 1;
                begin(&journal, admitted);
                journal.close(&report(admitted));
            }
            assert_eq!(ledger.shared_lost(), 0, "{space} bytes");
            die(ledger, vec![journal]);
        }
        disk.set_full(false);
        drop(open(super::plan(&place)));
        assert_eq!(closes(&entries(&place)).len() as u64, admitted, "{space} bytes");
    }
}

#[test]
fn a_sync_that_fails_is_never_repeated_and_what_is_open_is_written_again() {
    for failures in 1..=3 {
        let place = Place::new("sync");
        let (plan, disk) = faulty(&place, Durability::Power);
        let (ledger, _) = open(plan);
        let journal = ledger.journal(0).expect("a pen");
        let first = begin(&journal, 1);
        synced(&journal, first).expect("the disk is good");
        disk.fail_syncs(failures);
        let second = begin(&journal, 2);
        let mut position = second;
        let mut moves = 0;
        let last = loop {
            match synced(&journal, position) {
                Err(Some(next)) => {
                    assert!(next > position && moves == 0, "once, and forward");
                    (position, moves) = (next, moves + 1);
                }
                end => break end,
            }
        };
        assert!(ledger.status().sync_failures >= 1);
        assert!(last.is_ok() || failures > 1, "one failure is survived: {last:?}");
        wait_until("it is admitted again", || journal.has_room(1));
        assert_eq!(ledger.status().trouble, None);
        let third = begin(&journal, 3);
        synced(&journal, third).expect("the disk is good again");
        for attempt in 1..=3 {
            journal.close(&report(attempt));
        }
        let all = entries(&place);
        assert_eq!((closes(&all).len(), intents(&all).len()), (3, 3));
        die(ledger, vec![journal]);
        let (_ledger, recovered) = open(super::plan(&place));
        assert_eq!(recovered.interrupted, 0, "{failures} failures");
        let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
        assert!(verification.is_whole(), "{verification:?}");
        assert_eq!((verification.lanes[0].attempts, verification.lanes[0].closed), (3, 3));
        assert!(verification.lanes[0].restated >= 1);
    }
}

#[test]
fn while_no_sync_succeeds_nothing_is_admitted() {
    let place = Place::new("dead-disk");
    let (plan, disk) = faulty(&place, Durability::Power);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    assert!(journal.has_room(1));
    disk.fail_syncs(u64::MAX);
    let position = begin(&journal, 1);
    assert!(synced(&journal, position).is_err());
    assert!(!journal.has_room(1));
    let trouble = ledger.status().trouble.expect("it is said");
    assert!(trouble.contains("does not take"), "{trouble}");
    std::thread::sleep(Duration::from_millis(20));
    assert!(!journal.has_room(1), "still not");
    disk.fail_syncs(0);
    wait_until("it is admitted again, without a request", || journal.has_room(1));
    journal.close(&report(1));
    assert_eq!(closes(&entries(&place)).len(), 1);
}

#[test]
fn a_full_segment_that_cannot_be_synced_is_copied() {
    let place = Place::new("copied");
    let (plan, disk) = faulty(&place, Durability::Process);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    disk.fail_syncs(2);
    for attempt in 1..=200 {
        wait_until("there is room", || journal.has_room(1));
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    assert_eq!(ledger.status().sync_failures, 2);
    assert_eq!(closes(&entries(&place)).len(), 200);
    drop(journal);
    ledger.finish().expect("the disk takes it");
    assert!(verify(&place.ledger(), Some(&key())).expect("it can be read").is_whole());
}

#[test]
fn many_records_are_synced_at_once() {
    let place = Place::new("group");
    let (plan, disk) = faulty(&place, Durability::Power);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    let before = disk.syncs();
    let positions: Vec<Position> = (1..=40).map(|attempt| begin(&journal, attempt)).collect();
    for position in positions {
        synced(&journal, position).expect("the disk is good");
    }
    let syncs = disk.syncs() - before;
    assert!(syncs < 20, "{syncs} syncs for 40 records");
    die(ledger, vec![journal]);
}

#[test]
fn without_a_mapping_the_same_is_written() {
    let place = Place::new("unmapped");
    let (plan, disk) = faulty(&place, Durability::Power);
    disk.set_unmapped(true);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    for attempt in 1..=120 {
        wait_until("there is room", || journal.has_room(1));
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    let position = begin(&journal, 121);
    synced(&journal, position).expect("the disk is good");
    die(ledger, vec![journal]);
    let (_ledger, recovered) = open(super::plan(&place));
    assert_eq!((recovered.interrupted, recovered.torn_bytes), (1, 0));
    assert_eq!(closes(&entries(&place)).len(), 121);
}

/// Wakes the thread that made it.
struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn who_waits_for_a_sync_is_woken() {
    let place = Place::new("woken");
    let (plan, disk) = faulty(&place, Durability::Power);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    for attempt in 1..=30 {
        wait_until("there is room", || journal.has_room(1));
        if attempt % 10 == 0 {
            disk.fail_syncs(1);
        }
        let mut position = begin(&journal, attempt);
        let begun = Instant::now();
        loop {
            match journal.poll_synced(position, &mut cx) {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(next)) => position = next.expect("once is survived"),
                // Without a wake this lasts too long.
                Poll::Pending => std::thread::park_timeout(Duration::from_secs(20)),
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "attempt {attempt} was not woken for");
        journal.close(&report(attempt));
    }
    drop(journal);
    ledger.finish().expect("the disk takes it");
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(verification.is_whole(), "{verification:?}");
    assert_eq!(verification.lanes[0].closed, 30);
}

#[test]
fn the_last_segment_is_copied_when_it_cannot_be_synced() {
    let place = Place::new("last-copied");
    let (plan, disk) = faulty(&place, Durability::Process);
    let (ledger, _) = open(plan);
    let journal = ledger.journal(0).expect("a pen");
    begin(&journal, 1);
    journal.close(&report(1));
    drop(journal);
    disk.fail_syncs(1);
    ledger.finish().expect("a copy is taken");
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(verification.is_whole() && verification.lanes[0].finished, "{verification:?}");
}
