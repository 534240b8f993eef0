//! JSON that came in, walked member by member without a tree: what is opaque stays the text that it was.
//!
//! Every step names the member that it stumbles over, so a refusal can say where: the inner step blames `type`, the outer ones put
//! `messages[3].content[1]` before it. `null` is absent. A member that is there twice is refused, for readers differ on which one counts.

use crate::chat::request::Refusal;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Text that borrows wherever it has no escapes. A newtype, because an `Option<Cow<str>>` in a derived struct would always be copied.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    /// The text, copied if it was borrowed.
    pub(super) fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

/// More members than any object has that is read this way: a bound on the work of looking for them.
const MEMBERS_MAX: usize = 128;

/// An object's members that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// The members of an object.
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, Refusal> {
        if !raw.get().starts_with('{') {
            return Err(wrong("an object"));
        }
        let fields: Self = serde_json::from_str(raw.get()).map_err(|error| Refusal::new("", error.to_string()))?;
        let mut names: Vec<&str> = fields.members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Refusal::new((*name).to_owned(), "The member is there twice: send it once."));
        }
        Ok(fields)
    }

    /// Takes a member out; `null` is absent.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.members.iter().position(|(known, _)| known == name)?;
        let (_, raw) = self.members.remove(place);
        (raw.get() != "null").then_some(raw)
    }

    /// Takes a string.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Refusal> {
        self.take(name).map(|raw| text(raw).ok_or_else(|| inside(name, wrong("a string")))).transpose()
    }

    /// Takes a string that must be there.
    pub(super) fn need_text(&mut self, name: &'static str) -> Result<Cow<'a, str>, Refusal> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// Takes a whole number that is not negative.
    pub(super) fn whole(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        self.parsed(name, "a whole number")
    }

    /// Takes a number.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.parsed(name, "a number")
    }

    /// Takes a boolean.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Refusal> {
        self.parsed(name, "true or false")
    }

    /// Takes a list.
    pub(super) fn list(&mut self, name: &'static str) -> Result<Option<Vec<&'a RawValue>>, Refusal> {
        self.parsed(name, "a list")
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Fields<'a>>, Refusal> {
        self.take(name).map(|raw| Fields::of(raw).map_err(|refusal| inside(name, refusal))).transpose()
    }

    /// Takes any value as a tree.
    pub(super) fn value(&mut self, name: &'static str) -> Result<Option<Value>, Refusal> {
        self.parsed(name, "JSON that is not nested too deeply")
    }

    /// The names of what nobody took and is not `null`.
    pub(super) fn rest(self) -> impl Iterator<Item = Cow<'a, str>> {
        self.members.into_iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| name)
    }

    fn parsed<T: Deserialize<'a>>(&mut self, name: &'static str, what: &str) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| inside(name, wrong(what)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::custom("The object has too many members: send at most 128."));
                    }
                    members.push((name.0, raw));
                }
                Ok(Fields { members })
            }
        }
        from.deserialize_map(Members)
    }
}

/// A string, borrowed if it has no escapes.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// The values of a list.
pub(super) fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A refusal for a value of the wrong type.
pub(super) fn wrong(what: &str) -> Refusal {
    Refusal::new("", format!("The value has the wrong type: send {what}."))
}

/// A refusal for a member that has to be there.
pub(super) fn missing(name: &'static str) -> Refusal {
    Refusal::new(name, format!("The member `{name}` is missing: send it."))
}

/// Puts where we are before what is blamed.
pub(super) fn inside(place: &str, refusal: Refusal) -> Refusal {
    let joint = if refusal.param.is_empty() || refusal.param.starts_with('[') { "" } else { "." };
    Refusal { param: format!("{place}{joint}{}", refusal.param).into(), message: refusal.message }
}

/// As [`inside`], for an element of a list.
pub(super) fn at(index: usize, refusal: Refusal) -> Refusal {
    inside(&format!("[{index}]"), refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn members_are_taken_once_and_the_rest_is_named() {
        let mut fields = Fields::of(raw(r#"{"a":"x\ny","b":null,"c":3,"d":[1],"e":{},"f":null}"#)).expect("an object");
        assert_eq!(fields.text("a"), Ok(Some(Cow::Borrowed("x\ny"))));
        assert_eq!(fields.text("b"), Ok(None));
        assert_eq!(fields.whole("c"), Ok(Some(3)));
        assert_eq!(fields.whole("c"), Ok(None));
        assert_eq!(fields.rest().collect::<Vec<_>>(), ["d", "e"]);
    }

    #[test]
    fn refusals_say_where() {
        let mut fields = Fields::of(raw(r#"{"a":1,"b":"x","c":-1,"d":{},"e":1.5}"#)).expect("an object");
        assert_eq!(fields.text("a").expect_err("no text").param, "a");
        assert_eq!(fields.flag("b").expect_err("no flag").param, "b");
        assert_eq!(fields.whole("c").expect_err("negative").param, "c");
        assert_eq!(fields.list("d").expect_err("no list").param, "d");
        assert_eq!(fields.whole("e").expect_err("a fraction").param, "e");
        let refusal = inside("messages", at(3, inside("content", at(0, missing("type")))));
        assert_eq!(refusal.param, "messages[3].content[0].type");
        assert_eq!(Fields::of(raw(r#"{"a":1,"\u0061":2}"#)).expect_err("twice").param, "a");
        assert!(Fields::of(raw("[]")).is_err());
        let many: String = (0..200).map(|number| format!("\"{number}\":0,")).collect();
        assert!(Fields::of(raw(&format!("{{{many}\"x\":0}}"))).is_err());
    }
}
