//! Any order of opens, marks, closes, new workers, kills and faults: each attempt has one close, and the journal is whole.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    Mark(usize),
    Close(usize),
    Many(u64),
    NewWorker,
    Kill,
    FailSyncs(u64),
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Open),
        4 => any::<usize>().prop_map(Step::Mark),
        8 => any::<usize>().prop_map(Step::Close),
        2 => (1..60_u64).prop_map(Step::Many),
        1 => Just(Step::NewWorker),
        1 => Just(Step::Kill),
        1 => (0..3_u64).prop_map(Step::FailSyncs),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_attempt_has_one_close_whatever_happens(steps in prop::collection::vec(step(), 1..60), power in any::<bool>()) {
        let (place, disk) = (Place::new("props"), FaultyDisk::new());
        let durability = if power { Durability::Power } else { Durability::Process };
        let plan = || LedgerPlan { durability, disk: Arc::new(disk.clone()), ..plan(&place) };
        let (mut ledger, _) = open(plan());
        let mut journal = ledger.journal(0).expect("a pen");
        let (mut next, mut open_now, mut closed_by_us) = (0_u64, Vec::new(), 0_u64);
        for step in steps {
            match step {
                Step::Open => {
                    if journal.has_room(open_now.len() + 1) {
                        next += 1;
                        begin(&journal, next);
                        open_now.push(next);
                    }
                }
                Step::Mark(which) if !open_now.is_empty() => {
                    journal.mark(&mark(open_now[which % open_now.len()], 9));
                }
                Step::Close(which) if !open_now.is_empty() => {
                    journal.close(&report(open_now.swap_remove(which % open_now.len())));
                    closed_by_us += 1;
                }
                Step::Many(count) => {
                    for _ in 0..count {
                        if journal.has_room(open_now.len() + 1) {
                            next += 1;
                            begin(&journal, next);
                            journal.close(&report(next));
                            closed_by_us += 1;
                        }
                    }
                }
                Step::NewWorker => {
                    drop(journal);
                    journal = ledger.journal(0).expect("another pen");
                    open_now.clear();
                }
                Step::Kill => {
                    disk.set_full(false);
                    disk.fail_syncs(0);
                    die(ledger, vec![journal]);
                    ledger = open(plan()).0;
                    journal = ledger.journal(0).expect("a pen");
                    open_now.clear();
                }
                Step::FailSyncs(count) => disk.fail_syncs(count),
                Step::Full(full) => disk.set_full(full),
                Step::Mark(_) | Step::Close(_) => {}
            }
        }
        prop_assert_eq!(ledger.shared_lost(), 0);
        disk.set_full(false);
        disk.fail_syncs(0);
        die(ledger, vec![journal]);
        drop(open(plan()));
        let all = entries(&place);
        let closes = closes(&all);
        prop_assert_eq!(closes.len() as u64, next, "each attempt has a close");
        prop_assert_eq!(intents(&all).len() as u64, next);
        let completed = closes.values().filter(|close| close.outcome == Outcome::Completed).count() as u64;
        prop_assert_eq!(completed, closed_by_us, "and it is ours where we wrote one");
        let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
        prop_assert!(verification.is_whole(), "{:?}", verification);
        // Runs that were finished stay as they are, to the byte.
        let before = place.bytes();
        drop(open(plan()));
        let after = place.bytes();
        let is_kept = |(path, bytes): (&PathBuf, &Vec<u8>)| {
            after.get(path) == Some(bytes) || !before.contains_key(&path.with_file_name("finished"))
        };
        let kept = before.iter().all(is_kept);
        prop_assert!(kept);
    }
}
