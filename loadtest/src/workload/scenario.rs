//! A plan as a file: read with every mistake at its place, and written so that it reruns exactly.
//!
//! A scenario is TOML. A result of an earlier run (JSON) is read as well, since it holds the plan that made it.

use super::{Arrivals, Plan, Tenant};
use anyhow::{Context as _, anyhow};
use std::path::Path;

impl Plan {
    /// Reads a scenario file, or the plan inside a result. Paths in it are relative to the file.
    ///
    /// # Errors
    /// The file cannot be read or understood: the sentence names the place and, where a name was misspelt, the one that was meant.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the scenario {shown}; give the path of a TOML file or of a result")
        })?;
        let mut plan = if text.trim_start().starts_with('{') {
            Self::from_json(&text, &shown)?
        } else {
            Self::from_toml(&text, &shown)?
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        plan.paths().for_each(|path| rebase(folder, path));
        Ok(plan)
    }

    /// Reads TOML; `shown` is what errors call it.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn from_toml(text: &str, shown: &str) -> anyhow::Result<Self> {
        let plan: Self = toml::from_str(text).map_err(|wrong| {
            let place = wrong.span().map_or(String::new(), |span| place(text, span.start));
            anyhow!("{shown}{place}: {}", explained(wrong.message()))
        })?;
        let chosen: toml::Table = toml::from_str(text).unwrap_or_default();
        Ok(plan.settled(chosen.contains_key("connections")))
    }

    /// Reads the plan of a result, or a plan alone, as JSON.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn from_json(text: &str, shown: &str) -> anyhow::Result<Self> {
        let mut whole: serde_json::Value = serde_json::from_str(text).map_err(|wrong| {
            anyhow!("{shown}:{}:{}: {wrong}; a scenario is TOML or a result of run", wrong.line(), wrong.column())
        })?;
        let plan = match whole.get_mut("plan") {
            Some(plan) => plan.take(),
            None => whole,
        };
        let chosen = plan.get("connections").is_some();
        let plan: Self =
            serde_json::from_value(plan).map_err(|wrong| anyhow!("{shown}: {}", explained(&wrong.to_string())))?;
        Ok(plan.settled(chosen))
    }

    /// The plan as a scenario file that reruns it exactly; an access key is in it by the name of its variable alone.
    pub fn resolved(&self) -> String {
        let text =
            toml::to_string(self).unwrap_or_else(|wrong| format!("# This plan cannot be written as TOML: {wrong}\n"));
        format!("# Run it again: igris-load run --scenario THIS-FILE\n{text}")
    }

    /// Fills in what depends on the rest: connections enough that an open loop does not wait for one, and somebody who asks.
    #[must_use]
    pub fn settled(mut self, connections_chosen: bool) -> Self {
        if !connections_chosen {
            self.connections = if self.arrivals.is_open() { OPEN_CONNECTIONS } else { 1 }.max(self.threads);
        }
        if self.tenants.is_empty() {
            self.tenants.push(Tenant::default());
        }
        self
    }

    /// Files the plan is made of.
    fn paths(&mut self) -> impl Iterator<Item = &mut String> {
        let trace = match &mut self.arrivals {
            Arrivals::Trace { file, .. } => Some(file),
            _ => None,
        };
        let conversations = self.traffic.iter_mut().filter_map(|share| share.conversations.as_mut());
        let roots = self.endpoints.iter_mut().filter_map(|endpoint| endpoint.ca.as_mut());
        trace.into_iter().chain(conversations).chain(roots)
    }
}

fn rebase(folder: &Path, path: &mut String) {
    if Path::new(path.as_str()).is_relative() {
        *path = folder.join(path.as_str()).to_string_lossy().into_owned();
    }
}

/// `:LINE:COLUMN` of a byte.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

/// The parser's message; where it lists the names it knows, the nearest one alone if one is near.
fn explained(message: &str) -> String {
    let message = message.trim().replace('\n', "; ");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(wrong), true) = (quoted.next(), message.starts_with("unknown ")) else { return message };
    let nearest = quoted.map(|known| (strsim::damerau_levenshtein(wrong, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 1 + wrong.chars().count() / 4 => {
            let what = message.split(',').next().unwrap_or_default();
            format!("{what}; did you mean `{known}`?")
        }
        _ => message,
    }
}

/// Connections of an open loop unless chosen. They are opened when they are needed: this is a bound, not a number.
pub(super) const OPEN_CONNECTIONS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        Plan::from_toml(text, "x.toml").expect_err(text).to_string()
    }

    #[test]
    fn mistakes_have_a_place_and_a_remedy() {
        assert_eq!(
            said("name = \"a\"\nwarmup = \"5s\"\n"),
            "x.toml:2:1: unknown field `warmup`; did you mean `warm_up`?"
        );
        let table = said("[[traffic]]\nmodel = \"m\"\n  promt_tokens = 5\n");
        assert_eq!(table, "x.toml:3:3: unknown field `promt_tokens`; did you mean `prompt_tokens`?");
        let rhythm = said("[arrivals]\nkind = \"ramp\"\nform = 3\n");
        assert_eq!(rhythm, "x.toml:3:1: unknown field `form`; did you mean `from`?");
        let kind = said("[arrivals]\nkind = \"poison\"\n");
        assert_eq!(kind, "x.toml:2:8: unknown variant `poison`; did you mean `poisson`?");
        let missing = said("\n[arrivals]\nkind = \"ramp\"\nfrom = 3\n");
        assert!(missing.starts_with("x.toml:2:1: ") && missing.contains("need to, for instance"), "{missing}");
        let length = said("[[traffic]]\nprompt_tokens = \"gauss:1,2\"\n");
        assert!(length.starts_with("x.toml:2:17: ") && length.contains("there are fixed"), "{length}");
        assert!(said("duration = 30").starts_with("x.toml:1:12: "), "{}", said("duration = 30"));
        assert!(said("duration = \n").starts_with("x.toml:1:"), "{}", said("duration = \n"));
        assert!(said("colour = 1").contains("expected one of `name`"), "{}", said("colour = 1"));
    }

    #[test]
    fn open_loops_have_connections_enough() {
        let connections = |text: &str| Plan::from_toml(text, "x").expect(text).connections;
        assert_eq!(connections(""), 1);
        assert_eq!(connections("threads = 4"), 4);
        assert_eq!(connections("[arrivals]\nkind = \"poisson\"\nrate = 5"), OPEN_CONNECTIONS);
        assert_eq!(connections("connections = 7\n[arrivals]\nkind = \"poisson\"\nrate = 5"), 7);
    }

    #[test]
    fn results_are_scenarios() {
        let plan = Plan { seed: 77, requests: Some(5), ..Plan::default() }.settled(false);
        let json = serde_json::json!({ "tool": "igris-load", "plan": plan }).to_string();
        assert_eq!(Plan::from_json(&json, "result.json").expect("a result"), plan);
        let wrong = Plan::from_json("{\"plan\": {\"sed\": 1}}", "result.json").expect_err("misspelt").to_string();
        assert_eq!(wrong, "result.json: unknown field `sed`; did you mean `seed`?");
    }
}
