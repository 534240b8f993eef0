use super::*;
use crate::vault::entropy::OsEntropy;
use crate::vault::entropy::tests::Counting;
use crate::vault::keyring::SEALS_MAX;
use proptest::prelude::*;

const KEY: [u8; 32] = [0x42; 32];

struct Names {
    tenant: TenantId,
    provider: ProviderId,
    id: CredentialId,
}

fn names() -> Names {
    Names { tenant: TenantId::new("acme"), provider: ProviderId::new("openai"), id: CredentialId::from_bits(77) }
}

fn place(names: &Names) -> Place<'_> {
    Place::credential(&names.tenant, &names.provider, "https://api.openai.com/v1", names.id, 3, 5)
}

fn sealed(place: &Place<'_>, text: &[u8]) -> Vec<u8> {
    seal(&mut DataKey::of(KEY, 0), place, &Secret::copy_of(text), &mut OsEntropy).expect("sealed")
}

#[test]
fn what_was_sealed_opens_in_its_place() {
    let names = names();
    for text in [&b""[..], b"x", b"sk-proj-0123456789", &[7; 9_000]] {
        let record = sealed(&place(&names), text);
        assert_eq!(record.len(), RECORD_OVERHEAD + text.len());
        assert_eq!(open(&DataKey::of(KEY, 0), &place(&names), &record).expect("opened").expose(), text);
        assert!(text.len() < 2 || memchr::memmem::find(&record, text).is_none());
    }
}

/// Computed apart, with Python's `hmac` and `cryptography`: the layout of rule V5 is a promise to other builds.
#[test]
fn the_layout_is_pinned() {
    let names = names();
    let plain = Secret::copy_of(b"sk-known-answer");
    let record = seal(&mut DataKey::of(KEY, 0), &place(&names), &plain, &mut Counting(0)).expect("sealed");
    let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("seal_known_answer.hex").trim_end());
}

#[test]
fn every_changed_byte_is_refused() {
    let names = names();
    let record = sealed(&place(&names), b"sk-marker");
    for at in 0..record.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut forged = record.clone();
            forged[at] ^= flip;
            assert!(open(&DataKey::of(KEY, 0), &place(&names), &forged).is_err(), "byte {at} xor {flip:#x}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let names = names();
    let record = sealed(&place(&names), b"sk-marker");
    for len in 0..record.len() {
        assert!(
            matches!(open(&DataKey::of(KEY, 0), &place(&names), &record[..len]), Err(VaultError::Malformed)),
            "{len}"
        );
    }
    let longer = [record.as_slice(), b"\0"].concat();
    assert!(matches!(open(&DataKey::of(KEY, 0), &place(&names), &longer), Err(VaultError::Malformed)));
}

/// Rule V4: swapping rows, tenants, providers, addresses, master keys or generations fails, also when the header is
/// rewritten to match.
#[test]
fn no_other_place_opens_it() {
    let Names { tenant, provider, id } = names();
    let url = "https://api.openai.com/v1";
    let record = sealed(&Place::credential(&tenant, &provider, url, id, 3, 5), b"sk-marker");
    let (other_tenant, other_provider) = (TenantId::new("acm"), ProviderId::new("eopenai"));
    let other_id = CredentialId::from_bits(78);
    let elsewhere = [
        Place::credential(&other_tenant, &provider, url, id, 3, 5),
        Place::credential(&other_tenant, &other_provider, url, id, 3, 5),
        Place::credential(&tenant, &other_provider, url, id, 3, 5),
        Place::credential(&tenant, &provider, "https://evil.example/v1", id, 3, 5),
        Place::credential(&tenant, &provider, url, other_id, 3, 5),
        Place::credential(&tenant, &provider, url, id, 4, 5),
        Place::credential(&tenant, &provider, url, id, 3, 4),
        Place { purpose: Purpose::DataKey, ..Place::credential(&tenant, &provider, url, id, 3, 5) },
    ];
    for place in elsewhere {
        assert!(open(&DataKey::of(KEY, 0), &place, &record).is_err(), "{place:?}");
        let mut dressed = record.clone();
        dressed[6..10].copy_from_slice(&place.kek_version.to_be_bytes());
        dressed[10..26].copy_from_slice(&place.id.to_be_bytes());
        dressed[26..34].copy_from_slice(&place.generation.to_be_bytes());
        assert!(open(&DataKey::of(KEY, 0), &place, &dressed).is_err(), "{place:?}");
    }
}

#[test]
fn fields_do_not_run_into_each_other() {
    let (a, b, ab) = (TenantId::new("a"), ProviderId::new("bc"), TenantId::new("ab"));
    let c = ProviderId::new("c");
    let id = CredentialId::from_bits(1);
    let left = Place::credential(&a, &b, "", id, 1, 1).aad().expect("short");
    let right = Place::credential(&ab, &c, "", id, 1, 1).aad().expect("short");
    assert_ne!(left, right);
}

#[test]
fn another_key_is_told_apart_before_decrypting() {
    let names = names();
    let record = sealed(&place(&names), b"sk-marker");
    let mut other = KEY;
    other[31] ^= 1;
    assert!(matches!(open(&DataKey::of(other, 0), &place(&names), &record), Err(VaultError::WrongKey)));
}

#[test]
fn unknown_versions_and_suites_are_refused_by_name() {
    let names = names();
    for (at, version, suite) in [(4, 2, 1), (5, 1, 2)] {
        let mut record = sealed(&place(&names), b"sk-marker");
        record[at] = 2;
        match open(&DataKey::of(KEY, 0), &place(&names), &record) {
            Err(VaultError::UnknownFormat { version: v, suite: s }) => assert_eq!((v, s), (version, suite)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_seals_of_one_value_share_nothing() {
    let names = names();
    let (first, second) = (sealed(&place(&names), b"sk-marker"), sealed(&place(&names), b"sk-marker"));
    assert_ne!(first[34..66], second[34..66], "salt");
    assert_ne!(first[78..110], second[78..110], "commitment");
    assert_ne!(first[114..], second[114..], "ciphertext");
}

#[test]
fn the_last_seal_is_the_last() {
    let names = names();
    let mut key = DataKey::of(KEY, SEALS_MAX - 1);
    let plain = Secret::copy_of(b"sk-marker");
    seal(&mut key, &place(&names), &plain, &mut OsEntropy).expect("the last one");
    assert_eq!(key.seals(), SEALS_MAX);
    assert!(matches!(seal(&mut key, &place(&names), &plain, &mut OsEntropy), Err(VaultError::SealsSpent)));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let names = names();
        prop_assert!(open(&DataKey::of(KEY, 0), &place(&names), &bytes).is_err());
    }
}
