//! Admin requests: a body is taken exactly when it is one JSON object with distinct members, a query never panics, and an anchor that is
//! read prints as itself (rule A3).
#![no_main]

use igris::admin::{Asked, Members};
use igris::store::AuditHead;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The names of an object's members, doubles among them: a slow reader of its own.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(names)
            }
        }
        source.deserialize_map(Reader).map(Names)
    }
}

fn body(bytes: &[u8]) {
    let taken = Members::read(bytes);
    let expected = match bytes.trim_ascii() {
        b"" => true,
        text => {
            std::str::from_utf8(text).is_ok()
                && text.first() == Some(&b'{')
                // JSON's white space is narrower than ASCII's, so the body is read as it came.
                && serde_json::from_slice(bytes).is_ok_and(|Names(names)| are_few_and_distinct(names))
        }
    };
    assert_eq!(taken.is_ok(), expected, "{:?}", String::from_utf8_lossy(bytes));
    let Ok(mut members) = taken else { return };
    let _ = members.object("config");
    let _ = members.secret("api_key");
    let _ = members.take::<Vec<String>>("scopes", "a list");
    let _ = members.required("name");
    let _ = members.end("nothing");
}

fn are_few_and_distinct(mut names: Vec<String>) -> bool {
    let count = names.len();
    names.sort();
    names.dedup();
    names.len() == count && count <= igris::limits::ADMIN_MEMBERS_MAX
}

fuzz_target!(|data: &[u8]| {
    body(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(Ok(mut asked)) = Asked::of_target(text) {
        for name in ["tenant", "after", "limit"] {
            let _ = asked.take(name);
            assert!(asked.take(name).is_none(), "a member is taken once");
        }
        let _ = asked.end("nothing");
    }
    if let Some(anchor) = AuditHead::parse(text) {
        assert_eq!(AuditHead::parse(&anchor.to_string()), Some(anchor));
    }
});
