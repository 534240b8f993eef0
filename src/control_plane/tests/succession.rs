//! Two control planes over one store, one after the other, as an upgrade has them.

use super::*;

/// The next process: the same directory, queues of its own.
fn next(house: &House) -> House {
    let reports = Arc::new(CoreReports::new(64));
    House { directory: house.directory.clone(), env: house.env.clone(), reports }
}

fn attempts(control: &mut Control) -> u64 {
    let now = control.now();
    control.usage(&tenant("acme"), UsagePeriod::Day, now).expect("summed").total.attempts
}

fn done(house: &House, count: usize) {
    for _ in 0..count {
        report(house, "acme", Outcome::Completed, true, Some("0.000000000001"));
    }
}

#[test]
fn what_the_old_one_still_counts_is_booked_by_the_new_one_once() {
    let old_house = House::new("passed-on");
    let mut old = old_house.open(CONFIG);
    done(&old_house, 2);
    old.release(WHO).expect("released");
    done(&old_house, 3);
    old.tick();
    assert_eq!(old_house.reports.waiting(), 3, "while it rests, reports wait");
    let new_house = next(&old_house);
    let mut new = new_house.open(CONFIG);
    assert_eq!(attempts(&mut new), 2, "what was known before is in the store");
    done(&new_house, 1);
    new.tick();
    old.part();
    let batch = old.next_batch().expect("three reports");
    assert_eq!(old.next_batch().as_ref(), Some(&batch), "the same one until it is booked");
    for _ in 0..3 {
        new.book(&batch).expect("booked");
    }
    old.batch_booked();
    assert_eq!(attempts(&mut new), 6, "one of its own, three once");
    assert_eq!(old.next_batch(), None);
    done(&old_house, 1);
    let second = old.next_batch().expect("one more");
    assert_eq!((second.number, second.source == batch.source), (2, true));
    new.book(&second).expect("booked");
    let cost = new.usage(&tenant("acme"), UsagePeriod::Day, NOW).expect("summed").total.cost;
    assert_eq!(cost, Money::from_pico(7), "money survives the way exactly");
    new.forget_source(&batch.source).expect("forgotten");
}

#[test]
fn a_batch_that_is_no_batch_books_nothing() {
    let house = House::new("no-batch");
    let mut control = house.open(CONFIG);
    for lines in [&b""[..], b"{}", b"[{}]", b"[{\"tenant\":1}]", b"\xff"] {
        let batch = PassedOn { source: "handover/1".to_owned(), number: 1, lines: lines.to_vec() };
        assert!(control.book(&batch).is_err(), "{lines:?}");
    }
    let nothing = PassedOn { source: "handover/1".to_owned(), number: 1, lines: b"[]".to_vec() };
    control.book(&nothing).expect("an empty one is one");
}

#[test]
fn a_store_that_comes_back_is_as_if_it_had_never_left() {
    let house = House::new("taken-back");
    let mut old = house.open(CONFIG);
    done(&house, 1);
    old.release(WHO).expect("released");
    assert!(old.create_tenant(WHO, "lost").is_err(), "nothing is promised that cannot be kept");
    {
        // The new one got as far as serving a little, with another configuration, and died.
        let new_house = next(&house);
        let mut new = new_house.open(&CONFIG.replace("version = 3", "version = 4"));
        done(&new_house, 2);
        new.tick();
        assert!(old.reclaim().is_err(), "one process at a time has the store");
        std::mem::forget(new_house);
    }
    old.reclaim().expect("taken back");
    assert!(!old.rests());
    done(&house, 4);
    old.tick();
    assert_eq!(attempts(&mut old), 7, "numbers go on where the other one stopped");
    old.create_tenant(WHO, "made").expect("the store takes changes");
    assert!(shown(&old, APP_KEY.as_bytes()).is_some());
    assert_eq!(keys_for(&old, "default", "openai"), [OPENAI_KEY]);
    old.reclaim().expect("twice is once");
}

#[test]
fn who_lost_its_successor_books_for_itself_what_may_have_been_booked() {
    let old_house = House::new("lost-successor");
    let mut old = old_house.open(CONFIG);
    old.release(WHO).expect("released");
    old.part();
    done(&old_house, 5);
    let batch = old.next_batch().expect("five reports");
    {
        let new_house = next(&old_house);
        let mut new = new_house.open(CONFIG);
        new.book(&batch).expect("booked, and the answer lost");
        std::mem::forget(new_house);
    }
    old.reclaim().expect("the store is free");
    done(&old_house, 1);
    old.tick();
    assert_eq!(attempts(&mut old), 6, "the five once, and the one");
}
