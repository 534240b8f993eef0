//! What a request says outside its body: the path's parts, the query's members, and when it was asked.
//!
//! As strict as bodies are: an unknown or doubled member of a query is refused by its name.

use super::answer::Refusal;
use crate::control_plane::UsagePeriod;
use crate::domain::text::bounded;
use crate::limits::{LOG_TEXT_BYTES_MAX, NAME_CHARS_MAX};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// Parts of the path. One that cannot be read (a broken percent sequence) is a path that nothing serves.
pub struct At<T>(pub T);

/// What is left of a query.
pub struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads the query of a target.
    ///
    /// # Errors
    /// 400 when it cannot be decoded, or a member comes twice.
    pub fn read(uri: &Uri) -> Result<Self, Refusal> {
        let Query(left) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Refusal::new(400, "invalid_request", "The query cannot be read; write it as name=value&…"))?;
        for (place, (name, _)) in left.iter().enumerate() {
            if left[..place].iter().any(|(before, _)| before == name) {
                return Err(Refusal::member(name, format!("`{}` stands in the query twice.", shown(name))));
            }
        }
        Ok(Self(left))
    }

    /// Reads the query of a target as it was sent; `None` for what is no target.
    pub fn of_target(target: &str) -> Option<Result<Self, Refusal>> {
        target.parse().ok().map(|uri| Self::read(&uri))
    }

    /// Takes one member.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Takes `period`: hour, day, week or month, or what it is unless it is said.
    ///
    /// # Errors
    /// 400 for another word.
    pub fn period(&mut self, unless_said: UsagePeriod) -> Result<UsagePeriod, Refusal> {
        let Some(word) = self.take("period") else { return Ok(unless_said) };
        let refused = || Refusal::member("period", "`period` must be hour, day, week or month.");
        UsagePeriod::parse(&word).ok_or_else(refused)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 naming the first member that nobody took.
    pub fn end(self, known: &str) -> Result<(), Refusal> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        Err(Refusal::member(name, format!("`{}` means nothing in this query; it may have {known}.", shown(name))))
    }
}

/// Whether a text may name a tenant or a provider: letters, digits and `-_.`, as configuration has it.
pub fn is_name(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.bytes().all(fit) && !text.starts_with('.')
}

fn shown(name: &str) -> String {
    bounded(name, LOG_TEXT_BYTES_MAX)
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let refused = Refusal::no_such_path(parts.uri.path());
        Path::<T>::from_request_parts(parts, state).await.map(|Path(value)| Self(value)).map_err(|_| refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_strictly() {
        let uri: Uri = "/usage?tenant=a%20b&period=week".parse().expect("a target");
        let mut asked = Asked::read(&uri).expect("a query");
        assert_eq!(asked.take("tenant").as_deref(), Some("a b"));
        assert!(matches!(asked.period(UsagePeriod::Day), Ok(UsagePeriod::Week)));
        assert!(asked.end("nothing").is_ok());
        let twice: Uri = "/usage?period=day&period=week".parse().expect("a target");
        assert!(Asked::read(&twice).is_err());
        let unknown: Uri = "/usage?perod=day".parse().expect("a target");
        let refusal = Asked::read(&unknown).expect("a query").end("`period`").expect_err("refused");
        assert_eq!(refusal.status(), 400);
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        assert!(is_name("local-vllm_2.1"));
        for text in ["", ".hidden", "a/b", "a b", "ä", &"n".repeat(NAME_CHARS_MAX + 1)] {
            assert!(!is_name(text), "{text}");
        }
    }
}
