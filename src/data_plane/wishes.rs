//! What the native fields wish of routing beyond a policy: a goal, a deadline, a race, a council.
//!
//! Each may come in the body or as an `x-igris-…` header; the body wins. A value that makes no sense is refused with the member's name.

use super::ask::{flag, string_of};
use super::fault::Fault;
use crate::json::{Kind, Member, Span};
use crate::routing::terms::Goal;
use std::time::Duration;

/// What a race is won by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaceMode {
    /// The first token.
    Latency,
    /// Latency, quality and cost alike.
    Balanced,
    /// The owner's ranking, mostly.
    Quality,
    /// Price, mostly.
    Cost,
}

/// What a council shall look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CouncilWish {
    /// Providers that shall sit in it; empty lets the policy choose.
    pub providers: Vec<String>,
    /// Share of agreement from which no judge is asked, 0 to 1; `None` is the usual one.
    pub threshold: Option<f64>,
}

/// The wishes of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// What the choice is to be good at.
    pub goal: Option<Goal>,
    /// `speculative_mode`: race several providers to the first token.
    pub race: Option<RaceMode>,
    /// `deadline_ms`: when the first token should be there, from the request's arrival.
    pub deadline: Option<Duration>,
    /// `council_mode`, with what belongs to it.
    pub council: Option<CouncilWish>,
    /// `enable_semantic_routing`: false turns the owner's rules for `auto` off, true applies them to any model.
    pub semantic: Option<bool>,
    /// `min_quality_score`, 0 to 1.
    pub quality_min: Option<f64>,
    /// `x-igris-timing: 1`: answer with `server-timing`.
    pub timing: bool,
}

/// Places in the members from `optimization` on, as `ask` has them.
const OPTIMIZATION: usize = 0;
const SPECULATIVE_MODE: usize = 1;
const DEADLINE_MS: usize = 2;
const COUNCIL_MODE: usize = 3;
const COUNCIL_PROVIDERS: usize = 4;
const CONSENSUS_THRESHOLD: usize = 5;
const SEMANTIC: usize = 6;
const MIN_QUALITY: usize = 7;

/// Milliseconds of a deadline, at most: a whole exchange may not take longer.
const DEADLINE_MS_MAX: u64 = 3_600_000;
/// Providers that a council may name.
const COUNCIL_PROVIDERS_MAX: usize = 3;

// === impl Wishes ===

impl Wishes {
    /// Reads the members of a body; `found` holds those from `optimization` on.
    pub fn read(&mut self, body: &[u8], found: &[Option<Member>]) -> Result<(), Fault> {
        let at = |place: usize| found.get(place).copied().flatten().filter(|member| member.kind != Kind::Null);
        // Others have a member of this name that is no string.
        if let Some(member) = at(OPTIMIZATION).filter(|member| member.kind == Kind::String) {
            self.goal = Some(goal(&string_of(body, &member, "optimization")?)?);
        }
        if let Some(member) = at(SPECULATIVE_MODE) {
            // A plain switch is understood, too.
            self.race = match member.kind {
                Kind::Bool => flag(body, Some(member), "speculative_mode")?.then_some(RaceMode::Latency),
                _ => race(&string_of(body, &member, "speculative_mode")?)?,
            };
        }
        if let Some(member) = at(DEADLINE_MS) {
            self.deadline = Some(deadline(raw(body, member.value))?);
        }
        if let Some(member) = at(COUNCIL_MODE)
            && flag(body, Some(member), "council_mode")?
        {
            let providers = match at(COUNCIL_PROVIDERS) {
                Some(member) => provider_list(raw(body, member.value))?,
                None => Vec::new(),
            };
            let threshold = at(CONSENSUS_THRESHOLD);
            let threshold =
                threshold.map(|member| share(raw(body, member.value), "consensus_threshold")).transpose()?;
            self.council = Some(CouncilWish { providers, threshold });
        }
        if let Some(member) = at(SEMANTIC) {
            self.semantic = Some(flag(body, Some(member), "enable_semantic_routing")?);
        }
        if let Some(member) = at(MIN_QUALITY) {
            self.quality_min = Some(share(raw(body, member.value), "min_quality_score")?);
        }
        Ok(())
    }

    /// Reads one header; whether it was one of these. What the body said stays.
    pub fn read_header(&mut self, name: &str, value: &str) -> Result<bool, Fault> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("x-igris-optimization") {
            let wished = goal(value)?;
            self.goal.get_or_insert(wished);
        } else if is("x-igris-speculative-mode") {
            self.race = self.race.or(race(value)?);
        } else if is("x-igris-deadline-ms") {
            self.deadline = self.deadline.or(Some(deadline(value)?));
        } else if is("x-igris-council-mode") {
            if truth(value, "council_mode")? {
                self.council.get_or_insert_default();
            }
        } else if is("x-igris-council-providers") {
            let listed = value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
            let listed: Vec<String> = listed.collect();
            if listed.len() > COUNCIL_PROVIDERS_MAX {
                return Err(too_many_members());
            }
            let council = self.council.get_or_insert_default();
            if council.providers.is_empty() {
                council.providers = listed;
            }
        } else if is("x-igris-consensus-threshold") {
            let wished = share(value, "consensus_threshold")?;
            self.council.get_or_insert_default().threshold.get_or_insert(wished);
        } else if is("x-igris-enable-semantic-routing") {
            let wished = truth(value, "enable_semantic_routing")?;
            self.semantic.get_or_insert(wished);
        } else if is("x-igris-min-quality-score") {
            let wished = share(value, "min_quality_score")?;
            self.quality_min.get_or_insert(wished);
        } else if is("x-igris-timing") {
            self.timing = truth(value, "x-igris-timing")?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

fn raw(body: &[u8], span: Span) -> &str {
    body.get(span.start..span.end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn goal(word: &str) -> Result<Goal, Fault> {
    let remedy = "Unknown `optimization`; use latency, cost, quality or balanced.";
    Goal::parse(word).ok_or_else(|| Fault::invalid(remedy, Some("optimization")))
}

fn race(word: &str) -> Result<Option<RaceMode>, Fault> {
    Ok(Some(match word {
        "latency" => RaceMode::Latency,
        "balanced" => RaceMode::Balanced,
        "quality" => RaceMode::Quality,
        "cost" => RaceMode::Cost,
        "" | "none" | "off" | "null" => return Ok(None),
        _ => {
            let remedy = "Unknown `speculative_mode`; use latency, balanced, quality, cost or null.";
            return Err(Fault::invalid(remedy, Some("speculative_mode")));
        }
    }))
}

fn deadline(text: &str) -> Result<Duration, Fault> {
    let remedy = "The member `deadline_ms` must be a whole number of milliseconds from 1 to 3600000.";
    let digits = !text.is_empty() && text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = digits.then(|| text.parse::<u64>().ok()).flatten();
    let millis = millis.filter(|millis| (1..=DEADLINE_MS_MAX).contains(millis));
    millis.map(Duration::from_millis).ok_or_else(|| Fault::invalid(remedy, Some("deadline_ms")))
}

fn share(text: &str, name: &'static str) -> Result<f64, Fault> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| Fault::invalid(format!("The member `{name}` must be a number from 0 to 1."), Some(name)))
}

fn truth(text: &str, name: &'static str) -> Result<bool, Fault> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" | "" => Ok(false),
        _ => Err(Fault::invalid(format!("`{name}` must be true or false."), Some(name))),
    }
}

fn provider_list(json: &str) -> Result<Vec<String>, Fault> {
    let names: Vec<String> = serde_json::from_str(json).map_err(|_| {
        let remedy = "The member `council_providers` must be an array of provider names.";
        Fault::invalid(remedy, Some("council_providers"))
    })?;
    if names.len() > COUNCIL_PROVIDERS_MAX { Err(too_many_members()) } else { Ok(names) }
}

fn too_many_members() -> Fault {
    Fault::invalid("A council has at most three members; name two or three providers.", Some("council_providers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_the_body_may_say() {
        let mut wishes = Wishes::default();
        for (name, value) in [
            ("X-Igris-Optimization", "cost"),
            ("x-igris-speculative-mode", "latency"),
            ("x-igris-deadline-ms", "1500"),
            ("x-igris-council-providers", "openai, anthropic"),
            ("x-igris-consensus-threshold", "0.7"),
            ("x-igris-enable-semantic-routing", "true"),
            ("x-igris-min-quality-score", "0.5"),
            ("x-igris-timing", "1"),
        ] {
            assert_eq!(wishes.read_header(name, value).ok(), Some(true), "{name}");
        }
        let council = CouncilWish { providers: vec!["openai".into(), "anthropic".into()], threshold: Some(0.7) };
        let expected = Wishes {
            goal: Some(Goal::Cost),
            race: Some(RaceMode::Latency),
            deadline: Some(Duration::from_millis(1_500)),
            council: Some(council),
            semantic: Some(true),
            quality_min: Some(0.5),
            timing: true,
        };
        assert_eq!(wishes, expected);
        assert_eq!(wishes.read_header("x-igris-provider", "openai").ok(), Some(false));
    }

    #[test]
    fn senseless_values_name_the_member() {
        for (name, value, param) in [
            ("x-igris-optimization", "speed", "optimization"),
            ("x-igris-speculative-mode", "fast", "speculative_mode"),
            ("x-igris-deadline-ms", "0", "deadline_ms"),
            ("x-igris-deadline-ms", "+5", "deadline_ms"),
            ("x-igris-deadline-ms", "3600001", "deadline_ms"),
            ("x-igris-council-providers", "a,b,c,d", "council_providers"),
            ("x-igris-consensus-threshold", "1.1", "consensus_threshold"),
            ("x-igris-min-quality-score", "nan", "min_quality_score"),
        ] {
            let fault = Wishes::default().read_header(name, value).expect_err(name);
            assert_eq!((fault.status(), fault.param()), (400, Some(param)), "{name}: {value}");
        }
    }
}
