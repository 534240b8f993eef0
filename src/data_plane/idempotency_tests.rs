//! Claims, outcomes and bounds by an injected clock.

use super::*;
use std::time::Duration;

const ONE: Fingerprint = [1; 32];
const TWO: Fingerprint = [2; 32];

fn tenant(name: &str) -> TenantId {
    TenantId::new(name)
}

fn outcome(bytes: usize) -> Outcome {
    Outcome { status: 200, content_type: b"application/json".to_vec(), body: vec![b'x'; bytes] }
}

fn claim(outcomes: &Arc<Outcomes>, owner: &str, key: &str, now: Instant) -> Claim {
    match outcomes.claim(&tenant(owner), key, ONE, now) {
        Found::Free(claim) => claim,
        _ => panic!("{owner} {key} is not free"),
    }
}

fn is_kept(outcomes: &Arc<Outcomes>, owner: &str, key: &str, now: Instant) -> bool {
    matches!(outcomes.claim(&tenant(owner), key, ONE, now), Found::Done(_))
}

fn bytes(outcomes: &Outcomes) -> usize {
    outcomes.shards.iter().map(|shard| shard.lock().expect("whole").bytes).sum()
}

#[test]
fn a_key_is_running_then_done_then_over() {
    let (outcomes, now) = (Arc::new(Outcomes::default()), Instant::now());
    let mine = claim(&outcomes, "a", "k", now);
    assert!(matches!(outcomes.claim(&tenant("a"), "k", ONE, now), Found::Running));
    assert!(matches!(outcomes.claim(&tenant("a"), "k", TWO, now), Found::Other));
    mine.keep(outcome(7), now);
    let Found::Done(kept) = outcomes.claim(&tenant("a"), "k", ONE, now) else { panic!("not kept") };
    assert_eq!(*kept, outcome(7));
    assert!(matches!(outcomes.claim(&tenant("a"), "k", TWO, now), Found::Other));
    let last = now + limits::IDEMPOTENCY_LIFE - Duration::from_millis(1);
    assert!(is_kept(&outcomes, "a", "k", last));
    let over = now + limits::IDEMPOTENCY_LIFE;
    assert!(matches!(outcomes.claim(&tenant("a"), "k", TWO, over), Found::Free(_)), "free for anything");
    assert_eq!(bytes(&outcomes), 0);
}

#[test]
fn a_claim_that_ends_without_an_outcome_frees_its_key() {
    let (outcomes, now) = (Arc::new(Outcomes::default()), Instant::now());
    drop(claim(&outcomes, "a", "k", now));
    assert!(matches!(outcomes.claim(&tenant("a"), "k", TWO, now), Found::Free(_)));
}

#[test]
fn tenants_do_not_meet() {
    let (outcomes, now) = (Arc::new(Outcomes::default()), Instant::now());
    claim(&outcomes, "a", "k", now).keep(outcome(1), now);
    assert!(matches!(outcomes.claim(&tenant("b"), "k", TWO, now), Found::Free(_)));
    assert!(is_kept(&outcomes, "a", "k", now));
}

#[test]
fn bytes_are_bounded_and_the_oldest_gives_way() {
    let (outcomes, now) = (Arc::new(Outcomes::default()), Instant::now());
    let count = 3 * limits::IDEMPOTENCY_BYTES_MAX / limits::IDEMPOTENCY_OUTCOME_BYTES_MAX;
    for number in 0..count {
        claim(&outcomes, "a", &number.to_string(), now).keep(outcome(limits::IDEMPOTENCY_OUTCOME_BYTES_MAX), now);
        assert!(bytes(&outcomes) <= limits::IDEMPOTENCY_BYTES_MAX);
    }
    assert!(is_kept(&outcomes, "a", &(count - 1).to_string(), now), "the latest is kept");
    assert!(!is_kept(&outcomes, "a", "0", now), "the oldest is not");
}

#[test]
fn who_holds_most_of_the_room_makes_room_out_of_its_own() {
    let (outcomes, now) = (Arc::new(Outcomes::default()), Instant::now());
    let quiet = 2 * limits::IDEMPOTENCY_SHARDS;
    for number in 0..quiet {
        claim(&outcomes, "quiet", &number.to_string(), now).keep(outcome(1_000), now);
    }
    for number in 0..5 * limits::IDEMPOTENCY_BYTES_MAX / limits::IDEMPOTENCY_OUTCOME_BYTES_MAX {
        let bytes = limits::IDEMPOTENCY_OUTCOME_BYTES_MAX;
        claim(&outcomes, "noisy", &number.to_string(), now).keep(outcome(bytes), now);
    }
    for number in 0..quiet {
        assert!(is_kept(&outcomes, "quiet", &number.to_string(), now), "{number}");
    }
}

#[test]
fn entries_are_bounded_and_those_at_work_are_never_forgotten() {
    let (outcomes, now) = (Arc::new(Outcomes::default()), Instant::now());
    let mut claims = Vec::new();
    let mut full = 0;
    for number in 0..limits::IDEMPOTENCY_ENTRIES_MAX + 1_000 {
        match outcomes.claim(&tenant("a"), &number.to_string(), ONE, now) {
            Found::Free(claim) => claims.push(claim),
            Found::Full => full += 1,
            _ => panic!("{number}"),
        }
    }
    assert!(claims.len() <= limits::IDEMPOTENCY_ENTRIES_MAX && full >= 1_000, "{} {full}", claims.len());
    // Done ones give way.
    claims.drain(..).for_each(|claim| claim.keep(outcome(0), now));
    for number in 0..1_000 {
        drop(claim(&outcomes, "b", &number.to_string(), now));
    }
}

#[test]
fn keys_are_visible_and_short() {
    let most = "k".repeat(limits::IDEMPOTENCY_KEY_CHARS_MAX);
    assert_eq!(read_key(most.as_bytes()), Some(most.as_str()));
    assert_eq!(read_key(b"a"), Some("a"));
    for bad in [b"".to_vec(), [most.as_bytes(), b"k"].concat(), b"a\tb".to_vec(), "\u{e9}".as_bytes().to_vec()] {
        assert_eq!(read_key(&bad), None, "{bad:?}");
    }
}

#[test]
fn what_was_sent_is_read_back_whatever_its_framing() {
    let expected = Some(Outcome { status: 200, content_type: b"text/plain".to_vec(), body: b"hello".to_vec() });
    let heads = [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "connection: close\r\n\r\nhello",
    ];
    for rest in heads {
        let sent = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{rest}");
        assert_eq!(Outcome::of_sent(sent.as_bytes()), expected, "{rest}");
        for cut in 1..sent.len() {
            let whole = rest.starts_with("connection") && cut <= 5;
            assert!(whole || Outcome::of_sent(&sent.as_bytes()[..sent.len() - cut]).is_none(), "{rest} less {cut}");
        }
    }
    for status in ["199", "300", "400", "429", "503"] {
        let sent = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}");
        assert_eq!(Outcome::of_sent(sent.as_bytes()), None, "{status}");
    }
}

#[test]
fn an_outcome_of_the_largest_size_is_kept_and_one_larger_is_not() {
    for (bytes, kept) in
        [(limits::IDEMPOTENCY_OUTCOME_BYTES_MAX, true), (limits::IDEMPOTENCY_OUTCOME_BYTES_MAX + 1, false)]
    {
        let mut recorder = Recorder::default();
        recorder.note(format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").as_bytes());
        for piece in vec![b'x'; bytes].chunks(10_000) {
            recorder.note(piece);
        }
        assert_eq!(recorder.outcome().is_some(), kept, "{bytes}");
    }
    let mut recorder = Recorder::default();
    recorder.note(&vec![0; 3 * limits::IDEMPOTENCY_OUTCOME_BYTES_MAX]);
    recorder.note(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert!(recorder.spoiled && recorder.sent.capacity() == 0 && recorder.outcome().is_none());
}
