//! The table is whole, and who is who is decided as it says.

use super::*;
use crate::config::{AdminToken, KeySource};

const TEXT: &str = "igris-admin-CANARY-0123456789";

fn admission(tokens: &[(&str, Roles, &str)]) -> Admission {
    let named = |(name, roles, _): &(&str, Roles, &str)| AdminToken {
        name: (*name).to_owned(),
        roles: *roles,
        key: KeySource::Env((*name).to_owned()),
    };
    let users = [(1000, Roles::READ), (1001, Roles::OPERATE), (1002, Roles::ALL)];
    let admin = Admin {
        allowed_uids: users.map(|(uid, roles)| AllowedUser { uid, roles }).to_vec(),
        tokens: tokens.iter().map(named).collect(),
        ..Admin::default()
    };
    let env = |name: &str| tokens.iter().find(|token| token.0 == name).map(|token| token.2.to_owned());
    Admission::new(&admin, &env).expect("tokens are there")
}

fn peer(uid: u32) -> Peer {
    Peer { uid, trusted: uid == 0, token: None, seat: None }
}

fn shown(text: &str) -> Option<Secret> {
    Some(Secret::copy_of(text.as_bytes()))
}

/// Status of a refusal, or the name of who passed.
fn outcome(result: Result<Peer, Refusal>) -> String {
    result.map_or_else(|refusal| refusal.status().to_string(), |peer| peer.to_string())
}

#[test]
fn a_route_that_changes_something_has_a_row() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        // The internal socket has scopes instead; tests have routes of their own.
        if !name.ends_with(".rs") || name.ends_with("tests.rs") || name == "tenant_api.rs" || name == "house.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in shipped.split(".route(").skip(1) {
            let call = call.split("\n        .").next().and_then(|call| call.split("\n}").next()).unwrap_or_default();
            // Paths of the internal socket begin with its prefix, or are put together from it.
            let own = |route: &&str| route.starts_with('/') && !route.starts_with("/v1/");
            let Some(route) = call.split('"').nth(1).filter(own) else { continue };
            for (word, method) in [("post(", "POST"), ("put(", "PUT"), ("patch(", "PATCH"), ("delete(", "DELETE")] {
                let named = call
                    .match_indices(word)
                    .any(|(at, _)| !call[..at].ends_with(|ch: char| ch.is_alphanumeric() || ch == '_'));
                if named {
                    found += 1;
                    let row = TABLE.iter().any(|row| row.0 == method && row.1 == route);
                    assert!(row, "{name}: {method} {route} has no row in the table of admission.rs");
                }
            }
        }
    }
    assert!(found >= 10, "only {found} changes were found: the search no longer fits the sources");
    assert_eq!(needed(&Method::POST, "/nobody/knows"), Roles::ALL, "without a row every role is needed");
    assert_eq!(needed(&Method::GET, "/config"), Roles::READ);
    assert_eq!(needed(&Method::PUT, "/config"), Roles::ALL);
}

#[test]
fn no_two_rows_are_about_the_same() {
    for (place, row) in TABLE.iter().enumerate() {
        assert!(!TABLE[..place].iter().any(|before| (before.0, before.1) == (row.0, row.1)), "{} {}", row.0, row.1);
    }
}

#[test]
fn without_tokens_the_roles_of_the_user_decide() {
    let admission = admission(&[]);
    let pass = |uid, needed| outcome(admission.pass(peer(uid), None, needed));
    assert_eq!(pass(0, Roles::ALL), "uid:0", "root, and our own user, may do everything");
    for (uid, operate, keys, both) in
        [(1000, "403", "403", "403"), (1001, "uid:1001", "403", "403"), (1002, "uid:1002", "uid:1002", "uid:1002")]
    {
        assert_eq!(pass(uid, Roles::READ), format!("uid:{uid}"));
        let seen = [pass(uid, Roles::OPERATE), pass(uid, Roles::KEYS), pass(uid, Roles::ALL)];
        assert_eq!(seen, [operate, keys, both], "{uid}");
    }
    assert_eq!(pass(4_242, Roles::OPERATE), "403", "nobody whom the list does not name");
    assert_eq!(outcome(admission.pass(peer(0), shown(TEXT), Roles::READ)), "401", "a token where there are none");
}

#[test]
fn with_tokens_others_must_show_one_and_its_roles_decide() {
    let admission =
        admission(&[("deploy", Roles::OPERATE, TEXT), ("custody", Roles::KEYS, "igris-admin-custody-0123456789")]);
    let pass = |uid, text: Option<&str>, needed| outcome(admission.pass(peer(uid), text.and_then(shown), needed));
    assert_eq!(pass(1002, None, Roles::OPERATE), "401", "the user's own roles no longer count");
    assert_eq!(pass(1002, None, Roles::READ), "uid:1002");
    assert_eq!(pass(1000, Some(TEXT), Roles::OPERATE), "uid:1000 token:deploy");
    assert_eq!(pass(1000, Some(TEXT), Roles::KEYS), "403");
    assert_eq!(pass(1000, Some("igris-admin-custody-0123456789"), Roles::KEYS), "uid:1000 token:custody");
    for wrong in ["", &TEXT[1..], &TEXT.to_lowercase(), "deploy", &format!("{TEXT}x")] {
        assert_eq!(pass(1000, Some(wrong), Roles::READ), "401", "{wrong}");
    }
    assert_eq!(pass(0, None, Roles::ALL), "uid:0", "root needs none");
    assert_eq!(pass(0, Some(TEXT), Roles::ALL), "uid:0 token:deploy");
    assert!(!format!("{admission:?}").contains("CANARY"));
}

#[test]
fn a_token_that_can_be_guessed_is_refused_at_start() {
    let admin = Admin {
        tokens: vec![AdminToken { name: "t".into(), roles: Roles::ALL, key: KeySource::Env("T".into()) }],
        ..Admin::default()
    };
    assert!(matches!(Admission::new(&admin, &|_| Some("short".into())), Err(SecretFault::TooShort(_))));
    assert!(matches!(Admission::new(&admin, &|_| None), Err(SecretFault::Unset(_))));
}

#[test]
fn a_bearer_is_shown_once_and_whole() {
    let read = |values: &[&str]| {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(header::AUTHORIZATION, value.parse().expect("a value"));
        }
        bearer(&fields).map(|shown| shown.map(|text| String::from_utf8_lossy(text.expose()).into_owned()))
    };
    assert_eq!(read(&[]).ok(), Some(None));
    assert_eq!(read(&["Bearer abc "]).ok(), Some(Some("abc".to_owned())));
    for bad in [&["Basic abc"][..], &["abc"], &["Bearer a", "Bearer b"]] {
        assert_eq!(read(bad).err().map(|refusal| refusal.status()), Some(401), "{bad:?}");
    }
}
