//! Which lane keeps a prompt's beginning: the same one for the same beginning, on every core, as long as it may be asked.
//!
//! Nothing is stored and nobody agrees on anything: each core reckons the same weights (rendezvous hashing). The hash is fixed, fast and
//! not secret; two beginnings that share one only share a lane, which costs a cache miss.

use super::lane::LaneKey;

/// The weight of a lane for a prefix (rendezvous hashing): whoever has the highest weight keeps it, and a lane that goes away moves only
/// its own prefixes.
pub fn weight(prefix: u64, lane: &LaneKey) -> u64 {
    let credential = lane.credential.map_or(0, |credential| credential.bits());
    let mut hash = digest(prefix, lane.provider.as_str().as_bytes());
    hash = digest(hash, lane.model.as_bytes());
    digest(hash, &credential.to_le_bytes())
}

/// Sixty-four bits for some bytes; `seed` chains several pieces. The same in every process of one version.
pub fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<16>();
    let mut hash = seed ^ mix(bytes.len() as u64 ^ SECRETS[0], SECRETS[1]);
    for word in words {
        hash = mix_word(hash, word);
    }
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    hash = mix_word(hash, &last);
    mix(hash ^ SECRETS[2], SECRETS[0])
}

fn mix_word(hash: u64, word: &[u8; 16]) -> u64 {
    let whole = u128::from_le_bytes(*word);
    let (low, high) = (whole as u64, (whole >> 64) as u64);
    mix(low ^ SECRETS[1] ^ hash, high ^ SECRETS[2] ^ hash.rotate_left(32))
}

/// Both halves of a product, folded: every bit of the arguments moves about half of the result's.
fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Odd numbers without pattern: digits of pi.
const SECRETS: [u64; 3] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345, 0xA409_3822_299F_31D1];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{CredentialId, ProviderId};
    use std::sync::Arc;

    fn lane(credential: u128) -> LaneKey {
        LaneKey {
            provider: ProviderId::new("openai"),
            model: Arc::from("gpt-4o"),
            credential: Some(CredentialId::from_bits(credential)),
        }
    }

    fn keeper(prefix: u64, lanes: &[LaneKey]) -> usize {
        (0..lanes.len()).max_by_key(|place| weight(prefix, &lanes[*place])).expect("lanes")
    }

    #[test]
    fn prefixes_spread_evenly() {
        let lanes: Vec<LaneKey> = (1..=8).map(lane).collect();
        let mut kept = [0_u32; 8];
        // Prefixes that differ in few bits are the hard ones.
        (0..8_000).for_each(|prefix| kept[keeper(prefix, &lanes)] += 1);
        // Eight standard deviations of a fair draw (sqrt(8000 · 1/8 · 7/8) = 29.6).
        assert!(kept.iter().all(|count| count.abs_diff(1_000) < 240), "{kept:?}");
    }

    #[test]
    fn a_lane_that_goes_moves_its_own_prefixes_only() {
        let lanes: Vec<LaneKey> = (1..=5).map(lane).collect();
        let rest = &lanes[..4];
        let mut moved = [0_u32; 4];
        for prefix in 0..4_000 {
            let (before, after) = (keeper(prefix, &lanes), keeper(prefix, rest));
            if before == 4 {
                moved[after] += 1;
            } else {
                assert_eq!(before, after, "{prefix}");
            }
        }
        assert!(moved.iter().all(|count| *count > 100), "the load of the lane that went is shared out: {moved:?}");
    }

    #[test]
    fn order_and_other_lanes_do_not_matter_and_every_part_of_a_lane_does() {
        let one = lane(1);
        let others = [
            lane(2),
            LaneKey { credential: None, ..one.clone() },
            LaneKey { model: Arc::from("gpt-4"), ..one.clone() },
            LaneKey { provider: ProviderId::new("azure"), ..one.clone() },
        ];
        assert!(others.iter().all(|other| weight(7, other) != weight(7, &one)));
        assert_eq!(weight(7, &one), weight(7, &lane(1)));
    }

    #[test]
    fn digests_differ_where_the_bytes_do() {
        let text = vec![b'x'; 64];
        let mut seen = std::collections::HashSet::new();
        for length in 0..=64 {
            assert!(seen.insert(digest(0, &text[..length])), "length {length}");
        }
        for place in 0..64 {
            let mut other = text.clone();
            other[place] ^= 1;
            assert!(seen.insert(digest(0, &other)), "place {place}");
        }
        assert!(seen.insert(digest(1, &text)) && seen.insert(digest(0, &[0; 16])) && seen.insert(digest(0, &[0; 17])));
    }
}
