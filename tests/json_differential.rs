//! Our JSON scanner and splicer against `serde_json`: the same texts accepted, the same members found, the same result after edits.
//!
//! Two differences are meant and left out where they apply: nesting is capped at 64, and a number too large for an `f64` is grammar.

use igris::json::scan::{self, Names};
use igris::json::splice::{self, Edits};
use igris::json::{JsonFault, Member, text};
use igris::limits::JSON_DEPTH_MAX;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

static WANTED: Names = Names::new(&["model", "stream", "a", "é", "provider", "n\n"]);
const WANTED_NAMES: [&str; 6] = ["model", "stream", "a", "é", "provider", "n\n"];

/// Refuses with a message unless both sides agree about `bytes`.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<Value>(bytes);
    let ours = scan::validate(bytes, JSON_DEPTH_MAX);
    match (&ours, &theirs) {
        (Ok(()), Err(fault)) if fault.to_string().starts_with("number out of range") => {}
        (Err(JsonFault::Depth), _) => prop_assert!(deepest(bytes) > JSON_DEPTH_MAX),
        _ => prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} / {:?} on {:?}", ours, theirs, bytes.escape_ascii()),
    }
    let mut found = [None; 6];
    match (scan::members(bytes, &WANTED, &mut found), ours) {
        (Ok(_), checked) => prop_assert_eq!(checked, Ok(())),
        (Err(JsonFault::DuplicateKey { .. } | JsonFault::NotAnObject), _) => {}
        (Err(_), checked) => {
            prop_assert!(checked.is_err(), "members refuses what validate accepts: {:?}", bytes.escape_ascii())
        }
    }
    Ok(())
}

/// An upper bound of the nesting: brackets in strings count too.
fn deepest(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// A value with the strings, numbers and nesting that make scanners stumble.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Floats that serde_json reads back to the last bit, which it does not promise of all.
        (any::<i32>(), 0..8i32).prop_map(|(number, power)| Value::from(f64::from(number) / f64::from(1 << power))),
        string().prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "(\\PC|[\"\\\\\n\u{0}😀]){0,40}",
        // Long enough for the block walk, with one surprise at any place of a block.
        (0..150usize, "[\"\\\\\né😀]?", 0..150usize)
            .prop_map(|(left, odd, right)| "x".repeat(left) + &odd + &"y".repeat(right)),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(&WANTED_NAMES[..]).prop_map(str::to_owned), "[a-m]{1,3}", string()]
}

/// The text of `value`, with other whitespace and some characters of strings as `\u` escapes. `choices` steers.
fn spelled(value: &Value, choices: &[u8]) -> Vec<u8> {
    let mut steer = choices.iter().copied().cycle();
    let mut next = move || steer.next().unwrap_or(0);
    let mut out = Vec::new();
    let mut in_string = false;
    let compact = value.to_string();
    let mut characters = compact.chars();
    while let Some(character) = characters.next() {
        if !in_string && matches!(character, '{' | '}' | '[' | ']' | ',' | ':') {
            out.extend_from_slice([&b""[..], b" ", b"\n", b"\t \r"][usize::from(next() % 4)]);
        }
        if character == '\\' {
            out.push(b'\\');
            let escaped = characters.next().expect("an escape has a second character");
            out.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
            let digits = if escaped == 'u' { 4 } else { 0 };
            out.extend(characters.by_ref().take(digits).map(|digit| u8::try_from(digit).expect("a hex digit")));
            continue;
        }
        in_string ^= character == '"';
        if in_string && character != '"' && next() % 5 == 0 {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let digits = if next() % 2 == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                out.extend_from_slice(digits.as_bytes());
            }
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out
}

/// A text of JSON tokens in no order, so that every state of the grammar meets every token.
fn token_soup() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\n",
        "\"\"",
        "\"a\"",
        "\"model\"",
        "\"",
        "\\",
        "\\u00e9",
        "\\ud83d",
        "\\ude00",
        "\\n",
        "0",
        "1",
        "-",
        ".",
        "e",
        "E+",
        "12.5",
        "-0",
        "1e9",
        "1e999",
        "true",
        "false",
        "null",
        "nul",
        "\u{7f}",
        "é",
        "\u{0}",
        "\t",
    ]);
    prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_judged_alike(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&bytes)?;
        agree(&[b"\"", bytes.as_slice(), b"\""].concat())?;
    }

    #[test]
    fn any_tokens_are_judged_alike(bytes in token_soup()) {
        agree(&bytes)?;
        agree(&[b"{\"a\":[", bytes.as_slice(), b"]}"].concat())?;
        agree(&[b"\"", bytes.as_slice(), b"\""].concat())?;
    }

    #[test]
    fn valid_texts_are_accepted_and_mutants_judged_alike(
        value in value(), choices in prop::collection::vec(any::<u8>(), 1..50), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = spelled(&value, &choices);
        prop_assert_eq!(scan::validate(&bytes, JSON_DEPTH_MAX), Ok(()), "{:?}", bytes.escape_ascii());
        agree(&bytes)?;
        agree(&bytes[..place.index(bytes.len())])?;
        let place = place.index(bytes.len());
        bytes[place] = byte;
        agree(&bytes)?;
    }

    #[test]
    fn members_are_those_serde_json_finds(
        object in prop::collection::vec((name(), value()), 0..8), choices in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let object = Value::Object(object.into_iter().collect::<Map<_, _>>());
        let bytes = spelled(&object, &choices);
        let mut found = [None; 6];
        let span = scan::members(&bytes, &WANTED, &mut found).expect("valid");
        prop_assert_eq!(span.empty, object.as_object().expect("an object").is_empty());
        for (name, member) in WANTED_NAMES.iter().zip(found) {
            let ours = member.map(|member| serde_json::from_slice::<Value>(member.value.of(&bytes)).expect("a value"));
            prop_assert_eq!(ours.as_ref(), object.get(name), "{}", name);
            if let (Some(member), Some(Value::String(theirs))) = (member, object.get(name)) {
                let mut unescaped = Vec::new();
                prop_assert!(text::unescape(&bytes, member.value, &mut unescaped));
                prop_assert_eq!(&unescaped, theirs.as_bytes());
                prop_assert!(text::text(&bytes, member.value).is_none_or(|borrowed| borrowed == theirs));
            }
        }
    }

    #[test]
    fn edits_do_what_serde_json_does_and_leave_the_rest(
        object in prop::collection::vec((name(), value()), 0..8), choices in prop::collection::vec(any::<u8>(), 1..50),
        edits in prop::collection::vec((0..3u8, 0..6usize), 0..6), added in 0..3usize,
    ) {
        let mut object = object.into_iter().collect::<Map<_, _>>();
        let bytes = spelled(&Value::Object(object.clone()), &choices);
        let mut found: [Option<Member>; 6] = [None; 6];
        let span = scan::members(&bytes, &WANTED, &mut found).expect("valid");
        let mut splice = Edits::new();
        for (what, index) in edits {
            // Each member is edited once: what wins of several is the splicer's own rule and has its table there.
            let Some(member) = found[index].take() else { continue };
            if what == 0 {
                splice.replace(member.value, b"{\"new\":[1]}");
                object.insert(WANTED_NAMES[index].to_owned(), json!({"new": [1]}));
            } else {
                splice.remove_member(member);
                object.remove(WANTED_NAMES[index]);
            }
        }
        for number in 0..added {
            splice.append_member(span, format!("\"+{number}\":{number}").as_bytes());
            object.insert(format!("+{number}"), json!(number));
        }
        let mut out = Vec::new();
        splice.write(&bytes, &mut out);
        let edited: Value = serde_json::from_slice(&out).expect("the edited text is JSON");
        prop_assert_eq!(edited, Value::Object(object));

        // What comes from the source comes in order and is never copied twice.
        let mut last = bytes.as_ptr_range().start;
        splice.each_piece(&bytes, |piece| {
            let range = piece.as_ptr_range();
            if bytes.as_ptr_range().contains(&range.start) {
                assert!(range.start >= last);
                last = range.end;
            }
        });
        // A member that no edit touched is there byte for byte.
        for member in found.into_iter().flatten() {
            let whole = &bytes[member.key.start..member.value.end];
            prop_assert!(memchr::memmem::find(&out, whole).is_some());
        }
    }

    #[test]
    fn written_strings_read_back(source in any::<String>()) {
        let mut out = Vec::new();
        splice::escape_into(&source, &mut out);
        prop_assert_eq!(scan::validate(&out, JSON_DEPTH_MAX), Ok(()));
        prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), source);
    }
}
