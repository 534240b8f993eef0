//! Reading a client's JSON with its whereabouts: every wrong type is refused by the path that the client knows.
//!
//! A path is a chain of borrowed steps and costs nothing until a refusal prints it. `null` counts as absent: [`given`] leaves it out.

use crate::chat::request::Refusal;
use serde_json::{Map, Value};
use std::fmt;

/// Where a value stands in the client's request.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The request itself.
    Root,
    /// A member of an object.
    Member(&'a Path<'a>, &'a str),
    /// An element of an array.
    Item(&'a Path<'a>, usize),
}

// === impl Path ===

impl<'a> Path<'a> {
    /// The member `name` of what is here.
    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Path::Member(self, name)
    }

    /// The element `index` of what is here.
    pub(super) fn item(&'a self, index: usize) -> Self {
        Path::Item(self, index)
    }

    /// A refusal that blames this place.
    pub(super) fn refuse(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
        Refusal::new(self.to_string(), message)
    }

    fn wrong(&self, wanted: &str) -> Refusal {
        self.refuse(format!("`{self}` must be {wanted}."))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(Path::Root, name) => out.write_str(name),
            Path::Member(parent, name) => write!(out, "{parent}.{name}"),
            Path::Item(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

// === Values ===

/// The members of an object that are there and not `null`.
pub(super) fn given(map: Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    map.into_iter().filter(|(_, value)| !value.is_null())
}

/// A string.
pub(super) fn text(value: Value, at: &Path<'_>) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(at.wrong("a string")),
    }
}

/// An object.
pub(super) fn object(value: Value, at: &Path<'_>) -> Result<Map<String, Value>, Refusal> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(at.wrong("an object")),
    }
}

/// An array.
pub(super) fn array(value: Value, at: &Path<'_>) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(at.wrong("an array")),
    }
}

/// A boolean.
pub(super) fn flag(value: &Value, at: &Path<'_>) -> Result<bool, Refusal> {
    value.as_bool().ok_or_else(|| at.wrong("a boolean"))
}

/// Any number.
pub(super) fn number(value: &Value, at: &Path<'_>) -> Result<f64, Refusal> {
    value.as_f64().ok_or_else(|| at.wrong("a number"))
}

/// A whole number, zero or more. `4096.0` is one: some clients keep all numbers as floats.
pub(super) fn count(value: &Value, at: &Path<'_>) -> Result<u64, Refusal> {
    let whole = value.as_f64().filter(|figure| figure.fract() == 0.0 && (0.0..=9.0e15).contains(figure));
    value.as_u64().or(whole.map(|figure| figure as u64)).ok_or_else(|| at.wrong("a whole number, zero or more"))
}

/// A whole number.
pub(super) fn integer(value: &Value, at: &Path<'_>) -> Result<i64, Refusal> {
    value.as_i64().ok_or_else(|| at.wrong("a whole number"))
}

/// The string member `name` of `map`, taken out; refused if it is missing.
pub(super) fn needed_text(map: &mut Map<String, Value>, name: &str, at: &Path<'_>) -> Result<String, Refusal> {
    let here = at.member(name);
    match optional_text(map, name, at)? {
        Some(text) => Ok(text),
        None => Err(here.refuse(format!("`{here}` is missing: send a string."))),
    }
}

/// The string member `name` of `map`, taken out, if it is there.
pub(super) fn optional_text(
    map: &mut Map<String, Value>,
    name: &str,
    at: &Path<'_>,
) -> Result<Option<String>, Refusal> {
    match map.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text(value, &at.member(name)).map(Some),
    }
}
