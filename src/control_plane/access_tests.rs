use super::*;
use crate::domain::scope::Scope;
use crate::store::tests::{NOW, Place as Directory, tenant};
use crate::vault::OsEntropy;
use crate::vault::access_key::checksum_ok;

struct House {
    directory: Directory,
    store: Store,
    keyring: Keyring,
}

impl House {
    fn new(name: &str) -> Self {
        let directory = Directory::new(&format!("access-{name}"));
        let (store, keyring) = directory.open();
        Self { directory, store, keyring }
    }

    fn tenant(&mut self, name: &str) -> TenantId {
        tenant(&mut self.store, &self.keyring, name)
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Access<'_>) -> T) -> T {
        work(&mut Access::new(&mut self.store, &self.keyring, &mut OsEntropy, NOW))
    }

    fn living(&mut self) -> Vec<[u8; 32]> {
        let mut digests = Vec::new();
        self.with(|access| {
            access.for_each_living(|row| {
                digests.push(row.digest);
                Ok::<(), StoreError>(())
            })
        })
        .expect("streamed");
        digests
    }
}

fn terms(limits: &Map<String, Value>) -> Terms<'_> {
    Terms { name: "app", scopes: Scopes::INFERENCE, limits, expires: None }
}

fn text(text: &str) -> Secret {
    Secret::copy_of(text.as_bytes())
}

#[test]
fn a_made_key_is_known_by_its_digest_and_stored_nowhere() {
    let mut house = House::new("make");
    let acme = house.tenant("acme");
    let limits = Map::from_iter([("requests_per_minute".to_owned(), Value::from(600))]);
    let (view, key) = house.with(|access| access.make(&acme, &terms(&limits))).expect("made");
    assert!(checksum_ok(key.expose()));
    assert_eq!((view.status, view.scopes.as_slice(), view.key.len()), ("active", &["inference"][..], "…".len() + 4));
    assert_eq!(view.limits["requests_per_minute"], 600);
    let pepper = house.keyring.pepper().expect("pepper").clone();
    assert_eq!(house.living(), [digest(&pepper, key.expose())]);
    let body = &key.expose()[9..52];
    assert!(house.directory.files_with(body).is_empty(), "the text is on disk");
    assert!(!serde_json::to_string(&view).expect("json").contains(std::str::from_utf8(body).expect("ascii")));
    let House { directory, store, keyring } = house;
    drop((store, keyring));
    assert!(directory.files_with(body).is_empty());
    let (mut store, keyring) = directory.open();
    assert_eq!(digest(keyring.pepper().expect("pepper"), key.expose()), digest(&pepper, key.expose()));
    let mut entropy = OsEntropy;
    let access = Access::new(&mut store, &keyring, &mut entropy, NOW);
    assert_eq!(access.list(&acme).expect("listed"), [view]);
}

#[test]
fn registering_twice_changes_only_the_terms() {
    let mut house = House::new("register");
    let (acme, other) = (house.tenant("acme"), house.tenant("other"));
    let none = Map::new();
    let supplied = "owner-supplied-key-00001";
    let first = house.with(|access| access.register(&acme, text(supplied), &terms(&none))).expect("registered");
    assert_eq!(first.key, "…01", "little of a short key is shown");
    let wider = Terms { name: "renamed", scopes: Scopes::ALL, ..terms(&none) };
    let second =
        house.with(|access| access.register(&acme, text(" owner-supplied-key-00001\n"), &wider)).expect("again");
    assert_eq!((second.id.as_str(), second.name.as_str()), (first.id.as_str(), "renamed"));
    assert_eq!(second.scopes, Scope::ALL.map(Scope::name));
    assert_eq!(house.with(|access| access.list(&acme)).expect("listed"), std::slice::from_ref(&second));
    assert_eq!(house.living().len(), 1);
    let stolen = house.with(|access| access.register(&other, text(supplied), &terms(&none)));
    assert!(matches!(stolen, Err(AccessError::OtherTenant)));
}

#[test]
fn a_revoked_key_is_gone_for_good() {
    let mut house = House::new("revoke");
    let (acme, other) = (house.tenant("acme"), house.tenant("other"));
    let none = Map::new();
    let view = house
        .with(|access| access.register(&acme, text("owner-supplied-key-00002"), &terms(&none)))
        .expect("registered");
    let id = AccessKeyId::parse(&view.id).expect("an id");
    let missing = |result: Result<(), AccessError>| matches!(result, Err(AccessError::Store(StoreError::NotFound(_))));
    assert!(missing(house.with(|access| access.revoke(&other, id))), "rule T1");
    assert_eq!(house.living().len(), 1);
    house.with(|access| access.revoke(&acme, id)).expect("revoked");
    assert!(house.living().is_empty());
    assert!(missing(house.with(|access| access.revoke(&acme, id))));
    assert_eq!(house.with(|access| access.list(&acme)).expect("listed")[0].status, "revoked");
    let again = house.with(|access| access.register(&acme, text("owner-supplied-key-00002"), &terms(&none)));
    assert!(matches!(again, Err(AccessError::Revoked)));
}

#[test]
fn bad_texts_and_terms_are_refused() {
    let mut house = House::new("bad");
    let acme = house.tenant("acme");
    let none = Map::new();
    let long = "k".repeat(ACCESS_KEY_BYTES_MAX + 1);
    for (supplied, fine) in [
        ("k2345678901234567890", true),
        ("k234567890123456789", false),
        (&long[1..], true),
        (&long, false),
        ("k2345678901234567890 k", false),
        ("k2345678901234567890\u{e9}", false),
        ("k2345678901234567890\0", false),
    ] {
        assert_eq!(
            house.with(|access| access.register(&acme, text(supplied), &terms(&none))).is_ok(),
            fine,
            "{supplied:?}"
        );
    }
    let bad_terms = [
        Terms { name: "two\nlines", ..terms(&none) },
        Terms { name: &long[..ACCESS_KEY_NAME_BYTES_MAX + 1], ..terms(&none) },
        Terms { expires: Some(NOW), ..terms(&none) },
    ];
    for bad in bad_terms {
        assert!(house.with(|access| access.make(&acme, &bad)).is_err(), "{bad:?}");
    }
    let nobody = TenantId::new("nobody");
    assert!(house.with(|access| access.make(&nobody, &terms(&none))).is_err());
    assert!(house.with(|access| access.list(&nobody)).is_err());
}

#[test]
fn a_key_past_its_end_is_not_published() {
    let mut house = House::new("end");
    let acme = house.tenant("acme");
    let none = Map::new();
    let ends = Terms { expires: Some(UnixMillis(NOW.0 + 1)), ..terms(&none) };
    house.with(|access| access.make(&acme, &ends)).expect("made");
    assert_eq!(house.living().len(), 1);
    let mut entropy = OsEntropy;
    let mut later = Access::new(&mut house.store, &house.keyring, &mut entropy, UnixMillis(NOW.0 + 1));
    assert_eq!(later.list(&acme).expect("listed")[0].status, "expired");
    let mut count = 0;
    let each = |_: AccessKeyRow<'_>| {
        count += 1;
        Ok::<(), StoreError>(())
    };
    later.for_each_living(each).expect("streamed");
    assert_eq!(count, 0);
}
