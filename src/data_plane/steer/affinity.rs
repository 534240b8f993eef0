//! Which beginnings of prompts are in which caches, as far as this core has seen: the lane that answered last, and until when its
//! provider keeps them.
//!
//! Two generations bound the memory: what is used moves to the young one; when that is full it becomes the old one, and what was old is
//! forgotten. So the least used go first, without a list to keep in order.

use crate::domain::token::Usage;
use crate::limits;
use crate::providers::prompt_cache::PromptCache;
use crate::routing::affinity;
use crate::routing::lane::LaneKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

/// Prefixes by the weight of their lane, which is a hash of both.
#[derive(Default)]
pub struct Warmth {
    generations: RefCell<Generations>,
}

#[derive(Default)]
struct Generations {
    young: Kept,
    old: Kept,
}

type Kept = HashMap<u64, Instant, BuildHasherDefault<AsIs>>;

/// Keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = affinity::digest(self.0, bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

// === impl Warmth ===

impl Warmth {
    /// Whether the cache of a lane still holds a prefix.
    pub fn is_warm(&self, prefix: u64, lane: &LaneKey, now: Instant) -> bool {
        let Generations { young, old } = &*self.generations.borrow();
        if young.is_empty() && old.is_empty() {
            return false;
        }
        let key = affinity::weight(prefix, lane);
        young.get(&key).or_else(|| old.get(&key)).is_some_and(|until| now < *until)
    }

    /// A lane has answered a prompt with this prefix, which kept it there if `cache` and `usage` say so.
    pub fn warmed(&self, prefix: u64, lane: &LaneKey, cache: PromptCache, usage: &Usage, now: Instant) {
        if !cache.keeps(usage) {
            return;
        }
        let Generations { young, old } = &mut *self.generations.borrow_mut();
        young.insert(affinity::weight(prefix, lane), now + cache.life);
        if young.len() >= limits::WARM_PREFIXES_MIN {
            *old = std::mem::take(young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{CredentialId, ProviderId};
    use std::sync::Arc;
    use std::time::Duration;

    const CACHE: PromptCache = PromptCache { life: Duration::from_secs(300), marked: false };

    fn lane(credential: u128) -> LaneKey {
        let credential = Some(CredentialId::from_bits(credential));
        LaneKey { provider: ProviderId::new("openai"), model: Arc::from("m"), credential }
    }

    #[test]
    fn a_lane_is_warm_for_what_it_answered_until_its_cache_forgets() {
        let (warmth, start, usage) = (Warmth::default(), Instant::now(), Usage::default());
        assert!(!warmth.is_warm(1, &lane(1), start));
        warmth.warmed(1, &lane(1), CACHE, &usage, start);
        assert!(warmth.is_warm(1, &lane(1), start + Duration::from_secs(299)));
        assert!(!warmth.is_warm(1, &lane(2), start) && !warmth.is_warm(2, &lane(1), start));
        assert!(!warmth.is_warm(1, &lane(1), start + Duration::from_secs(300)));
        warmth.warmed(1, &lane(1), CACHE, &usage, start + Duration::from_secs(200));
        assert!(warmth.is_warm(1, &lane(1), start + Duration::from_secs(400)), "each use begins its life anew");
    }

    #[test]
    fn what_must_be_marked_is_warm_only_if_the_answer_says_so() {
        let (warmth, start) = (Warmth::default(), Instant::now());
        let marked = PromptCache { marked: true, ..CACHE };
        warmth.warmed(1, &lane(1), marked, &Usage { input: 9_000, ..Usage::default() }, start);
        assert!(!warmth.is_warm(1, &lane(1), start));
        warmth.warmed(1, &lane(1), marked, &Usage { input: 9_000, cache_write: 8_000, ..Usage::default() }, start);
        assert!(warmth.is_warm(1, &lane(1), start));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let (warmth, now, usage) = (Warmth::default(), Instant::now(), Usage::default());
        let many = 5 * limits::WARM_PREFIXES_MIN as u64;
        for prefix in 1..=many {
            warmth.warmed(prefix, &lane(1), CACHE, &usage, now);
            if prefix % 1_000 == 0 {
                warmth.warmed(0, &lane(1), CACHE, &usage, now);
            }
        }
        let generations = warmth.generations.borrow();
        assert!(generations.young.len() + generations.old.len() <= 2 * limits::WARM_PREFIXES_MIN);
        drop(generations);
        assert!(warmth.is_warm(0, &lane(1), now) && warmth.is_warm(many, &lane(1), now));
        assert!(!warmth.is_warm(1, &lane(1), now));
    }
}
