//! Rounds against a real database: run where `IGRIS_TEST_STORE_URL` names a cluster (`cargo xtask test`).

use super::*;
use crate::fleet::testing;
use crate::fleet::{Fleet, share};

const FOREVER: i64 = i64::MAX;
const LIMIT: u64 = 100_000;

/// A database of this test's own; `None`: there is no cluster.
fn database(name: &str) -> Option<String> {
    let cluster = std::env::var("IGRIS_TEST_STORE_URL").ok()?;
    Some(testing::database(&cluster, &format!("leases_{name}_{}", std::process::id())))
}

fn pool(number: u8) -> PoolName {
    PoolName { holder: vec![b't', number], quantity: Quantity::Money(3), epoch: 7 }
}

fn ask(number: u8, used: u64, have: u64, want: u64) -> LeaseAsk {
    LeaseAsk { pool: pool(number), ends: FOREVER, limit: LIMIT, mine: Mine { used, have, want }, is_full: true }
}

fn says(machine: u8, turn: u64, asks: Vec<LeaseAsk>) -> Round {
    Round {
        machine: [machine; 16],
        incarnation: [machine; 16],
        name: format!("machine-{machine}"),
        turn,
        claims: turn == 1,
        knows: 0,
        peers: 1,
        is_bound: false,
        asks,
    }
}

fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn say(fleet: &Fleet, round: Round) -> Result<RoundAnswer, RoundError> {
    within(fleet.round(round, false))
}

#[test]
fn many_machines_that_ask_at_once_are_never_given_more_than_there_is() {
    let Some(url) = database("many") else { return };
    let machine = |number: u8| {
        let (fleet, _) = testing::join(&url);
        let mut dice = fastrand::Rng::with_seed(u64::from(number));
        let mut held = [(0_u64, 0_u64); 4];
        for turn in 1..60 {
            let some: Vec<usize> = (0..held.len()).filter(|_| dice.bool()).collect();
            for at in &some {
                let (used, have) = &mut held[*at];
                let spent = dice.u64(0..=*have);
                (*used, *have) = (*used + spent, *have - spent);
            }
            let asks = some.iter().map(|at| ask(*at as u8, held[*at].0, held[*at].1, dice.u64(0..9_000))).collect();
            match say(&fleet, says(number, turn, asks)) {
                Ok(answer) => some.iter().zip(answer.grants).for_each(|(at, granted)| held[*at].1 = granted.may),
                // Two that wait for each other, or too long: the next round says it again.
                Err(RoundError::Lost(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        held
    };
    let all: Vec<[(u64, u64); 4]> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=6).map(|number| scope.spawn(move || machine(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    for at in 0..4 {
        let (used, held): (u64, u64) = (all.iter().map(|one| one[at].0).sum(), all.iter().map(|one| one[at].1).sum());
        assert!(used + held <= LIMIT && used > LIMIT / 2, "pool {at}: {used} used, {held} held");
        let known = testing::number(&url, &format!("SELECT used FROM igris.pools WHERE holder = '\\x74{at:02x}'"));
        assert!(u64::try_from(known).expect("positive") <= used);
    }
}

#[test]
fn a_round_that_comes_late_is_refused_and_so_is_a_machine_whose_name_is_taken() {
    let Some(url) = database("late") else { return };
    let (fleet, _) = testing::join(&url);
    assert_eq!(say(&fleet, says(1, 1, vec![ask(0, 0, 0, 500)])).expect("taken").grants[0].may, 500);
    assert!(say(&fleet, says(1, 3, vec![ask(0, 300, 200, 200)])).is_ok());
    assert!(matches!(say(&fleet, says(1, 2, vec![ask(0, 100, 400, 400)])), Err(RoundError::Lost(_))));
    let thief = Round { incarnation: [9; 16], ..says(1, 1, Vec::new()) };
    assert!(say(&fleet, thief).is_ok(), "who begins takes the name");
    assert_eq!(say(&fleet, says(1, 4, Vec::new())), Err(RoundError::Displaced));
    let used = "SELECT used FROM igris.leases";
    assert_eq!(testing::number(&url, used), 300, "what was said late is not taken");
}

#[test]
fn all_hear_what_all_have_used_and_what_the_dead_had_is_given_on() {
    let Some(url) = database("dead") else { return };
    let ((one, _), (two, _)) = (testing::join(&url), testing::join(&url));
    say(&two, says(2, 1, Vec::new())).expect("taken");
    let first = say(&one, says(1, 1, vec![ask(0, 0, 0, 40_000)])).expect("taken");
    assert_eq!((first.machines, first.grants[0].may), (2, 40_000));
    say(&one, says(1, 2, vec![ask(0, 10_000, 30_000, 30_000)])).expect("taken");
    let heard = say(&two, says(2, 2, Vec::new())).expect("taken");
    assert_eq!(heard.pools, [PoolNews { pool: pool(0), ends: FOREVER, used: 10_000, is_closed: false }]);
    let second = say(&two, says(2, 3, vec![ask(0, 0, 0, LIMIT)])).expect("taken").grants[0];
    assert_eq!((second.may, second.elsewhere), (30_000, 10_000), "half of what is in nobody's hand");
    testing::number(
        &url,
        "WITH u AS (UPDATE igris.machines SET seen = 0 WHERE name = 'machine-1' RETURNING 1) SELECT count(*) FROM u",
    );
    let after = say(&two, says(2, 4, vec![ask(0, 0, second.may, LIMIT)])).expect("taken");
    assert_eq!((after.machines, after.grants[0].may), (1, 90_000));
    assert_eq!(share::credit(LIMIT, 1), LIMIT / 8);
}

#[test]
fn what_no_period_needs_is_deleted() {
    let Some(url) = database("tidy") else { return };
    let (fleet, _) = testing::join(&url);
    let old = LeaseAsk { ends: 1_000, ..ask(1, 5, 0, 0) };
    let round = says(1, 1, vec![ask(0, 5, 0, 0), old]);
    within(fleet.round(round, true)).expect("taken");
    // It is done after the answer, beside who asked.
    let left =
        || testing::number(&url, "SELECT (SELECT count(*) FROM igris.pools) + (SELECT count(*) FROM igris.leases)");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while left() != 2 {
        assert!(std::time::Instant::now() < until, "{}", left());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
