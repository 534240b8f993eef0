//! Names that clients still use for models that are gone, and what answers for them: the embedded `config/aliases.csv`.
//!
//! An alias is visible: the answer names the model that ran. The owner's own entries come before these (see `routing::resolve`).

use crate::routing::resolve::{Alias, Insert};
use std::collections::HashSet;

/// The built-in list.
const BUILT_IN: &str = include_str!("../../config/aliases.csv");

/// Names of the columns, in order.
const COLUMNS: &str = "requested,provider,model,insert";

/// A line of the list that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("alias line {line}: {problem}")]
pub struct AliasError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// The built-in list.
///
/// # Errors
/// When the embedded file is broken, which the tests exclude.
pub fn built_in() -> Result<Vec<Alias>, AliasError> {
    parse(BUILT_IN)
}

/// Reads a list: `#` comments, the header line, then one alias a line, whose last field may hold commas.
///
/// # Errors
/// The first line that is not exactly as described, or that gives a name a second target at the same provider.
pub fn parse(text: &str) -> Result<Vec<Alias>, AliasError> {
    let mut aliases = Vec::new();
    let mut seen = HashSet::new();
    let mut header_seen = false;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let fault = |problem: String| AliasError { line: index + 1, problem };
        if !header_seen {
            header_seen = true;
            if line != COLUMNS {
                return Err(fault(format!("expected the header \"{COLUMNS}\"")));
            }
            continue;
        }
        let alias = parse_line(line).map_err(fault)?;
        if !seen.insert((alias.requested.clone(), alias.provider.clone())) {
            return Err(fault(format!("\"{}\" has two models at {}", alias.requested, alias.provider)));
        }
        aliases.push(alias);
    }
    Ok(aliases)
}

fn parse_line(line: &str) -> Result<Alias, String> {
    let fields: Vec<&str> = line.splitn(4, ',').collect();
    let [requested, provider, model, insert] = fields[..] else {
        return Err(format!("expected 4 fields, found {}", fields.len()));
    };
    if requested.is_empty() || provider.is_empty() || model.is_empty() {
        return Err("a requested name, a provider and a model are needed".to_owned());
    }
    let insert = if insert.is_empty() { None } else { Some(parse_insert(insert)?) };
    Ok(Alias { requested: requested.into(), provider: provider.into(), model: model.into(), insert })
}

/// `name=json`: the value is checked here, since it is spliced into request bodies as it is.
fn parse_insert(text: &str) -> Result<Insert, String> {
    let (member, json) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not name=json"))?;
    let plain_name = !member.is_empty() && member.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !plain_name {
        return Err(format!("\"{member}\" is no member name"));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(json)
        .map_err(|error| format!("the value of \"{member}\": {error}"))?;
    Ok(Insert { member: member.into(), json: json.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_line(line: &str) -> Result<Vec<Alias>, AliasError> {
        parse(&format!("{COLUMNS}\n{line}\n"))
    }

    #[test]
    fn the_built_in_list_is_whole() {
        let aliases = built_in().expect("the embedded list is whole");
        let chat = aliases.iter().find(|alias| &*alias.requested == "deepseek-chat").expect("a listed name");
        assert_eq!(&*chat.model, "deepseek-flash");
        let insert = chat.insert.as_ref().expect("thinking is named");
        assert_eq!((&*insert.member, &*insert.json), ("thinking", r#"{"type":"disabled"}"#));
    }

    #[test]
    fn broken_lines_are_refused_with_their_number() {
        assert_eq!(with_line("a,p,m,").map(|aliases| aliases.len()), Ok(1));
        assert_eq!(with_line(r#"a,p,m,x={"a":1,"b":2}"#).map(|aliases| aliases.len()), Ok(1));
        for line in ["a,p,m", ",p,m,", "a,,m,", "a,p,,", "a,p,m,x", "a,p,m,x=", "a,p,m,X=1", "a,p,m,x={", "a,p,m,x=1 2"]
        {
            assert_eq!(with_line(line).expect_err(line).line, 2);
        }
        assert_eq!(with_line("a,p,m,\na,p,n,").expect_err("twice").line, 3);
    }
}
