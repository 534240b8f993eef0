//! The members of a JSON object that a client sent, taken one by one.
//!
//! Strict: what is not an object, a member that comes twice and a member that nobody takes are refused (rule H20), each by its name and
//! never by its value, which may be a provider key in the wrong place (rule R1). Values stay where they are in the body until taken.

use super::answer::Refusal;
use crate::domain::secret::Secret;
use crate::domain::text::bounded;
use crate::limits::{ADMIN_MEMBERS_MAX, LOG_TEXT_BYTES_MAX};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What is left of an object.
pub struct Members<'b> {
    /// Where the object is, for messages: empty for the body itself, else `config.`.
    prefix: String,
    left: Vec<(String, &'b RawValue)>,
}

impl<'b> Members<'b> {
    /// Reads a body. An empty one counts as `{}`.
    ///
    /// # Errors
    /// 400 when it is not one JSON object with distinct members.
    pub fn read(body: &'b [u8]) -> Result<Self, Refusal> {
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
        Self::parse(String::new(), body)
    }

    fn parse(prefix: String, text: &'b [u8]) -> Result<Self, Refusal> {
        let whole = || if prefix.is_empty() { "The body".to_owned() } else { quoted(prefix.trim_end_matches('.')) };
        if text.trim_ascii().first() != Some(&b'{') {
            let message = format!("{} must be a JSON object; send {{…}} as application/json.", whole());
            return Err(Refusal::member(prefix.trim_end_matches('.'), message));
        }
        let Pairs(left) = serde_json::from_slice(text).map_err(|error| {
            let message = format!(
                "{} is not valid JSON (line {}, column {}); send one object.",
                whole(),
                error.line(),
                error.column()
            );
            Refusal::new(400, "invalid_request", message)
        })?;
        if left.len() > ADMIN_MEMBERS_MAX {
            let message = format!("{} has more than {ADMIN_MEMBERS_MAX} members; send only those you need.", whole());
            return Err(Refusal::new(400, "invalid_request", message));
        }
        for (place, (name, _)) in left.iter().enumerate() {
            if left[..place].iter().any(|(before, _)| before == name) {
                let full = format!("{prefix}{name}");
                return Err(Refusal::member(&full, format!("{} stands there twice; send it once.", quoted(&full))));
            }
        }
        Ok(Self { prefix, left })
    }

    /// Takes a member of any readable type; `null` counts as absent. `must` completes "`name` must be …".
    ///
    /// # Errors
    /// 400 naming the member.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str, must: &str) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| self.wrong(name, must))
    }

    /// Takes a member that may be taken away: `Some(None)` stands for `null`, `None` for a member that is not there.
    ///
    /// # Errors
    /// 400 naming the member.
    pub fn take_nullable<T: DeserializeOwned>(&mut self, name: &str, must: &str) -> Result<Option<Option<T>>, Refusal> {
        if !self.left.iter().any(|(known, _)| known == name) {
            return Ok(None);
        }
        self.take(name, must).map(Some)
    }

    /// Takes a text that must be there.
    ///
    /// # Errors
    /// 400 naming the member.
    pub fn required(&mut self, name: &str) -> Result<String, Refusal> {
        let must = "a text that is not empty";
        let text: Option<String> = self.take(name, must)?;
        text.filter(|text| !text.is_empty()).ok_or_else(|| self.wrong(name, must))
    }

    /// Takes a secret that must be there. Its decoded text is wiped where it stood in between.
    ///
    /// # Errors
    /// 400 naming the member.
    pub fn secret(&mut self, name: &str) -> Result<Secret, Refusal> {
        let must = "a text that is not empty";
        let text: String = self.take(name, must)?.ok_or_else(|| self.wrong(name, must))?;
        Ok(Secret::take(text.into_bytes()))
    }

    /// Takes an object.
    ///
    /// # Errors
    /// 400 naming the member, or one in it.
    pub fn object(&mut self, name: &str) -> Result<Option<Members<'b>>, Refusal> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        Members::parse(format!("{}{name}.", self.prefix), raw.get().as_bytes()).map(Some)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 naming the first member that nobody took.
    pub fn end(self, known: &str) -> Result<(), Refusal> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let full = format!("{}{name}", self.prefix);
        Err(Refusal::member(&full, format!("{} is not a member of this request; it may have {known}.", quoted(&full))))
    }

    /// A refusal of one member's value.
    pub fn wrong(&self, name: &str, must: &str) -> Refusal {
        let full = format!("{}{name}", self.prefix);
        Refusal::member(&full, format!("{} must be {must}.", quoted(&full)))
    }

    fn raw(&mut self, name: &str) -> Option<&'b RawValue> {
        let place = self.left.iter().position(|(known, _)| known == name)?;
        let (_, raw) = self.left.swap_remove(place);
        (raw.get() != "null").then_some(raw)
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", bounded(name, LOG_TEXT_BYTES_MAX))
}

/// Name and value of each member, in order, doubles among them.
struct Pairs<'b>(Vec<(String, &'b RawValue)>);

impl<'de: 'b, 'b> Deserialize<'de> for Pairs<'b> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                // One more than allowed is kept, so that the reader sees that there are too many; the rest is only skipped.
                while pairs.len() <= ADMIN_MEMBERS_MAX {
                    match map.next_entry()? {
                        Some(pair) => pairs.push(pair),
                        None => return Ok(pairs),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(pairs)
            }
        }
        source.deserialize_map(Reader).map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<impl Sized, Refusal>) -> String {
        format!("{:?}", result.err().expect("refused"))
    }

    #[test]
    fn members_are_taken_once_and_the_rest_is_named() {
        let mut members = Members::read(br#"{"name":"a","config":{"timeout":1},"x\u0079":null}"#).expect("an object");
        assert_eq!(members.required("name").expect("a text"), "a");
        let mut config = members.object("config").expect("an object").expect("there");
        assert_eq!(config.take::<u32>("timeout", "a number").expect("a number"), Some(1));
        assert!(config.end("`timeout`").is_ok());
        assert!(refusal(members.end("`name`")).contains("`xy`"));
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        let bodies: [&[u8]; 6] = [
            br#""sk-marker""#,
            br#"{"api_key":["sk-marker"]}"#,
            br#"{"api_key":"sk-marker","api_key":"sk-marker"}"#,
            br#"{"config":"sk-marker"}"#,
            br#"{"api_key":"sk-marker""#,
            br#"{"api_key":{"sk-marker":1}} sk-marker"#,
        ];
        for body in bodies {
            let outcome = Members::read(body).and_then(|mut members| {
                members.object("config")?;
                members.secret("api_key")
            });
            let shown = refusal(outcome);
            assert!(!shown.contains("marker"), "{shown}");
        }
    }

    #[test]
    fn doubles_are_refused_on_every_level_we_read() {
        assert!(refusal(Members::read(br#"{"a":1,"\u0061":2}"#)).contains("twice"));
        let mut members = Members::read(br#"{"config":{"b":1,"b":1}}"#).expect("an object");
        assert!(refusal(members.object("config")).contains("`config.b`"));
    }

    #[test]
    fn an_empty_body_is_an_empty_object() {
        assert!(Members::read(b" \r\n").expect("an object").end("nothing").is_ok());
    }
}
