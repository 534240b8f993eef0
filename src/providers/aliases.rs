//! Names that clients still use for models that are gone, and what answers for them: the embedded `config/aliases.csv`.
//!
//! An alias is visible: the answer names the model that ran. The owner's own entries come before these (see `routing::resolve`). Which
//! rows hold depends on the day: a name may be served until its model retires, and a target may retire too.

use super::catalogue::Catalogue;
use crate::domain::clock::UnixMillis;
use crate::routing::resolve::{Alias, Insert};
use std::collections::HashSet;

/// The built-in list.
const BUILT_IN: &str = include_str!("../../config/aliases.csv");

/// Names of the columns, in order.
const COLUMNS: &str = "requested,provider,model,when,insert";

/// A line of the list that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("alias line {line}: {problem}")]
pub struct AliasError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// When a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On any day.
    Always,
    /// Once the catalogue says that the requested name is no longer served.
    Retired,
}

/// A list of aliases, in its order.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    rows: Vec<(Alias, When)>,
}

impl Aliases {
    /// The built-in list.
    ///
    /// # Errors
    /// When the embedded file is broken, which the tests exclude.
    pub fn built_in() -> Result<Self, AliasError> {
        Self::parse(BUILT_IN)
    }

    /// Reads a list: `#` comments, the header line, then one alias a line, whose last field may hold commas.
    ///
    /// # Errors
    /// The first line that is not exactly as described, or that says again what another says.
    pub fn parse(text: &str) -> Result<Self, AliasError> {
        let mut rows = Vec::new();
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
            let (alias, when) = parse_line(line).map_err(fault)?;
            if !seen.insert((alias.requested.clone(), alias.provider.clone(), alias.model.clone())) {
                return Err(fault(format!("\"{}\" has this model at {} already", alias.requested, alias.provider)));
            }
            rows.push((alias, when));
        }
        Ok(Self { rows })
    }

    /// Every row, and when it holds.
    pub fn rows(&self) -> impl Iterator<Item = (&Alias, When)> {
        self.rows.iter().map(|(alias, when)| (alias, *when))
    }

    /// The aliases that hold on the day of `now`: one for a name and a provider, the first whose model is still served, else the last.
    pub fn in_force(&self, catalogue: &Catalogue, now: UnixMillis) -> Vec<Alias> {
        let is_living =
            |provider: &str, model: &str| catalogue.lookup(provider, model).is_some_and(|entry| entry.is_living(now));
        let mut holding: Vec<Alias> = Vec::new();
        for (alias, when) in &self.rows {
            if *when == When::Retired && is_living(&alias.provider, &alias.requested) {
                continue;
            }
            let same = |other: &&mut Alias| other.requested == alias.requested && other.provider == alias.provider;
            match holding.iter_mut().rev().find(same) {
                Some(first) if is_living(&first.provider, &first.model) => {}
                Some(gone) => *gone = alias.clone(),
                None => holding.push(alias.clone()),
            }
        }
        holding
    }
}

fn parse_line(line: &str) -> Result<(Alias, When), String> {
    let fields: Vec<&str> = line.splitn(5, ',').collect();
    let [requested, provider, model, when, insert] = fields[..] else {
        return Err(format!("expected 5 fields, found {}", fields.len()));
    };
    if requested.is_empty() || provider.is_empty() || model.is_empty() {
        return Err("a requested name, a provider and a model are needed".to_owned());
    }
    let when = match when {
        "always" => When::Always,
        "retired" => When::Retired,
        other => return Err(format!("\"{other}\" is neither always nor retired")),
    };
    let insert = if insert.is_empty() { None } else { Some(parse_insert(insert)?) };
    Ok((Alias { requested: requested.into(), provider: provider.into(), model: model.into(), insert }, when))
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

    fn with_lines(lines: &str) -> Result<Aliases, AliasError> {
        Aliases::parse(&format!("{COLUMNS}\n{lines}\n"))
    }

    /// Midnight of a day of 2026 or 2027, by days after 2026-11-23.
    fn day(after: u64) -> UnixMillis {
        UnixMillis(1_795_392_000_000 + after * 86_400_000)
    }

    /// The model that answers for a name on a day, by the built-in lists.
    fn target(requested: &str, day: UnixMillis) -> Option<String> {
        let catalogue = Catalogue::built_in().expect("the embedded lists are whole");
        let aliases = Aliases::built_in().expect("the embedded list is whole").in_force(&catalogue, day);
        let mut found = aliases.iter().filter(|alias| &*alias.requested == requested);
        let model = found.next().map(|alias| alias.model.to_string());
        assert!(found.next().is_none(), "{requested} has two targets");
        model
    }

    #[test]
    fn the_built_in_list_is_whole() {
        let aliases = Aliases::built_in().expect("the embedded list is whole");
        let (chat, when) = aliases.rows().find(|(alias, _)| &*alias.requested == "deepseek-chat").expect("listed");
        assert_eq!((&*chat.model, when), ("deepseek-flash", When::Always));
        let insert = chat.insert.as_ref().expect("thinking is named");
        assert_eq!((&*insert.member, &*insert.json), ("thinking", r#"{"type":"disabled"}"#));
    }

    #[test]
    fn a_name_is_an_alias_from_the_day_its_model_retires() {
        // claude-sonnet-4-5 ends on 2026-11-30, gpt-5 on 2026-12-11, Kimi's K2 at the end of 2026.
        assert_eq!(target("claude-sonnet-4-5", day(6)), None);
        assert_eq!(target("claude-sonnet-4-5", day(7)).as_deref(), Some("claude-sonnet-5-5"));
        assert_eq!((target("gpt-5", day(17)), target("gpt-5", day(18))), (None, Some("gpt-5.6-sol".to_owned())));
        assert_eq!(target("moonshot-v1-8k", day(60)), None, "no date ends it");
        assert_eq!(target("kimi-k2", day(37)).as_deref(), Some("kimi-k2.6"));
        assert_eq!(target("kimi-k2", day(38)).as_deref(), Some("kimi-k3"));
        assert_eq!(target("kimi-k2.6", day(38)).as_deref(), Some("kimi-k3"));
        assert_eq!(target("gpt-4", day(0)).as_deref(), Some("gpt-5.6-sol"));
    }

    #[test]
    fn broken_lines_are_refused_with_their_number() {
        assert_eq!(with_lines("a,p,m,always,").map(|aliases| aliases.rows().count()), Ok(1));
        assert_eq!(with_lines(r#"a,p,m,retired,x={"a":1,"b":2}"#).map(|aliases| aliases.rows().count()), Ok(1));
        for line in [
            "a,p,m,always",
            ",p,m,always,",
            "a,,m,always,",
            "a,p,,always,",
            "a,p,m,,",
            "a,p,m,never,",
            "a,p,m,always,x",
            "a,p,m,always,x=",
            "a,p,m,always,X=1",
            "a,p,m,always,x={",
            "a,p,m,always,x=1 2",
        ] {
            assert_eq!(with_lines(line).expect_err(line).line, 2);
        }
        assert_eq!(with_lines("a,p,m,always,\na,p,m,retired,").expect_err("twice").line, 3);
        assert!(with_lines("a,p,m,always,\na,p,n,always,").is_ok(), "a second choice");
    }
}
