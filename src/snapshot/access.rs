//! Access keys by the whole digest of their text (rule V10), for a million of them.
//!
//! A digest is a keyed hash, so its bits are uniform: the first byte chooses a group, five more bits a shard, the rest the place within
//! it, guessed and then walked to. A lookup is a few steps and allocates nothing.
//!
//! Tables share what they have in common: a change of one key copies its shard and two short lists of pointers, so that it costs
//! microseconds beside a million others, and only that shard is freed when the last core has let go of the table before.

use crate::allowance::Allowance;
use crate::domain::cidr::Cidr;
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{AccessKeyId, ProviderId, TenantId};
use crate::domain::scope::Scopes;
use crate::routing::glob::NamePattern;
use crate::vault::access_key::Pepper;
use std::ops::Deref;
use std::sync::Arc;

/// Groups of a table: one for each first byte of a digest.
const GROUPS: usize = 256;
/// Shards of a group: one for each value of the next five bits. With a million keys a shard holds some hundred and twenty: five kilobytes.
const SHARDS: usize = 32;

/// One access key: what a client shows us. What it may ask for is read through to its [`AccessTerms`].
#[derive(Debug)]
pub struct AccessKey {
    /// Public id.
    pub id: AccessKeyId,
    /// Whose it is; the tenant comes from here alone (rule T1).
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Scopes,
    /// Refused after this instant, milliseconds since the Unix epoch.
    pub expires_at: Option<u64>,
    /// What it may ask for, shared by all keys with the same terms.
    pub terms: Arc<AccessTerms>,
    /// How much it may still do, shared by every core and every snapshot.
    pub allowance: Arc<Allowance>,
}

/// What an access key may ask for. Most keys of an estate have the same few, so they share them.
#[derive(Debug, Default)]
pub struct AccessTerms {
    /// Model names and globs it may ask for; empty allows all.
    pub models: Vec<NamePattern>,
    /// Providers it may be served by; empty allows all.
    pub providers: Vec<ProviderId>,
    /// Kinds of task it may ask for; empty allows all.
    pub endpoints: Vec<Endpoint>,
    /// Addresses it may be shown from; empty allows all.
    pub sources: Vec<Cidr>,
}

/// Every living access key, found by the digest of its text.
#[derive(Clone)]
pub struct AccessTable {
    /// Keyed-hash secret of the digests.
    pub pepper: Arc<Pepper>,
    groups: Box<[Arc<Group>]>,
    len: usize,
}

/// A table that is filled with many keys at once.
pub struct AccessFilling {
    pepper: Arc<Pepper>,
    groups: Vec<Vec<Entry>>,
}

type Group = [Shard; SHARDS];
/// In the order of their digests.
type Shard = Arc<[Entry]>;

#[derive(Clone)]
struct Entry {
    digest: [u8; 32],
    key: Arc<AccessKey>,
}

// === impl AccessKey ===

impl Deref for AccessKey {
    type Target = AccessTerms;

    fn deref(&self) -> &AccessTerms {
        &self.terms
    }
}

// === impl AccessTable ===

impl AccessTable {
    /// Nobody.
    pub fn new(pepper: Arc<Pepper>) -> Self {
        let nobody: Shard = Arc::from([]);
        let group: Arc<Group> = Arc::new(std::array::from_fn(|_| nobody.clone()));
        Self { pepper, groups: vec![group; GROUPS].into(), len: 0 }
    }

    /// A table to be filled with many keys.
    pub fn filling(pepper: Arc<Pepper>) -> AccessFilling {
        AccessFilling { pepper, groups: (0..GROUPS).map(|_| Vec::new()).collect() }
    }

    /// The key whose text has this digest.
    ///
    /// The comparison may stop early (rule V11): what is compared is a keyed hash, which nobody can steer without the pepper.
    pub fn find(&self, digest: &[u8; 32]) -> Option<&Arc<AccessKey>> {
        let shard = &self.groups.get(group_of(digest))?[shard_of(digest)];
        let at = place(shard, digest).ok()?;
        shard.get(at).map(|entry| &entry.key)
    }

    /// Puts a key under the digest of its text, in place of the one that is there.
    pub fn insert(&mut self, digest: [u8; 32], key: Arc<AccessKey>) {
        let entry = Entry { digest, key };
        let shard = self.shard(&digest);
        let (at, known) = match place(shard, &digest) {
            Ok(at) => (at, true),
            Err(at) => (at, false),
        };
        let after = shard.get(at + usize::from(known)..).unwrap_or_default();
        *shard = shard.iter().take(at).chain([&entry]).chain(after).cloned().collect();
        self.len += usize::from(!known);
    }

    /// Lets a key go; answers whether it was there.
    pub fn remove(&mut self, digest: &[u8; 32]) -> bool {
        let shard = self.shard(digest);
        let Ok(at) = place(shard, digest) else { return false };
        *shard = shard.iter().take(at).chain(shard.iter().skip(at + 1)).cloned().collect();
        self.len -= 1;
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The shard of a digest, in a group that is this table's alone.
    fn shard(&mut self, digest: &[u8; 32]) -> &mut Shard {
        let group = &mut self.groups[group_of(digest)];
        &mut Arc::make_mut(group)[shard_of(digest)]
    }
}

// === impl AccessFilling ===

impl AccessFilling {
    /// Adds a key under the digest of its text.
    pub fn add(&mut self, digest: [u8; 32], key: Arc<AccessKey>) {
        self.groups[group_of(&digest)].push(Entry { digest, key });
    }

    /// The table; of two keys under one digest the later one.
    pub fn finish(self) -> AccessTable {
        let mut table = AccessTable::new(self.pepper);
        let nobody: Shard = Arc::from([]);
        for (place, mut entries) in self.groups.into_iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
            // Stable, and then the first of equals goes: what came last stays.
            entries.sort_by_key(|entry| entry.digest);
            entries.reverse();
            entries.dedup_by(|next, kept| next.digest == kept.digest);
            entries.reverse();
            table.len += entries.len();
            let mut rest = entries.as_slice();
            table.groups[place] = Arc::new(std::array::from_fn(|shard| {
                let end = rest.partition_point(|entry| shard_of(&entry.digest) <= shard);
                let (own, others) = rest.split_at(end);
                rest = others;
                if own.is_empty() { nobody.clone() } else { Arc::from(own) }
            }));
        }
        table
    }
}

fn group_of(digest: &[u8; 32]) -> usize {
    usize::from(digest[0])
}

fn shard_of(digest: &[u8; 32]) -> usize {
    usize::from(digest[1]) * SHARDS / 256
}

/// Where a digest stands in a shard, or would stand. Uniform bits say nearly where; the rest of the way is walked.
fn place(shard: &[Entry], digest: &[u8; 32]) -> Result<usize, usize> {
    // The bits below those that chose the shard, as a fraction of its range.
    let fraction =
        u64::from(u32::from_be_bytes([digest[1], digest[2], digest[3], digest[4]]).wrapping_mul(SHARDS as u32));
    let mut at = usize::try_from((fraction * shard.len() as u64) >> 32).unwrap_or(0);
    while at > 0 && shard.get(at - 1).is_some_and(|entry| entry.digest >= *digest) {
        at -= 1;
    }
    while shard.get(at).is_some_and(|entry| entry.digest < *digest) {
        at += 1;
    }
    match shard.get(at) {
        Some(entry) if entry.digest == *digest => Ok(at),
        _ => Err(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn key(number: u64) -> Arc<AccessKey> {
        Arc::new(AccessKey {
            id: AccessKeyId::from_bits(u128::from(number)),
            tenant: TenantId::new("acme"),
            scopes: Scopes::INFERENCE,
            expires_at: None,
            terms: Arc::default(),
            allowance: Arc::default(),
        })
    }

    fn pepper() -> Arc<Pepper> {
        Arc::new(Pepper::new(1, &[7; 32]))
    }

    fn random_digest(dice: &mut fastrand::Rng) -> [u8; 32] {
        std::array::from_fn(|_| dice.u8(..))
    }

    #[test]
    fn a_table_holds_what_a_map_holds_through_thousands_of_changes() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut model = BTreeMap::new();
        let mut filling = AccessTable::filling(pepper());
        for number in 0..3_000 {
            let digest = random_digest(&mut dice);
            model.insert(digest, number);
            filling.add(digest, key(number));
        }
        let mut table = filling.finish();
        for number in 3_000..6_000 {
            let known = model.keys().nth(dice.usize(..model.len())).copied().expect("there are some");
            match dice.u8(..3) {
                0 => {
                    let digest = random_digest(&mut dice);
                    model.insert(digest, number);
                    table.insert(digest, key(number));
                }
                1 => {
                    model.insert(known, number);
                    table.insert(known, key(number));
                }
                _ => {
                    model.remove(&known);
                    assert!(table.remove(&known) && !table.remove(&known));
                }
            }
        }
        assert_eq!(table.len(), model.len());
        for (digest, number) in &model {
            assert_eq!(table.find(digest).map(|key| key.id), Some(AccessKeyId::from_bits(u128::from(*number))));
        }
        for _ in 0..1_000 {
            assert!(table.find(&random_digest(&mut dice)).is_none());
        }
    }

    #[test]
    fn digests_that_crowd_one_place_are_told_apart() {
        // Not what a keyed hash gives; the walk must be right all the same.
        let digest = |last: u8| std::array::from_fn(|place| if place == 31 { last } else { 0xff });
        let mut table = AccessTable::new(pepper());
        for last in (0..=255).rev() {
            table.insert(digest(last), key(u64::from(last)));
        }
        for last in 0..=255 {
            assert_eq!(table.find(&digest(last)).map(|key| key.id.bits()), Some(u128::from(last)));
        }
        assert!(table.remove(&digest(7)) && table.find(&digest(7)).is_none() && table.find(&digest(8)).is_some());
        assert!(table.find(&[0; 32]).is_none() && table.find(&[0xff; 32]).is_some());
    }

    #[test]
    fn of_two_under_one_digest_the_later_one_is_in_force() {
        let mut filling = AccessTable::filling(pepper());
        for number in 1..=3 {
            filling.add([9; 32], key(number));
        }
        let table = filling.finish();
        assert_eq!((table.len(), table.find(&[9; 32]).map(|key| key.id.bits())), (1, Some(3)));
    }

    #[test]
    fn a_change_shares_every_other_shard_and_leaves_the_table_before_as_it_was() {
        let mut dice = fastrand::Rng::with_seed(5);
        let digests: Vec<[u8; 32]> = (0..10_000).map(|_| random_digest(&mut dice)).collect();
        let mut filling = AccessTable::filling(pepper());
        for (number, digest) in digests.iter().enumerate() {
            filling.add(*digest, key(number as u64));
        }
        let before = filling.finish();
        let mut after = before.clone();
        assert!(after.remove(&digests[17]));
        assert!(before.find(&digests[17]).is_some() && after.find(&digests[17]).is_none());
        let shards = |table: &AccessTable| {
            let shards = table.groups.iter().flat_map(|group| group.iter().cloned());
            shards.collect::<Vec<Shard>>()
        };
        let (old, new) = (shards(&before), shards(&after));
        let copied = old.iter().zip(&new).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        assert_eq!(copied, 1);
    }
}
