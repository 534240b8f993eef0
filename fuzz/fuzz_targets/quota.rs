//! Rate-limit fields and what becomes of them: no bytes and no order break it, and what is promised is never more than the answers left.
#![no_main]

use igris::domain::clock::UnixMillis;
use igris::routing::quota::{Allowances, Quota};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

const NOW: UnixMillis = UnixMillis(1_795_416_713_000);

fn read(line: &[u8]) -> Allowances {
    let mut told = Allowances::default();
    for field in line.split(|byte| *byte == b'|') {
        let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
        let value = field.get(colon + 1..).unwrap_or_default();
        if let Ok(name) = std::str::from_utf8(&field[..colon]) {
            told.read(name, value, NOW);
        }
    }
    told
}

// Each line is a step: its first byte says which, and by how much time moves on; the rest are fields, `name:value|name:value`.
fuzz_target!(|input: &[u8]| {
    let mut now = Instant::now();
    let mut quota = Quota::default();
    let mut sent = vec![quota.dispatch(1, now)];
    for line in input.split(|byte| *byte == b'\n').take(256) {
        let Some((step, rest)) = line.split_first() else { continue };
        let cores = u64::from(step >> 2 & 3);
        now += Duration::from_millis(u64::from(step >> 4) * 700);
        match step & 3 {
            0 => sent.push(quota.dispatch(rest.len() as u64, now)),
            1 => {
                let at = sent[rest.len() % sent.len()];
                quota.learn(&at, &read(rest), now);
            }
            2 => {
                let headroom = quota.headroom(rest.len() as u64, cores, now);
                assert!(headroom.share.is_none_or(|share| (0.0..=1.0).contains(&share)));
                assert!(headroom.resets_at.is_none_or(|at| at > now));
                // What fits does not stop fitting by being smaller.
                assert!(headroom.fits != Some(true) || quota.headroom(0, cores, now).fits == Some(true));
            }
            _ => assert!(quota.shortage(cores, now).is_none_or(|short| short.until > now)),
        }
    }
});
