use super::*;
use crate::config::KeyLimits;
use crate::control_plane::access::{AccessError, Terms};
use crate::domain::scope::Scope;
use crate::domain::secret::Secret;
use crate::store::tests::{NOW, Place as Directory, tenant};
use crate::store::{Store, StoreError};
use crate::vault::access_key::{checksum_ok, digest};
use crate::vault::{Keyring, OsEntropy};
use serde_json::json;

const MINUTE: u64 = 60_000;

struct House {
    _directory: Directory,
    store: Store,
    keyring: Keyring,
    acme: TenantId,
    other: TenantId,
}

impl House {
    fn new(name: &str) -> Self {
        let directory = Directory::new(&format!("access-{name}"));
        let (mut store, keyring) = directory.open();
        let [acme, other] = ["acme", "other"].map(|name| tenant(&mut store, &keyring, name));
        Self { _directory: directory, store, keyring, acme, other }
    }

    fn at<T>(&mut self, now: UnixMillis, work: impl FnOnce(&mut Access<'_>, &TenantId) -> T) -> T {
        work(&mut Access::new(&mut self.store, &self.keyring, &mut OsEntropy, now), &self.acme)
    }

    fn make(&mut self, limits: &Value, expires: Option<UnixMillis>) -> (AccessKeyId, [u8; 32]) {
        let limits = limits.as_object().cloned().expect("an object");
        let terms = Terms { name: "app", scopes: Scopes::INFERENCE, limits: &limits, expires };
        let (view, text) = self.at(NOW, |access, acme| access.make(acme, &terms)).expect("made");
        (AccessKeyId::parse(&view.id).expect("an id"), self.digest(&text))
    }

    fn digest(&self, text: &AccessKeyText) -> [u8; 32] {
        digest(self.keyring.pepper().expect("a pepper"), text.expose())
    }

    fn rotate(&mut self, id: AccessKeyId, minutes: u64) -> (AccessKeyId, [u8; 32], UnixMillis) {
        let overlap = Duration::from_secs(minutes * 60);
        let (view, text, ends) = self.at(NOW, |access, acme| access.rotate(acme, id, overlap)).expect("rotated");
        assert!(checksum_ok(text.expose()));
        (AccessKeyId::parse(&view.id).expect("an id"), self.digest(&text), ends)
    }

    fn revoke(&mut self, id: AccessKeyId) {
        self.at(NOW, |access, acme| access.revoke(acme, id)).expect("revoked");
    }

    /// Digest and holder of every key that lives at an instant, in order of their digests.
    fn living(&mut self, now: UnixMillis) -> Vec<([u8; 32], AccessKeyId)> {
        let mut rows = Vec::new();
        let each = |row: crate::store::AccessKeyRow<'_>| {
            rows.push((row.digest, row.holder));
            Ok::<(), StoreError>(())
        };
        self.at(now, |access, _| access.for_each_living(each)).expect("streamed");
        rows.sort_unstable();
        rows
    }
}

fn later(minutes: u64) -> UnixMillis {
    UnixMillis(NOW.0 + minutes * MINUTE)
}

fn sorted<const N: usize>(mut rows: [([u8; 32], AccessKeyId); N]) -> Vec<([u8; 32], AccessKeyId)> {
    rows.sort_unstable();
    rows.to_vec()
}

#[test]
fn a_rotated_key_has_the_same_terms_and_both_live_until_the_overlap_ends() {
    let mut house = House::new("overlap");
    let (old, old_digest) = house.make(&json!({"concurrent": 3}), None);
    let (new, new_digest, ends) = house.rotate(old, 15);
    assert_eq!(ends, later(15));
    let both = sorted([(old_digest, old), (new_digest, old)]);
    assert_eq!(house.living(NOW), both, "one holder for both: they are counted together");
    assert_eq!(house.living(UnixMillis(ends.0 - 1)), both);
    assert_eq!(house.living(ends), [(new_digest, old)]);
    let [was, is] = [old, new].map(|id| house.at(NOW, |access, acme| access.show(acme, id)).expect("there"));
    assert_eq!((&was.name, &was.scopes, &was.limits), (&is.name, &is.scopes, &is.limits));
    assert_eq!((was.successor, is.succeeds), (Some(new.to_string()), Some(old.to_string())));
    assert_eq!((was.expires_at, is.expires_at), (Some(ends.to_rfc3339()), None));
    let listed = house.at(ends, |access, acme| access.list(acme)).expect("listed");
    let status = |id: AccessKeyId| listed.iter().find(|view| view.id == id.to_string()).map(|view| view.status);
    assert_eq!((status(old), status(new)), (Some("expired"), Some("active")));
}

#[test]
fn an_overlap_ends_no_later_than_the_key_would_have() {
    let mut house = House::new("short");
    let (old, _) = house.make(&json!({}), Some(later(5)));
    let (new, _, ends) = house.rotate(old, 15);
    assert_eq!(ends, later(5));
    let view = house.at(NOW, |access, acme| access.show(acme, new)).expect("there");
    assert_eq!(view.expires_at, Some(later(5).to_rfc3339()), "the terms are the same");
    let (fresh, digest) = house.make(&json!({}), None);
    let (_, new_digest, ends) = house.rotate(fresh, 0);
    assert_eq!(ends, NOW);
    let living = house.living(NOW);
    assert!(living.iter().all(|(known, _)| *known != digest), "without an overlap it ends at once");
    assert!(living.contains(&(new_digest, fresh)));
}

#[test]
fn a_key_is_rotated_again_through_its_successor() {
    let mut house = House::new("twice");
    let (first, one) = house.make(&json!({}), None);
    let (second, two, _) = house.rotate(first, 60);
    let overlap = Duration::from_secs(60);
    let again = house.at(NOW, |access, acme| access.rotate(acme, first, overlap));
    assert!(matches!(again, Err(AccessError::Rotated)));
    let changed = house.at(NOW, |access, acme| access.amend(acme, first, &Changes::default()));
    assert!(matches!(changed, Err(AccessError::Rotated)), "its end cannot be put off");
    let (_, three, _) = house.rotate(second, 30);
    assert_eq!(
        house.living(NOW),
        sorted([(one, first), (two, first), (three, first)]),
        "counted as one over the whole line"
    );
    let mut holders = house.store.admin().access_key_holders().expect("read");
    holders.sort_unstable();
    assert_eq!(holders.len(), 2, "the first is its own");
    assert!(holders.iter().all(|(id, holder)| *holder == first && *id != first));
    assert_eq!(house.living(later(30)), sorted([(one, first), (three, first)]));
    assert_eq!(house.living(later(60)), [(three, first)]);
}

#[test]
fn revoking_one_of_two_leaves_the_other() {
    let mut house = House::new("ends");
    let (old, old_digest) = house.make(&json!({}), None);
    let (new, new_digest, _) = house.rotate(old, 15);
    house.revoke(old);
    assert_eq!(house.living(NOW), [(new_digest, old)]);
    house.revoke(new);
    assert!(house.living(NOW).is_empty());
    let (old, _) = house.make(&json!({}), None);
    let (new, _, ends) = house.rotate(old, 15);
    house.revoke(new);
    let living = house.living(NOW);
    assert_eq!(living.len(), 1, "{old_digest:?}");
    assert!(house.living(ends).is_empty(), "the old one still ends");
    // A leaked successor is revoked, and the old one rotated once more.
    let (newer, ..) = house.rotate(old, 15);
    let view = house.at(NOW, |access, acme| access.show(acme, old)).expect("there");
    assert_eq!(view.successor, Some(newer.to_string()));
}

#[test]
fn what_an_amendment_does_not_name_stays() {
    let mut house = House::new("amend");
    let (id, digest) = house.make(&json!({"concurrent": 3}), None);
    let changes = Changes { name: Some("renamed".to_owned()), ..Changes::default() };
    let view = house.at(NOW, |access, acme| access.amend(acme, id, &changes)).expect("amended");
    assert_eq!(
        (view.name.as_str(), view.scopes.as_slice(), &view.limits),
        ("renamed", &["inference"][..], &json!({"concurrent": 3}))
    );
    let changes = Changes { scopes: Some(Scopes::ALL), expires: Some(Some(later(1))), ..Changes::default() };
    house.at(NOW, |access, acme| access.amend(acme, id, &changes)).expect("amended");
    assert!(house.living(later(1)).is_empty());
    let changes = Changes { limits: Some(Map::new()), expires: Some(None), ..Changes::default() };
    let view = house.at(NOW, |access, acme| access.amend(acme, id, &changes)).expect("amended");
    assert_eq!((view.name.as_str(), view.expires_at, view.limits), ("renamed", None, json!({})));
    assert_eq!(view.scopes, Scope::ALL.map(Scope::name));
    assert_eq!(house.living(later(1)), [(digest, id)], "its text stays");
    for bad in [
        Changes { name: Some("two\nlines".to_owned()), ..Changes::default() },
        Changes { expires: Some(Some(NOW)), ..Changes::default() },
    ] {
        assert!(house.at(NOW, |access, acme| access.amend(acme, id, &bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn foreign_ended_revoked_and_configured_keys_are_not_changed() {
    let mut house = House::new("refused");
    let (id, _) = house.make(&json!({}), Some(later(1)));
    let other = house.other.clone();
    let overlap = Duration::ZERO;
    let foreign = house.at(NOW, |access, _| access.rotate(&other, id, overlap).map(drop));
    assert!(matches!(foreign, Err(AccessError::Store(StoreError::NotFound(_)))), "rule T1");
    let foreign = house.at(NOW, |access, _| access.amend(&other, id, &Changes::default()).map(drop));
    assert!(matches!(foreign, Err(AccessError::Store(StoreError::NotFound(_)))), "rule T1");
    assert!(house.at(NOW, |access, _| access.show(&other, id)).is_err(), "rule T1");
    let ended = house.at(later(1), |access, acme| access.rotate(acme, id, overlap).map(drop));
    assert!(matches!(ended, Err(AccessError::Ended)));
    house.revoke(id);
    let revoked = house.at(NOW, |access, acme| access.amend(acme, id, &Changes::default()).map(drop));
    assert!(matches!(revoked, Err(AccessError::Revoked)));
    let limits = key_limits::of_config(&KeyLimits::default());
    let terms = Terms { name: "app", scopes: Scopes::INFERENCE, limits: &limits, expires: None };
    let text = Secret::copy_of(b"owner-supplied-key-00001");
    let view = house.at(NOW, |access, acme| access.register(acme, text, &terms)).expect("registered");
    let id = AccessKeyId::parse(&view.id).expect("an id");
    for refused in [
        house.at(NOW, |access, acme| access.amend(acme, id, &Changes::default()).map(drop)),
        house.at(NOW, |access, acme| access.rotate(acme, id, overlap).map(drop)),
    ] {
        let error = refused.expect_err("it would come back as it was");
        assert!(matches!(error, AccessError::Configured) && error.to_string().contains("reload"));
    }
    house.revoke(id);
}

#[test]
fn the_digest_alone_decides_over_what_an_owner_supplies() {
    let mut house = House::new("typo");
    let none = Map::new();
    let terms = Terms { name: "app", scopes: Scopes::INFERENCE, limits: &none, expires: None };
    let (_, made) = house.at(NOW, |access, acme| access.make(acme, &terms)).expect("made");
    let mut text = made.expose().to_vec();
    text[20] = if text[20] == b'a' { b'b' } else { b'a' };
    let taken = house.at(NOW, |access, acme| access.register(acme, Secret::copy_of(&text), &terms));
    assert_eq!(taken.expect("its checksum is nobody's business").status, "active");
}
