//! What is written on the board by one and read by another.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const TERMS: BreakerTerms = BreakerTerms { failures: 3, open_for: SECOND };

fn lane(model: &str) -> LaneKey {
    LaneKey { provider: ProviderId::new("p"), model: Arc::from(model), credential: Some(CredentialId::from_bits(7)) }
}

fn provider() -> Scope {
    Scope::Provider(ProviderId::new("p"))
}

#[test]
fn a_halt_holds_for_its_scope_and_ends_by_itself() {
    let (board, now) = (Board::default(), Instant::now());
    let until = now + SECOND;
    board.halt(&Scope::Credential(CredentialId::from_bits(7)), &Halt { why: Why::RateLimit, until }, now);
    let halts = board.halts();
    assert_eq!(halts.standing(&lane("a"), now), Standing::Halted { why: Why::RateLimit, until });
    assert_eq!(halts.standing(&lane("a"), until), Standing::Free);
    let other = LaneKey { credential: Some(CredentialId::from_bits(8)), ..lane("a") };
    assert_eq!(halts.standing(&other, now), Standing::Free);
}

#[test]
fn a_breaker_of_the_provider_holds_for_every_lane_and_one_of_a_lane_for_itself() {
    let (board, now) = (Board::default(), Instant::now());
    board.trip(&Scope::Lane(lane("a")), Cause::Failures, &TERMS, 0.0, now);
    assert!(matches!(board.halts().standing(&lane("a"), now), Standing::Halted { why: Why::Breaker, .. }));
    assert_eq!(board.halts().standing(&lane("b"), now), Standing::Free);
    board.trip(&provider(), Cause::Unreachable, &TERMS, 0.0, now);
    assert!(matches!(board.halts().standing(&lane("b"), now), Standing::Halted { why: Why::Breaker, .. }));
    assert_eq!(board.halts().standing(&lane("b"), now + SECOND), Standing::Probe);
    board.close(&provider(), now);
    assert_eq!(board.halts().standing(&lane("b"), now), Standing::Free);
    assert_eq!(board.halts().len(), 1);
}

#[test]
fn of_many_who_want_the_probe_exactly_one_has_it() {
    for _ in 0..50 {
        let (board, now) = (Board::default(), Instant::now());
        board.trip(&provider(), Cause::Failures, &TERMS, 0.0, now);
        let (start, won) = (Barrier::new(8), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    won.fetch_add(usize::from(board.claim(&provider(), now + SECOND)), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
        assert!(matches!(board.halts().standing(&lane("a"), now + SECOND), Standing::Halted { .. }), "others wait");
    }
}

#[test]
fn the_owners_word_holds_until_it_is_taken_back() {
    let (board, now) = (Board::default(), Instant::now());
    let p = ProviderId::new("p");
    board.force(&p);
    let later = now + 1_000 * SECOND;
    assert!(matches!(board.halts().standing(&lane("a"), later), Standing::Halted { why: Why::Forced, .. }));
    board.close(&provider(), later);
    assert!(board.halts().is_forced(&p), "an answer does not overrule the owner");
    board.trip(&Scope::Lane(lane("a")), Cause::Failures, &TERMS, 0.0, later);
    board.release(&p, false);
    assert_eq!((board.halts().standing(&lane("a"), later), board.halts().resets(&p)), (Standing::Free, 0));
    board.release(&p, true);
    assert_eq!(board.halts().resets(&p), 1);
}

#[test]
fn the_board_is_bounded_and_forgets_what_has_ended_first() {
    let (board, now) = (Board::default(), Instant::now());
    let numbered = |number: usize| Scope::Credential(CredentialId::from_bits(number as u128));
    let halt = |until| Halt { why: Why::RateLimit, until };
    let mut halts = Halts::default();
    for number in 0..limits::HALTS_MAX {
        halts.waits.insert(numbered(number), halt(now + SECOND));
    }
    board.halts.store(Arc::new(halts));
    board.halt(&numbered(limits::HALTS_MAX), &halt(now + 9 * SECOND), now);
    assert_eq!(board.halts().len(), limits::HALTS_MAX, "there is no room while all hold");
    board.halt(&numbered(0), &halt(now + 9 * SECOND), now);
    assert_eq!(board.halts().get(&numbered(0)), Some(&halt(now + 9 * SECOND)), "what is there may change");
    board.trip(&provider(), Cause::Failures, &TERMS, 0.0, now + SECOND);
    assert_eq!(board.halts().len(), 2, "the ended ones went");
}
