//! Quotas: every vendor's fields, and what time, answers and dispatches make of them.

use super::*;
use crate::domain::clock::UnixMillis;
use proptest::prelude::*;

/// 2026-11-23T06:51:53Z.
const NOW: UnixMillis = UnixMillis(1_795_416_713_000);

fn told(fields: &[(&str, &str)]) -> Allowances {
    let mut allowances = Allowances::default();
    for (name, value) in fields {
        allowances.read(name, value.as_bytes(), NOW);
    }
    allowances
}

/// Kind, window in seconds (0: unnamed), limit, remaining and milliseconds to the reset.
type Row = (Kind, u64, Option<u64>, Option<u64>, Option<u128>);

/// Every allowance told.
fn read(fields: &[(&str, &str)]) -> Vec<Row> {
    let told = told(fields);
    let row = |allowance: &Allowance| {
        let window = allowance.window.map_or(0, |window| window.length().as_secs());
        let wait = allowance.resets_in.map(|wait| wait.as_millis());
        (allowance.kind, window, allowance.limit, allowance.remaining, wait)
    };
    told.told().map(row).collect()
}

const OPENAI: &[(&str, &str)] = &[
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "2000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "1999980"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "6m0s"),
];

#[test]
fn openai_and_its_kin_are_read() {
    let expected = vec![
        (Kind::Requests, 0, Some(10_000), Some(9_999), Some(6)),
        (Kind::Tokens, 0, Some(2_000_000), Some(1_999_980), Some(360_000)),
    ];
    assert_eq!(read(OPENAI), expected);
    let groq = [
        ("X-RateLimit-Limit-Requests", "14400"),
        ("X-RateLimit-Remaining-Requests", "14370"),
        ("X-RateLimit-Reset-Requests", "2m59.56s"),
    ];
    assert_eq!(read(&groq), [(Kind::Requests, 0, Some(14_400), Some(14_370), Some(179_560))]);
    let azure = [("x-ratelimit-remaining-requests", "99"), ("x-ratelimit-remaining-tokens", "99000")];
    let expected = [(Kind::Requests, 0, None, Some(99), None), (Kind::Tokens, 0, None, Some(99_000), None)];
    assert_eq!(read(&azure), expected);
}

const POOL: &[&str] = &[
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "X-RateLimit-Remaining-Requests",
    "x-ratelimit-reset-requests",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
    "x-ratelimit-limit-tokens-day",
    "x-ratelimit-remaining-tokens-day",
    "x-ratelimit-remaining-tokens-hour",
    "x-ratelimit-remaining-tokens-minute",
    "x-ratelimit-remaining-req-second",
    "x-ratelimit-remaining-req-minute",
    "x-ratelimit-remaining-req-hour",
    "x-ratelimit-remaining-images",
    "ratelimit",
    "ratelimit-policy",
];

const VALUES: &[&str] = &[
    "0",
    "17",
    "9999",
    " 5 ",
    "6ms",
    "1m2.5s",
    "1795416720",
    "2026-11-23T06:52:53Z",
    "1.5",
    "-3",
    "",
    "99999999999999999999",
    "100, 100;w=60",
    "\"requests\";r=7;t=30",
    "\"tokens\";q=90;w=60",
];

proptest! {
    /// A connection that remembers the answers before reads the next one as if it were the first.
    #[test]
    fn what_is_remembered_changes_nothing(
        answers in prop::collection::vec(prop::collection::vec((0..POOL.len(), 0..VALUES.len()), 0..9), 1..6),
        repeat in any::<bool>(),
    ) {
        let mut kept = Allowances::default();
        for (at, answer) in answers.iter().enumerate() {
            for _ in 0..=usize::from(repeat) {
                // Time passes, so that points in time mean another wait.
                let now = UnixMillis(NOW.0 + 1_000 * at as u64);
                let mut fresh = Allowances::default();
                kept.clear();
                for (name, value) in answer {
                    kept.read(POOL[*name], VALUES[*value].as_bytes(), now);
                    fresh.read(POOL[*name], VALUES[*value].as_bytes(), now);
                }
                let sorted = |told: &Allowances| {
                    let mut rows: Vec<String> = told.told().map(|allowance| format!("{allowance:?}")).collect();
                    rows.sort();
                    rows
                };
                prop_assert_eq!(sorted(&kept), sorted(&fresh));
            }
        }
    }
}

#[test]
fn anthropic_is_read_with_its_four_kinds() {
    let reset = "2026-11-23T06:52:03Z";
    let mut fields = Vec::new();
    for (kind, left) in [("requests", "49"), ("tokens", "79000"), ("input-tokens", "39000"), ("output-tokens", "7000")]
    {
        fields.push((format!("anthropic-ratelimit-{kind}-limit"), "80000".to_owned()));
        fields.push((format!("anthropic-ratelimit-{kind}-remaining"), left.to_owned()));
        fields.push((format!("anthropic-ratelimit-{kind}-reset"), reset.to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        (Kind::Requests, 0, Some(80_000), Some(49), Some(10_000)),
        (Kind::Tokens, 0, Some(80_000), Some(79_000), Some(10_000)),
        (Kind::InputTokens, 0, Some(80_000), Some(39_000), Some(10_000)),
        (Kind::OutputTokens, 0, Some(80_000), Some(7_000), Some(10_000)),
    ];
    assert_eq!(read(&fields), expected);
    let past = [
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2026-11-23T06:00:00Z"),
    ];
    assert_eq!(read(&past), [(Kind::Requests, 0, None, Some(0), Some(0))]);
}

#[test]
fn windows_in_names_are_read() {
    let mistral = [
        ("x-ratelimit-limit-req-minute", "60"),
        ("x-ratelimit-remaining-req-minute", "59"),
        ("x-ratelimit-limit-tokens-month", "1000000000"),
        ("x-ratelimit-remaining-tokens-month", "999000000"),
        ("x-ratelimitbysize-limit-minute", "500000"),
        ("x-ratelimitbysize-remaining-minute", "499000"),
    ];
    let expected = [
        (Kind::Requests, 60, Some(60), Some(59), None),
        (Kind::Tokens, 31 * 86_400, Some(1_000_000_000), Some(999_000_000), None),
        (Kind::Tokens, 60, Some(500_000), Some(499_000), None),
    ];
    assert_eq!(read(&mistral), expected);
    let bare =
        [("ratelimitbysize-limit", "500000"), ("ratelimitbysize-remaining", "1"), ("ratelimitbysize-reset", "26")];
    assert_eq!(read(&bare), [(Kind::Tokens, 0, Some(500_000), Some(1), Some(26_000))]);
    let daily = [
        ("x-ratelimit-limit-requests-day", "1440"),
        ("x-ratelimit-remaining-requests-day", "1380"),
        ("x-ratelimit-reset-requests-day", "33011.382867"),
    ];
    assert_eq!(read(&daily), [(Kind::Requests, 86_400, Some(1_440), Some(1_380), Some(33_011_382))]);
    let parts = [("x-ratelimit-limit-tokens-prompt", "60000"), ("x-ratelimit-remaining-tokens-prompt", "5")];
    assert_eq!(read(&parts), [(Kind::InputTokens, 0, Some(60_000), Some(5), None)]);
}

#[test]
fn unnamed_resources_are_requests_and_resets_may_be_stamps() {
    for (reset, wait) in
        [("1795416723", 10_000), ("1795416723000", 10_000), ("10", 10_000), ("1.5", 1_500), ("1s", 1_000)]
    {
        let fields = [("x-ratelimit-limit", "20"), ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", reset)];
        assert_eq!(read(&fields), [(Kind::Requests, 0, Some(20), Some(3), Some(wait))], "{reset}");
    }
    let together = [("x-tokenlimit-limit", "4000"), ("x-tokenlimit-remaining", "3990")];
    assert_eq!(read(&together), [(Kind::Tokens, 0, Some(4_000), Some(3_990), None)]);
}

#[test]
fn both_drafts_are_read() {
    let old = [("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "30")];
    assert_eq!(read(&old), [(Kind::Requests, 0, Some(100), Some(50), Some(30_000))]);
    let new = [("RateLimit-Policy", r#""burst";q=100;w=60"#), ("RateLimit", r#""burst";r=50;t=30"#)];
    assert_eq!(read(&new), [(Kind::Requests, 0, Some(100), Some(50), Some(30_000))]);
    let tokens = [("ratelimit", r#""default";r=7;t=3, "tokens-a";r=900;t=60"#)];
    let expected = [(Kind::Requests, 0, None, Some(7), Some(3_000)), (Kind::Tokens, 0, None, Some(900), Some(60_000))];
    assert_eq!(read(&tokens), expected);
}

#[test]
fn what_says_nothing_is_nothing() {
    for value in ["-1", "", "many", "1e9", "0x10", "99999999999999999999999", "18446744073709551615", "NaN", "+5", "٣"]
    {
        assert_eq!(read(&[("x-ratelimit-remaining-requests", value)]), [], "{value}");
    }
    for name in
        ["x-ratelimit-remaining-images", "x-ratelimit-remaining-project-tokens", "x-ratelimit-requests", "retry-after"]
    {
        assert_eq!(read(&[(name, "0")]), [], "{name}");
    }
    assert_eq!(read(&[("x-ratelimit-limit-requests", "5")]), [], "a limit alone is no news");
    assert_eq!(read(&[("x-ratelimit-limit-requests", "0"), ("x-ratelimit-remaining-requests", "0")]), []);
    let absurd = [("x-ratelimit-remaining-requests", "1"), ("x-ratelimit-reset-requests", "99999999h")];
    assert_eq!(read(&absurd)[0].4, Some(limits::QUOTA_RESET_MAX.as_millis()));
}

// ---- What becomes of it -----------------------------------------------------------------------------------------------------

const SECOND: Duration = Duration::from_secs(1);

/// Requests per window of `reset`, gradual or at once.
fn requests(limit: u64, left: u64, reset: Duration, refill: Refill) -> Allowances {
    let (limit, left, reset) = (limit.to_string(), left.to_string(), format!("{}ms", reset.as_millis()));
    let at_once = refill == Refill::AtOnce;
    let names = if at_once {
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
    } else {
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
    };
    told(&[(names[0], &limit), (names[1], &left), (names[2], &reset)])
}

#[test]
fn what_is_ample_has_room_for_all_cores() {
    let now = Instant::now();
    let mut quota = Quota::default();
    assert!(quota.is_ample(1, 4), "nothing known, nothing short");
    let sent = quota.dispatch(10, now);
    quota.learn(&sent, &requests(1_000, 27, 60 * SECOND, Refill::Gradual), now);
    assert!(quota.is_ample(500, 4));
    quota.dispatch(10, now);
    assert!(!quota.is_ample(500, 4), "two hundredths are to be left");
}

#[test]
fn a_burst_between_two_answers_does_not_overrun() {
    let now = Instant::now();
    let mut quota = Quota::default();
    assert_eq!(quota.headroom(10, 1, now), Headroom::default());
    let first = quota.dispatch(10, now);
    // Three more leave before the first answer.
    for _ in 0..3 {
        quota.dispatch(10, now);
    }
    assert!(quota.learn(&first, &requests(10, 5, 60 * SECOND, Refill::AtOnce), now));
    assert_eq!(quota.headroom(10, 1, now).fits, Some(true), "two are left");
    quota.dispatch(10, now);
    quota.dispatch(10, now);
    let headroom = quota.headroom(10, 1, now);
    assert_eq!((headroom.fits, headroom.share), (Some(false), Some(0.0)));
    assert_eq!(headroom.resets_at, Some(now + 60 * SECOND));
}

#[test]
fn tokens_count_by_the_size_of_the_request() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let sent = quota.dispatch(100, now);
    let told = told(&[
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "500"),
        ("x-ratelimit-reset-tokens", "30s"),
    ]);
    quota.learn(&sent, &told, now);
    assert_eq!(quota.headroom(500, 1, now).fits, Some(true));
    let headroom = quota.headroom(600, 1, now);
    assert_eq!((headroom.fits, headroom.share), (Some(false), Some(0.5)));
    // Half of it comes back in thirty seconds, so a hundred more in six.
    assert_eq!(headroom.resets_at, Some(now + 6 * SECOND));
    quota.dispatch(450, now);
    assert_eq!(quota.headroom(100, 1, now).fits, Some(false));
    assert_eq!(quota.headroom(100, 1, now + 4 * SECOND).fits, Some(true), "50 are left and 66 came back");
}

#[test]
fn cores_take_equal_shares_and_leave_the_last_few() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &requests(10, 4, 60 * SECOND, Refill::AtOnce), now);
    assert_eq!(quota.headroom(1, 2, now).fits, Some(true));
    assert_eq!(quota.shortage(2, now), None);
    quota.dispatch(1, now);
    quota.dispatch(1, now);
    assert_eq!(quota.headroom(1, 2, now).fits, Some(false));
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &requests(10, 1, 60 * SECOND, Refill::AtOnce), now);
    let low = quota.shortage(2, now).expect("one for two");
    assert_eq!((low.is_total, low.until), (false, now + 60 * SECOND));
    assert_eq!(quota.shortage(1, now), None, "one for one will do");
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &requests(10, 0, 60 * SECOND, Refill::AtOnce), now);
    assert!(quota.shortage(2, now).expect("none").is_total);
    assert_eq!(quota.shortage(2, now + 60 * SECOND), None);
}

#[test]
fn what_comes_back_bit_by_bit_is_waited_for_bit_by_bit() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &requests(5, 0, 10 * SECOND, Refill::Gradual), now);
    assert_eq!(quota.shortage(1, now), Some(Shortage { is_total: true, until: now + 2 * SECOND }));
    assert_eq!(quota.headroom(1, 1, now).resets_at, Some(now + 2 * SECOND));
    assert_eq!(quota.headroom(1, 1, now + 2 * SECOND).fits, Some(true));
    assert_eq!(quota.headroom(1, 1, now + SECOND).fits, Some(false));
    assert_eq!(quota.headroom(1, 1, now + 20 * SECOND).share, Some(1.0));
}

#[test]
fn after_a_reset_it_is_full_and_counted_down_again() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &requests(3, 0, SECOND, Refill::AtOnce), now);
    let later = now + SECOND;
    for _ in 0..3 {
        assert_eq!(quota.headroom(1, 1, later).fits, Some(true));
        quota.dispatch(1, later);
    }
    assert_eq!(quota.headroom(1, 1, later).fits, Some(false));
    let forgotten = later + limits::QUOTA_BELIEVED;
    assert_eq!(quota.headroom(1, 1, forgotten), Headroom::default(), "without answers nothing is known for ever");
    assert!(quota.is_unknown(forgotten) && !quota.is_unknown(later));
}

#[test]
fn an_unknown_limit_is_unknown_after_its_reset() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &told(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "5")]), now);
    assert_eq!(quota.headroom(1, 1, now).fits, Some(false));
    assert_eq!(quota.headroom(1, 1, now + 5 * SECOND).fits, None);
}

#[test]
fn an_answer_to_an_earlier_request_is_no_news() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let (first, second) = (quota.dispatch(1, now), quota.dispatch(1, now));
    assert!(quota.learn(&second, &requests(10, 0, 60 * SECOND, Refill::AtOnce), now));
    assert!(!quota.learn(&first, &requests(10, 9, 60 * SECOND, Refill::AtOnce), now));
    assert_eq!(quota.headroom(1, 1, now).fits, Some(false));
    assert!(!quota.learn(&quota.sent.clone(), &Allowances::default(), now), "nothing told, nothing learnt");
}

#[test]
fn more_left_than_the_limit_is_the_limit() {
    let now = Instant::now();
    let mut quota = Quota::default();
    let sent = quota.dispatch(1, now);
    quota.learn(&sent, &requests(5, 500, 60 * SECOND, Refill::Gradual), now);
    assert_eq!(quota.headroom(1, 1, now).share, Some(1.0));
    for _ in 0..5 {
        quota.dispatch(1, now);
    }
    assert_eq!(quota.headroom(1, 1, now).fits, Some(false));
}

proptest! {
    #[test]
    fn no_fields_and_no_order_break_it(
        fields in prop::collection::vec(("(x-ratelimit-|ratelimit|anthropic-ratelimit-)(limit|remaining|reset|-|requests|tokens|minute|input){0,5}", "\\PC{0,20}|[0-9.:smhTZ;=rtq-]{0,24}"), 0..12),
        steps in prop::collection::vec((0_u64..4, 0_u64..100_000, 0_u64..u64::MAX, 0_u64..9), 0..24),
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut quota = Quota::default();
        let mut sent = vec![quota.dispatch(1, now)];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let told = told(&fields);
        for (step, wait, tokens, cores) in steps {
            now += Duration::from_millis(wait);
            match step {
                0 => sent.push(quota.dispatch(tokens, now)),
                1 => { let at = sent[tokens as usize % sent.len()]; quota.learn(&at, &told, now); }
                2 => { let headroom = quota.headroom(tokens, cores, now); prop_assert!(headroom.share.is_none_or(|share| (0.0..=1.0).contains(&share))); }
                _ => { if let Some(short) = quota.shortage(cores, now) { prop_assert!(short.until > now); } }
            }
            if cores > 0 && quota.is_ample(tokens, cores) {
                let headroom = quota.headroom(tokens, cores, now);
                prop_assert!(headroom.fits != Some(false), "{headroom:?}");
                prop_assert!(headroom.share.is_none_or(|share| share >= limits::QUOTA_SHARE_SHORT), "{headroom:?}");
                prop_assert_eq!(quota.shortage(cores, now), None);
            }
        }
    }
}
