//! Signatures made by the other crate, by an old and by a new stock tool; and everything that is not quite one.

use super::*;
use minisign::KeyPair;
use std::io::Cursor;

const BODY: &[u8] = b"version = 7\nconfig_id = \"prod\"\n";
/// The stock tool's own example key, and its two signatures of `test`: the old form and the prehashed one.
const STOCK_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const STOCK_LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";
const STOCK_PREHASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("randomness")
}

fn public(pair: &KeyPair) -> PublicKey {
    PublicKey::parse(&pair.pk.to_box().expect("a box").to_string()).expect("a key")
}

fn trust(pairs: &[&KeyPair], threshold: usize) -> TrustSet {
    TrustSet::new(pairs.iter().map(|pair| public(pair)).collect(), Some(threshold)).expect("a trust")
}

fn signed_as(pair: &KeyPair, body: &[u8], comment: &str) -> String {
    minisign::sign(None, &pair.sk, Cursor::new(body), Some(comment), None).expect("signed").into_string()
}

fn signed(pair: &KeyPair, body: &[u8]) -> String {
    signed_as(pair, body, &comment("prod", 7, body))
}

fn verify(trust: &TrustSet, body: &[u8], text: &str) -> Result<Verified, SignatureError> {
    trust.verify(body, &Signatures::parse(text)?)
}

#[test]
fn both_forms_of_the_stock_tool_hold() {
    let key = PublicKey::parse(STOCK_KEY).expect("a key");
    assert_eq!(key.id().to_string(), "E7620F1842B4E81F", "as the stock tool prints it");
    let trust = TrustSet::new(vec![key], None).expect("a trust");
    for text in [STOCK_LEGACY, STOCK_PREHASHED] {
        assert_eq!(verify(&trust, b"test", text).map(|v| (v.signers.len(), v.purposes.len())), Ok((1, 0)));
        assert!(matches!(verify(&trust, b"Test", text), Err(SignatureError::Bad(_))));
    }
}

#[test]
fn a_purpose_is_said_and_must_be_true() {
    let pair = pair();
    let trust = trust(&[&pair], 1);
    let verified = verify(&trust, BODY, &signed(&pair, BODY)).expect("holds");
    let purpose = &verified.purposes[0];
    assert_eq!((purpose.config_id.as_str(), purpose.version), ("prod", 7));
    for lie in [
        "igris-backup-v1 of something",
        "igris-config-v2 config_id=prod version=7",
        "igris-config-v1 config_id=prod version=+7 sha512=00",
        "igris-config-v1 version=7 config_id=prod",
        &comment("prod", 7, b"another file"),
    ] {
        let refused = verify(&trust, BODY, &signed_as(&pair, BODY, lie));
        assert!(matches!(refused, Err(SignatureError::Purpose { .. })), "{lie}: {refused:?}");
    }
    assert!(verify(&trust, BODY, &signed_as(&pair, BODY, "timestamp:1")).is_ok_and(|v| v.purposes.is_empty()));
}

#[test]
fn m_of_n_must_sign_and_each_counts_once() {
    let (a, b, c, stranger) = (pair(), pair(), pair(), pair());
    let trust = trust(&[&a, &b, &c], 2);
    let text = |pairs: &[&KeyPair]| pairs.iter().map(|pair| signed(pair, BODY)).collect::<String>();
    assert!(verify(&trust, BODY, &text(&[&a, &c])).is_ok());
    assert!(verify(&trust, BODY, &text(&[&stranger, &b, &a])).is_ok(), "strangers count for nothing");
    for too_few in [&[&a][..], &[&a, &a], &[&a, &stranger], &[&stranger, &stranger]] {
        let refused = verify(&trust, BODY, &text(too_few));
        assert!(matches!(refused, Err(SignatureError::TooFew { threshold: 2, .. })), "{refused:?}");
    }
    let with_bad = text(&[&a, &b]) + &signed(&c, b"something else");
    assert_eq!(verify(&trust, BODY, &with_bad), Err(SignatureError::Bad(public(&c).id())));
    let spaced = text(&[&a]) + "\r\n\n" + &text(&[&b]).replace('\n', "\r\n");
    assert!(verify(&trust, BODY, &spaced).is_ok(), "empty lines between blocks and CR LF are no fault");
}

#[test]
fn a_key_under_two_ids_is_still_one() {
    let pair = pair();
    let one = public(&pair);
    let mut bytes = STANDARD.decode(one.text()).expect("base64");
    bytes[3] ^= 1;
    let other = PublicKey::parse(&STANDARD.encode(bytes)).expect("another id");
    assert_ne!(one.id(), other.id());
    assert!(matches!(TrustSet::new(vec![one, other], Some(2)), Err(SignatureError::KeyTwice(_))));
}

#[test]
fn any_changed_byte_of_the_file_is_refused() {
    let pair = pair();
    let (trust, text) = (trust(&[&pair], 1), signed(&pair, BODY));
    for at in 0..BODY.len() {
        for bit in 0..8 {
            let mut body = BODY.to_vec();
            body[at] ^= 1 << bit;
            assert!(verify(&trust, &body, &text).is_err(), "byte {at}, bit {bit}");
        }
    }
    assert!(verify(&trust, &BODY[..BODY.len() - 1], &text).is_err() && verify(&trust, b"", &text).is_err());
}

#[test]
fn any_changed_byte_of_what_is_signed_about_the_signature_is_refused() {
    let pair = pair();
    let (trust, text) = (trust(&[&pair], 1), signed(&pair, BODY));
    let from = text.find('\n').expect("lines") + 1;
    for at in from..text.trim_end().len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(verify(&trust, BODY, &changed).is_err(), "byte {at} of\n{text}");
    }
    assert!(verify(&trust, BODY, &text.replacen("signature", "whatever", 1)).is_ok(), "an untrusted comment");
}

#[test]
fn what_is_not_in_minisigns_form_is_refused_by_its_line() {
    let good = signed(&pair(), BODY);
    for (text, line) in [
        (String::new(), 1),
        ("x".to_owned(), 1),
        (good.lines().take(3).collect::<Vec<_>>().join("\n"), 3),
        (good.replacen("trusted comment: ", "comment: ", 2), 1),
        (good.clone() + "untrusted comment: a\nRWQf\ntrusted comment: b\nRWQf\n", 6),
    ] {
        assert_eq!(Signatures::parse(&text).err(), Some(SignatureError::Form { line }), "{text}");
    }
    assert_eq!(Signatures::parse(&good.repeat(SIGNATURE_BLOCKS_MAX + 1)).err(), Some(SignatureError::TooLong));
    assert_eq!(Signatures::parse(&good.repeat(SIGNATURE_BLOCKS_MAX)).map(|all| all.count()), Ok(SIGNATURE_BLOCKS_MAX));
}

#[test]
fn keys_are_read_strictly_and_sets_are_alike_in_any_order() {
    for text in [
        "",
        "RW",
        &STOCK_KEY[1..],
        &STOCK_KEY.replace("RWQ", "RWR!"),
        "RUQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
    ] {
        assert!(matches!(PublicKey::parse(text), Err(SignatureError::Key)), "{text}");
    }
    assert!(PublicKey::parse(&format!("untrusted comment: x\n{STOCK_KEY}\nmore")).is_err());
    let (a, b) = (pair(), pair());
    let (one, other) = (trust(&[&a, &b], 1), trust(&[&b, &a], 1));
    assert_eq!(one, other);
    assert_eq!(TrustSet::from_line(&one.line()), Ok(other));
    for bad in ["", "0", "1", "x y", &format!("2 {STOCK_KEY}"), &format!("1 {STOCK_KEY} {STOCK_KEY}")] {
        assert!(TrustSet::from_line(bad).is_err(), "{bad}");
    }
    assert!(matches!(TrustSet::new(Vec::new(), None), Err(SignatureError::KeyCount(0))));
}
