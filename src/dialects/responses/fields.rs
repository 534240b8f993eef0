//! Members of a client's JSON taken one by one, each with its place for the refusal that names it.
//!
//! `null` counts as absent everywhere. What nobody took at the end is what the reader does not know.

use crate::chat::request::Refusal;
use serde_json::{Map, Value};
use std::fmt;

/// Where a value stands in the client's body: `input[2].content[0].type`. Written out only when somebody is to blame.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    /// The body itself.
    Root,
    /// A member of an object.
    Member(&'p Path<'p>, &'p str),
    /// An element of an array.
    Index(&'p Path<'p>, usize),
}

// === impl Path ===

impl Path<'_> {
    /// A refusal that blames this place.
    pub(super) fn refuse(&self, message: impl Into<String>) -> Refusal {
        Refusal::new(self.to_string(), message.into())
    }

    /// This place must be something else.
    pub(super) fn wrong(&self, wanted: &str) -> Refusal {
        self.refuse(format!("`{self}` must be {wanted}; send it so, or leave it out."))
    }

    /// This place must not be empty.
    pub(super) fn missing(&self, wanted: &str) -> Refusal {
        self.refuse(format!("`{self}` is missing; send {wanted}."))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(Path::Root, name) => out.write_str(name),
            Path::Member(parent, name) => write!(out, "{parent}.{name}"),
            Path::Index(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// An object whose members are taken out one by one.
pub(super) struct Fields<'p> {
    map: Map<String, Value>,
    /// Where the object stands.
    pub(super) path: &'p Path<'p>,
}

// === impl Fields ===

impl<'p> Fields<'p> {
    /// The members of `value`.
    pub(super) fn of(value: Value, path: &'p Path<'p>) -> Result<Self, Refusal> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(path.wrong("an object")),
        }
    }

    /// A member's place.
    pub(super) fn at<'n>(&'n self, name: &'n str) -> Path<'n> {
        Path::Member(self.path, name)
    }

    /// A member, whatever it is.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    /// A string, if the member is there.
    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.at(name).wrong("a string")),
        }
    }

    /// A string that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.string(name)?.ok_or_else(|| self.at(name).missing("a string"))
    }

    /// A boolean, if the member is there.
    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(self.at(name).wrong("true or false")),
        }
    }

    /// A count, if the member is there.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.at(name).wrong("a whole number, not negative")),
        }
    }

    /// A number, if the member is there.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.at(name).wrong("a number")),
        }
    }

    /// An array, if the member is there.
    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => Err(self.at(name).wrong("an array")),
        }
    }

    /// Takes members that change nothing.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.value(name);
        }
    }

    /// Whether nothing but `null` is left, and else the names of what is.
    pub(super) fn rest(&self) -> impl Iterator<Item = &str> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// Whether a member is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }
}

/// What was left out on the way, each name once.
#[derive(Default)]
pub(super) struct Dropped(pub(super) Vec<String>);

impl Dropped {
    /// Notes a name.
    pub(super) fn note(&mut self, name: impl Into<String>) {
        let name = name.into();
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }
}
