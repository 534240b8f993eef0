//! The members of an object in a client's request, taken out one by one, in camelCase or snake_case.
//!
//! Google reads both spellings and its own SDKs mix them, so a name is given once, in camelCase. `null` is absence.
//! What a value is not becomes a refusal that names it by its path; what nobody took is noted. Values stay text until
//! they are taken, so nothing is printed again that came in.

use super::answer::Text;
use crate::chat::request::Refusal;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An object, less what was taken out of it.
#[derive(Debug)]
pub(super) struct Members<'a> {
    /// Where it stands: `contents[0].parts[1]`; empty for the body itself.
    path: String,
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// The members of a whole body.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Refusal> {
        let raw = serde_json::from_slice::<&RawValue>(body).map_err(|fault| {
            Refusal::new("body", format!("The body is no JSON: {fault}. Serialise it with a JSON library."))
        })?;
        Self::of(raw, String::new())
    }

    /// The members of an object that stands at `path`.
    pub(super) fn of(raw: &'a RawValue, path: String) -> Result<Self, Refusal> {
        match serde_json::from_str::<Pairs<'a>>(raw.get()) {
            Ok(Pairs(rest)) => Ok(Self { path, rest }),
            Err(_) if path.is_empty() => Err(wrong("body", "a JSON object")),
            Err(_) => Err(wrong(&path, "a JSON object")),
        }
    }

    /// The path of a member.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A refusal of the object itself.
    pub(super) fn refusal(&self, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(self.path.clone(), message)
    }

    /// Takes a member by its name in camelCase.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<&'a RawValue>, Refusal> {
        let Some(at) = self.rest.iter().position(|(key, _)| is_same(key, name)) else { return Ok(None) };
        let (_, value) = self.rest.remove(at);
        if self.rest.iter().any(|(key, _)| is_same(key, name)) {
            return Err(Refusal::new(self.path_of(name), "The member is there twice: send it once."));
        }
        Ok((value.get() != "null").then_some(value))
    }

    fn read<T: Deserialize<'a>>(&mut self, name: &str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.take(name)? else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| wrong(&self.path_of(name), what))
    }

    /// Takes a string.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        Ok(self.read::<Text<'a>>(name, "a string")?.map(|text| text.0))
    }

    /// Takes a boolean.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        self.read(name, "true or false")
    }

    /// Takes a number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        let number = self.read::<f64>(name, "a number")?;
        match number {
            Some(number) if !number.is_finite() => Err(wrong(&self.path_of(name), "a finite number")),
            number => Ok(number),
        }
    }

    /// Takes a whole number; Google's SDKs write some of them as floats, and 64-bit ones as strings.
    pub(super) fn whole(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(raw) = self.take(name)? else { return Ok(None) };
        let text = raw.get().trim_matches('"');
        let float = || text.parse::<f64>().ok().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
        let number = text.parse::<i64>().ok().or_else(|| float().map(|number| number as i64));
        number.map(Some).ok_or_else(|| wrong(&self.path_of(name), "a whole number"))
    }

    /// Takes a whole number that is not negative.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let number = self.whole(name)?;
        number.map(|number| u64::try_from(number).map_err(|_| wrong(&self.path_of(name), "zero or more"))).transpose()
    }

    /// Takes any value as a tree.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<Value>, Refusal> {
        self.read(name, "JSON nested less deeply")
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Members<'a>>, Refusal> {
        let path = self.path_of(name);
        self.take(name)?.map(|raw| Members::of(raw, path)).transpose()
    }

    /// Takes the elements of an array, each with its path. A single value counts as an array of it, as Google reads it.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<(&'a RawValue, String)>, Refusal> {
        let path = self.path_of(name);
        self.take(name)?.map_or_else(|| Ok(Vec::new()), |raw| elements(raw, &path))
    }

    /// Takes an array of strings.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        Ok(self.read::<Vec<String>>(name, "an array of strings")?.unwrap_or_default())
    }

    /// What nobody took, with names as they came.
    pub(super) fn remaining(&mut self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        std::mem::take(&mut self.rest)
    }

    /// Notes what nobody took.
    pub(super) fn note_rest(&mut self, dropped: &mut Vec<String>) {
        let rest = self.remaining().into_iter().filter(|(_, value)| value.get() != "null");
        for (key, _) in rest {
            let name = self.path_of(&key);
            if !dropped.contains(&name) {
                dropped.push(name);
            }
        }
    }
}

/// The elements of an array with their paths; a value that is no array is its own only element.
pub(super) fn elements<'a>(raw: &'a RawValue, path: &str) -> Result<Vec<(&'a RawValue, String)>, Refusal> {
    if !raw.get().starts_with('[') {
        return Ok(vec![(raw, path.to_owned())]);
    }
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong(path, "an array"))?;
    Ok(list.into_iter().enumerate().map(|(at, raw)| (raw, format!("{path}[{at}]"))).collect())
}

fn wrong(path: &str, what: &str) -> Refusal {
    Refusal::new(path.to_owned(), format!("`{path}` must be {what}."))
}

/// Whether a key is `name`, given in camelCase, in either spelling.
pub(super) fn is_same(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    let mut key = key.bytes();
    let same = name.bytes().all(|byte| match byte {
        b'A'..=b'Z' => key.next() == Some(b'_') && key.next() == Some(byte.to_ascii_lowercase()),
        _ => key.next() == Some(byte),
    });
    same && key.next().is_none()
}

/// An object as it came: its keys in order, its values as text.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_name() {
        for key in ["functionCall", "function_call"] {
            assert!(is_same(key, "functionCall"), "{key}");
        }
        for key in ["functioncall", "function_Call", "function_cal", "function_calls", "", "FunctionCall"] {
            assert!(!is_same(key, "functionCall"), "{key}");
        }
        assert!(is_same("parameters_json_schema", "parametersJsonSchema"));
    }

    #[test]
    fn members_are_taken_once_and_the_rest_is_noted() {
        let body = br#"{"top_k":40.0,"seed":"7","topP":0.5,"no":null,"odd":{"x":1},"od\u0064er":1}"#;
        let mut members = Members::of_body(body).expect("an object");
        assert_eq!(members.count("topK").expect("a count"), Some(40));
        assert_eq!(members.whole("seed").expect("a number"), Some(7));
        assert_eq!(members.number("topP").expect("a number"), Some(0.5));
        assert_eq!(members.text("no").expect("absent"), None);
        let mut dropped = Vec::new();
        members.note_rest(&mut dropped);
        assert_eq!(dropped, ["odd", "odder"]);
    }

    #[test]
    fn refusals_name_the_path() {
        let body = br#"{"a":{"b":"x","cD":1,"c_d":2}}"#;
        let mut inner = Members::of_body(body).expect("an object").object("a").expect("an object").expect("there");
        assert_eq!(inner.number("b").expect_err("a string").param, "a.b");
        assert_eq!(inner.take("cD").expect_err("twice").param, "a.cD");
        assert_eq!(Members::of_body(b"[]").expect_err("no object").param, "body");
        assert_eq!(Members::of_body(b"{").expect_err("no JSON").param, "body");
    }
}
