//! JSON written without a tree, and the few values that are read with more patience than their types ask for.
//!
//! A request is written in one pass, since a tester that builds trees measures itself. Answers are read strictly where the
//! dialect is one, and loosely where providers that share it differ: texts may be lists of parts, counts may be written as
//! `12.0`, and null is as good as nothing.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Appends bytes that need no care.
pub(super) fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number in decimal digits.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a text as a JSON string, quotes included (RFC 8259, section 7).
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    // Nearly all text needs no escape: a block that has none is copied at the speed of memory.
    let (blocks, rest) = text.as_bytes().as_chunks::<32>();
    for block in blocks {
        if block.iter().fold(false, |any, byte| any | is_special(*byte)) {
            block.iter().for_each(|byte| escape(out, *byte));
        } else {
            out.extend_from_slice(block);
        }
    }
    rest.iter().for_each(|byte| escape(out, *byte));
    out.push(b'"');
}

fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => raw(out, "\\\""),
        b'\\' => raw(out, "\\\\"),
        b'\n' => raw(out, "\\n"),
        b'\r' => raw(out, "\\r"),
        b'\t' => raw(out, "\\t"),
        0..0x20 => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            raw(out, "\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        _ => out.push(byte),
    }
}

/// Appends the items of a list of so many, with commas between them.
pub(super) fn list(out: &mut Vec<u8>, count: u32, mut item: impl FnMut(&mut Vec<u8>, u32)) {
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        item(out, index);
    }
}

/// Appends the members by which every dialect names a tool: `"name":"tool_N","description":…`.
pub(super) fn tool(out: &mut Vec<u8>, index: u32) {
    raw(out, "\"name\":\"tool_");
    number(out, index.into());
    raw(out, "\",\"description\":\"Looks something up.\"");
}

/// Appends what may stand in one segment of a path, everything else percent-encoded (RFC 3986, section 3.3, unreserved only).
pub(super) fn segment(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// The parameters of an offered tool, as JSON schema: enough for a model to fill in.
pub(super) const SCHEMA: &str =
    r#"{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}"#;

/// Text of an answer: a string, nothing, or a list of parts whose `text` counts.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut joined = String::new();
        while let Some(Text(part)) = parts.next_element()? {
            joined.push_str(&part);
        }
        Ok(Cow::Owned(joined))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Self::Value, A::Error> {
        let mut found = Cow::Borrowed("");
        while let Some(name) = part.next_key::<Cow<'de, str>>()? {
            if matches!(&*name, "text" | "thinking") {
                found = part.next_value::<Text<'de>>()?.0;
            } else {
                part.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A count of tokens, whatever kind of number it is written as; anything else is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Loose(number) = Loose::<f64>::deserialize(deserializer)?;
        // Counts are far below the integers that a double cannot tell apart.
        Ok(Self(number.filter(|number| (0.0..9e15).contains(number)).map(|number| number as u64)))
    }
}

/// A number, or anything else, which is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loose<T>(pub(super) Option<T>);

impl<'de> Deserialize<'de> for Loose<f64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor).map(Self)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Option<f64>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// A list, or one item where others have a list, or nothing.
#[derive(Debug)]
pub(super) struct Many<T>(pub(super) Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor(PhantomData)).map(Self)
    }
}

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object or a list of objects")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(|item| vec![item])
    }
}

/// The gateway's own member `metadata`, of which only `cost_usd` is read: US dollars.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metadata {
    pub(super) cost_usd: Option<f64>,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Other services have a member of this name as well: whatever it holds, it is no reason to fail.
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self { cost_usd: value["cost_usd"].as_f64() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn strings_are_written_as_a_parser_reads_them() {
        let every: String = (0..0x250).filter_map(char::from_u32).collect();
        let table =
            ["", "plain", "\"\\\n\r\t\u{1}\u{1f}\u{7f}", "日本 🚂 naïve", &every, &every.repeat(3), &"x".repeat(65)];
        for text in table {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), Value::from(text));
        }
    }

    #[test]
    fn numbers_and_segments() {
        let mut out = Vec::new();
        for value in [0, 7, 10, 1_234_567, u64::MAX] {
            number(&mut out, value);
            out.push(b' ');
        }
        segment(&mut out, "a.b-c:0/é");
        assert_eq!(String::from_utf8_lossy(&out), "0 7 10 1234567 18446744073709551615 a.b-c%3A0%2F%C3%A9");
    }

    #[test]
    fn odd_values_are_read_for_what_they_are() {
        let text = |json: &str| serde_json::from_str::<Text<'_>>(json).expect(json).0.into_owned();
        assert_eq!(text(r#""a\nb""#), "a\nb");
        assert_eq!(text("null"), "");
        assert_eq!(text(r#"[{"type":"text","text":"a"},{"type":"thinking","thinking":[{"text":"b"}]},{"x":1}]"#), "ab");
        let count = |json: &str| serde_json::from_str::<Count>(json).expect(json).0;
        assert_eq!((count("12"), count("12.0"), count("-1"), count("null")), (Some(12), Some(12), None, None));
        assert_eq!((count(r#""12""#), count("[1]"), count("{\"a\":1}")), (None, None, None));
        let cost = |json: &str| serde_json::from_str::<Metadata>(json).expect(json).cost_usd;
        assert_eq!((cost(r#"{"cost_usd":0.5}"#), cost("7"), cost(r#"{"cost_usd":null}"#)), (Some(0.5), None, None));
    }
}
