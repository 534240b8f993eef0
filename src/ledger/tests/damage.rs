//! What is not what was written: torn ends are cut, damage stops the start, and every change of a byte is noticed.

use super::*;

/// Where records of a segment begin, and where the last one ends.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut borders) = (segment::HEAD_BYTES, vec![segment::HEAD_BYTES]);
    while let segment::Place::Record(frame) = segment::place(&bytes[at..]) {
        at += frame.bytes;
        borders.push(at);
    }
    borders
}

/// A dead run with one segment: attempts 1 and 2 closed, attempt 3 open.
fn dead_run(name: &str, durability: Durability) -> (Place, FaultyDisk) {
    let (place, disk) = (Place::new(name), FaultyDisk::new());
    let (ledger, _) = open(LedgerPlan { durability, disk: Arc::new(disk.clone()), ..plan(&place) });
    let journal = ledger.journal(0).expect("a pen");
    for attempt in 1..=2 {
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    let position = begin(&journal, 3);
    synced(&journal, position).expect("the disk is good");
    die(ledger, vec![journal]);
    (place, disk)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a segment");
    change(&mut bytes);
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_record_torn_at_any_byte_is_cut_off() {
    let (place, _) = dead_run("torn", Durability::Process);
    let path = place.segments().remove(0);
    let whole = fs::read(&path).expect("a segment");
    let borders = borders(&whole);
    let (start, end) = (borders[borders.len() - 2], borders[borders.len() - 1]);
    for cut in start..end {
        // First the bytes, then the word before them: whatever of it is there without the word is no record.
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        if cut >= start + 8 {
            torn[start..start + 8].fill(0);
        }
        fs::write(&path, &torn).expect("it can be written");
        let mut recovered = Recovered::default();
        let run = path.parent().expect("a run").to_owned();
        let lanes = replay::Lane::all_of(&run, &["0-0.seg".to_owned()]);
        replay::replay(&plan(&place), &lanes[0], &mut recovered).expect("torn is no damage");
        assert_eq!(recovered.interrupted, 0, "the intent at {start}, torn at {cut}, was never there");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), start as u64);
        assert_eq!(recovered.torn_bytes > 0, torn[start..].iter().any(|byte| *byte != 0));
    }
}

#[test]
fn a_write_that_is_killed_at_any_byte_leaves_a_whole_journal() {
    let lengths = {
        let (place, _) = dead_run("lengths", Durability::Process);
        borders(&fs::read(&place.segments()[0]).expect("a segment"))
    };
    let all = lengths[lengths.len() - 1] as u64;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..24 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let kept = seed >> 33;
        let (place, disk, kept) = (Place::new("killed"), FaultyDisk::new(), kept % (all + 64));
        let (ledger, _) = open(LedgerPlan { disk: Arc::new(disk.clone()), ..plan(&place) });
        disk.tear_after(kept);
        let journal = ledger.journal(0).expect("a pen");
        for attempt in 1..=2 {
            begin(&journal, attempt);
            journal.close(&report(attempt));
        }
        begin(&journal, 3);
        die(ledger, vec![journal]);
        let (_ledger, recovered) = open(plan(&place));
        assert!(
            recovered.quarantined.is_empty() && recovered.interrupted <= 1,
            "round {round}, {kept} bytes: {recovered:?}"
        );
        let all = entries(&place);
        assert_eq!(closes(&all).len(), intents(&all).len(), "round {round}, {kept} bytes");
    }
}

#[test]
fn damage_in_the_middle_stops_the_start_and_degraded_goes_on_without_it() {
    let (place, _) = dead_run("middle", Durability::Process);
    let path = place.segments().remove(0);
    let borders = borders(&fs::read(&path).expect("a segment"));
    change(&path, |bytes| bytes[borders[1] + 40] ^= 0x10);
    let before = fs::read(&path).expect("a segment");
    match Ledger::open(plan(&place)).map(|_| ()).expect_err("it is damaged") {
        LedgerFault::Damaged { path: named, offset, .. } => {
            assert_eq!((named, offset), (path.clone(), borders[1] as u64))
        }
        other => panic!("{other}"),
    }
    assert!(fs::read(&path).expect("a segment") == before, "it is left as it is");
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    let problem = verification.lanes[0].problem.clone().expect("it is noticed");
    assert_eq!((problem.path, problem.offset), (path.clone(), borders[1] as u64));
    let (ledger, recovered) = open(LedgerPlan { degraded: true, ..plan(&place) });
    let aside = path.with_extension("seg.damaged");
    assert_eq!((recovered.interrupted, recovered.quarantined), (1, vec![aside.clone()]));
    assert!(fs::read(&aside).expect("a copy") == before, "a copy is kept");
    let all = entries(&place);
    let numbers: Vec<u64> = all.iter().map(|(_, number, _)| *number).collect();
    assert_eq!(numbers[0], 1, "what stands before the damage is kept");
    assert!(numbers[1] > 5, "no number that was used behind it comes again: {numbers:?}");
    assert_eq!(closes(&all)[&1].outcome, Outcome::Interrupted, "its close is behind the damage");
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(verification.is_whole(), "{verification:?}");
    assert_eq!(verification.lanes[0].put_aside, 1);
    drop(ledger);
    open(plan(&place));
}

#[test]
fn after_power_loss_what_was_not_synced_is_torn_and_what_was_is_damage() {
    for durability in [Durability::Process, Durability::Power] {
        let (place, disk) = dead_run("power", durability);
        let path = place.segments().remove(0);
        let borders = borders(&fs::read(&path).expect("a segment"));
        if durability == Durability::Power {
            let mark = segment::synced_of(&fs::read(&path).expect("a segment")).expect("a mark");
            assert!(mark >= borders[1] as u64, "the mark says what is durable: {mark}");
        }
        // A page that never came to the disk, with others behind it that did.
        change(&path, |bytes| bytes[borders[1]..borders[2]].fill(0));
        disk.reboot();
        let plan = LedgerPlan { disk: Arc::new(disk), ..plan(&place) };
        match (durability, Ledger::open(plan)) {
            (Durability::Process, Ok((_, recovered))) => {
                assert_eq!((recovered.interrupted, recovered.torn_bytes > 0), (1, true));
                assert!(verify(&place.ledger(), Some(&key())).expect("it can be read").is_whole());
            }
            (Durability::Power, Err(LedgerFault::Damaged { offset, .. })) => assert_eq!(offset, borders[1] as u64),
            (durability, other) => panic!("{durability:?}: {:?}", other.map(|(_, recovered)| recovered)),
        }
    }
}

#[test]
fn segments_behind_a_torn_one_are_put_aside() {
    let (place, disk) = (Place::new("behind"), FaultyDisk::new());
    let (ledger, _) = open(LedgerPlan { disk: Arc::new(disk.clone()), ..plan(&place) });
    let journal = ledger.journal(0).expect("a pen");
    disk.fail_syncs(u64::MAX);
    for attempt in 1..=200 {
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    let run = ledger.run().to_owned();
    die(ledger, vec![journal]);
    let segments = place.segments();
    assert!(segments.len() >= 4, "{} segments; the thread's spare may or may not be among them", segments.len());
    // The second segment lost its last page, and the rest is there by chance.
    change(&segments[1], |bytes| bytes[8 * 1024..].fill(0));
    disk.reboot();
    disk.fail_syncs(0);
    let again = || LedgerPlan { disk: Arc::new(disk.clone()), ..plan(&place) };
    // Killed after each step of it, it comes to the same.
    let expected = {
        let copy = place.copy("behind-whole");
        open(LedgerPlan { directory: copy.ledger(), ..again() });
        bytes_of(&copy, &run)
    };
    for steps in 1.. {
        disk.stop_after(steps);
        let done = Ledger::open(again()).is_ok();
        disk.stop_after(u64::MAX);
        if done {
            break;
        }
    }
    drop(open(again()));
    let found = bytes_of(&place, &run);
    assert_eq!(sizes(&found), sizes(&expected));
    assert!(found == expected, "the same bytes");
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(verification.is_whole(), "{verification:?}");
    let all = entries(&place);
    assert_eq!(closes(&all).len(), intents(&all).len());
}

/// The bytes of one run.
fn bytes_of(place: &Place, run: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = place.bytes();
    all.retain(|path, _| path.components().any(|part| part.as_os_str() == run));
    all
}

fn sizes(all: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(&Path, usize)> {
    all.iter().map(|(path, bytes)| (path.as_path(), bytes.len())).collect()
}

#[test]
fn a_replay_that_is_killed_and_begun_anew_leaves_the_same_bytes() {
    let (place, disk) = (Place::new("anew"), FaultyDisk::new());
    let (ledger, _) = open(LedgerPlan { cores: 2, ..plan(&place) });
    let journals = vec![ledger.journal(0).expect("a pen"), ledger.journal(1).expect("a pen")];
    for (core, journal) in journals.iter().enumerate() {
        for attempt in 1..=90 {
            let attempt = attempt * 2 + core as u64;
            begin(journal, attempt);
            journal.mark(&mark(attempt, attempt));
            if !attempt.is_multiple_of(5) {
                journal.close(&report(attempt));
            }
        }
    }
    let run = ledger.run().to_owned();
    die(ledger, journals);
    let expected = {
        let copy = place.copy("anew-whole");
        let (_, recovered) = open(LedgerPlan { directory: copy.ledger(), ..plan(&place) });
        assert!(recovered.interrupted > 20);
        bytes_of(&copy, &run)
    };
    for steps in 1.. {
        let copy = place.copy("anew-killed");
        let plan = || LedgerPlan { directory: copy.ledger(), disk: Arc::new(disk.clone()), ..plan(&place) };
        disk.stop_after(steps);
        let done = Ledger::open(plan()).is_ok();
        disk.stop_after(u64::MAX);
        open(plan());
        let found = bytes_of(&copy, &run);
        assert_eq!(sizes(&found), sizes(&expected), "after {steps} steps");
        assert!(found == expected, "after {steps} steps");
        if done {
            break;
        }
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (place, _) = dead_run("flips", Durability::Power);
    drop(open(plan(&place)));
    let good = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(good.is_whole());
    for path in place.segments() {
        let whole = fs::read(&path).expect("a segment");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).expect("it can be written");
            let found = verify(&place.ledger(), Some(&key())).expect("it can be read");
            let problem = found.lanes.iter().find_map(|lane| lane.problem.as_ref());
            assert!(
                problem.is_some_and(|problem| problem.path == path || problem.offset == 0),
                "byte {at} of {path:?}"
            );
        }
        fs::write(&path, &whole).expect("it can be written");
    }
    assert_eq!(verify(&place.ledger(), Some(&key())).expect("it can be read"), good);
}

#[test]
fn a_record_with_a_right_checksum_and_a_wrong_link_is_noticed_with_the_key() {
    let (place, _) = dead_run("forged", Durability::Process);
    let path = place.segments().remove(0);
    let borders = borders(&fs::read(&path).expect("a segment"));
    // Somebody writes another cost into a close and mends the checksum.
    change(&path, |bytes| {
        let frame = &mut bytes[borders[1]..borders[2]];
        frame[200] ^= 1;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
        frame[4..8].copy_from_slice(&sum.to_le_bytes());
    });
    let without = verify(&place.ledger(), None).expect("it can be read");
    assert!(without.lanes[0].problem.is_none() && !without.chain);
    let with = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert_eq!(with.lanes[0].problem.as_ref().map(|problem| problem.offset), Some(borders[1] as u64));
    assert!(matches!(Ledger::open(plan(&place)), Err(LedgerFault::Damaged { .. })));
    assert!(matches!(try_entries(&place), Err(LedgerFault::Damaged { .. })));
}

#[test]
fn a_segment_that_is_gone_is_noticed() {
    let place = Place::new("gone");
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    for attempt in 1..=200 {
        begin(&journal, attempt);
        journal.close(&report(attempt));
    }
    drop(journal);
    ledger.finish().expect("the disk takes it");
    drop(ledger);
    fs::remove_file(&place.segments()[1]).expect("it can be removed");
    let found = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(found.lanes[0].problem.is_some());
    assert!(matches!(try_entries(&place), Err(LedgerFault::Damaged { .. })));
}
