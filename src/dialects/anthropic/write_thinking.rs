//! How hard a Claude model is told to think, and what that does to the limit on tokens.

use super::model::{Claude, ThinkingForm};
use super::outgoing::{Notes, Thinking};
use crate::chat::request::{Effort, Reasoning, Request};

/// What is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<&'static str>,
    pub(super) max_tokens: u64,
}

impl Plan {
    /// Whether the model thinks, as far as this request says: then it takes no sampling figures.
    pub(super) fn thinks(&self) -> bool {
        !matches!(self.thinking, None | Some(Thinking::Disabled))
    }
}

/// What else in the request bears on thinking.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    /// A call is forced: refused beside thinking, where a model can do without.
    pub(super) forced_call: bool,
    /// The last turn is to be continued: likewise.
    pub(super) prefill: bool,
    /// A tool loop is open whose calling turn has no signed thinking: refused beside a budget.
    pub(super) unsigned_loop: bool,
    /// Tokens of the answer at most, by the catalogue.
    pub(super) output_max: Option<u64>,
}

/// Tokens of an answer where neither the client nor the catalogue says.
const MAX_TOKENS: u64 = 4096;
/// The least budget that is taken.
const BUDGET_MIN: u64 = 1024;

/// Decides it.
pub(super) fn plan(request: &Request, claude: &Claude, around: Around, notes: &mut Notes) -> Plan {
    let wanted = request.output_max.or(around.output_max).unwrap_or(MAX_TOKENS);
    let max_tokens = around.output_max.map_or(wanted, |most| wanted.min(most));
    let bare = Plan { thinking: None, effort: None, max_tokens };
    match claude.thinking {
        ThinkingForm::None => {
            if request.reasoning.is_stated() && !is_off(&request.reasoning) {
                notes.drop("reasoning");
            }
            bare
        }
        ThinkingForm::Budget => by_budget(request, around, bare, notes),
        ThinkingForm::Adaptive => by_effort(&request.reasoning, claude, around, bare, notes),
    }
}

fn is_off(reasoning: &Reasoning) -> bool {
    reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None) || reasoning.budget == Some(0)
}

fn by_effort(reasoning: &Reasoning, claude: &Claude, around: Around, bare: Plan, notes: &mut Notes) -> Plan {
    let display = if reasoning.shown == Some(false) { "omitted" } else { "summarized" };
    let adaptive = Some(Thinking::Adaptive { display });
    let wanted = reasoning.effort.filter(|effort| *effort != Effort::None).or(reasoning.budget.map(effort_of));
    if is_off(reasoning) {
        if claude.always_thinks {
            notes.drop("reasoning");
            return Plan { thinking: adaptive, effort: Some(claude.nearest_effort(Effort::Low).as_str()), ..bare };
        }
        // Models that can do without thinking take `disabled` at an effort up to high.
        let stated = reasoning.effort.filter(|effort| *effort != Effort::None);
        let effort = stated.map(|effort| claude.nearest_effort(effort.min(Effort::High)).as_str());
        return Plan { thinking: Some(Thinking::Disabled), effort, ..bare };
    }
    let effort = wanted.map(|effort| claude.nearest_effort(effort).as_str());
    if claude.always_thinks {
        return Plan { thinking: adaptive, effort, ..bare };
    }
    if !reasoning.is_stated() {
        return bare;
    }
    if around.forced_call || around.prefill {
        notes.drop("reasoning");
        return Plan { effort, ..bare };
    }
    Plan { thinking: adaptive, effort, ..bare }
}

fn by_budget(request: &Request, around: Around, bare: Plan, notes: &mut Notes) -> Plan {
    let reasoning = &request.reasoning;
    if !reasoning.is_stated() || is_off(reasoning) {
        return bare;
    }
    if around.forced_call || around.prefill || around.unsigned_loop {
        notes.drop("reasoning");
        return bare;
    }
    let budget = reasoning.budget.unwrap_or_else(|| budget_of(reasoning.effort)).max(BUDGET_MIN);
    if request.output_max.is_none() && around.output_max.is_none() {
        let max_tokens = bare.max_tokens.max(budget.saturating_add(MAX_TOKENS));
        return Plan { thinking: Some(Thinking::Enabled { budget_tokens: budget }), max_tokens, ..bare };
    }
    // The budget is a part of the limit: where it is the whole of it, half is left for the answer.
    let budget = if budget < bare.max_tokens { budget } else { bare.max_tokens / 2 };
    if budget < BUDGET_MIN {
        notes.drop("reasoning");
        return bare;
    }
    Plan { thinking: Some(Thinking::Enabled { budget_tokens: budget }), ..bare }
}

fn budget_of(effort: Option<Effort>) -> u64 {
    match effort {
        Some(Effort::None | Effort::Minimal | Effort::Low) => 1024,
        None | Some(Effort::Medium) => 2048,
        Some(Effort::High) => 4096,
        Some(Effort::XHigh) => 8192,
        Some(Effort::Max) => 16384,
    }
}

fn effort_of(budget: u64) -> Effort {
    match budget {
        0..2_000 => Effort::Low,
        2_000..8_000 => Effort::Medium,
        _ => Effort::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ability::Abilities;

    fn planned(model: &str, reasoning: Reasoning, output_max: Option<u64>, around: Around) -> (Plan, Vec<String>) {
        let request = Request { reasoning, output_max, ..Request::default() };
        let mut notes = Notes::default();
        let plan = plan(&request, &Claude::of(model, &Abilities::default()), around, &mut notes);
        (plan, notes.0)
    }

    fn effort(effort: Effort) -> Reasoning {
        Reasoning { effort: Some(effort), ..Reasoning::default() }
    }

    #[test]
    fn newer_models_think_by_effort() {
        let adaptive = Some(Thinking::Adaptive { display: "summarized" });
        let of = |model: &str, reasoning| planned(model, reasoning, Some(900), Around::default());
        let (plan, notes) = of("claude-opus-4-6", effort(Effort::XHigh));
        assert_eq!((plan.thinking, plan.effort, plan.max_tokens, notes), (adaptive, Some("high"), 900, vec![]));
        let (plan, _) = of("claude-opus-5", effort(Effort::None));
        assert_eq!((plan.thinking, plan.effort), (Some(Thinking::Disabled), None));
        let (plan, notes) = of("claude-opus-5-5", effort(Effort::None));
        assert_eq!((plan.thinking, plan.effort, notes), (adaptive, Some("low"), vec!["reasoning".to_owned()]));
        let (plan, _) = of("claude-fable-5", Reasoning::default());
        assert_eq!((plan.thinking, plan.effort), (adaptive, None), "else it looks silent");
        let (plan, _) = of("claude-sonnet-5", Reasoning::default());
        assert_eq!((plan.thinking, plan.effort), (None, None));
        let budget = Reasoning { budget: Some(5_000), shown: Some(false), ..Reasoning::default() };
        let (plan, _) = of("claude-opus-4-8", budget);
        assert_eq!((plan.thinking, plan.effort), (Some(Thinking::Adaptive { display: "omitted" }), Some("medium")));
    }

    #[test]
    fn older_models_think_by_a_budget_inside_of_the_limit() {
        let of = |wanted, output_max, around| planned("claude-sonnet-4-5", effort(wanted), output_max, around);
        let enabled = |budget_tokens| Some(Thinking::Enabled { budget_tokens });
        let (plan, _) = of(Effort::High, None, Around::default());
        assert_eq!((plan.thinking, plan.max_tokens), (enabled(4096), 8192), "there is room for an answer");
        let (plan, _) = of(Effort::High, Some(3_000), Around::default());
        assert_eq!((plan.thinking, plan.max_tokens), (enabled(1500), 3_000));
        let (plan, notes) = of(Effort::High, Some(1_500), Around::default());
        assert_eq!((plan.thinking, notes), (None, vec!["reasoning".to_owned()]));
        for around in [
            Around { forced_call: true, ..Around::default() },
            Around { prefill: true, ..Around::default() },
            Around { unsigned_loop: true, ..Around::default() },
        ] {
            let (plan, notes) = of(Effort::Low, Some(8_000), around);
            assert_eq!((plan.thinking, notes), (None, vec!["reasoning".to_owned()]), "{around:?}");
        }
        let (plan, _) = of(Effort::Low, Some(90_000), Around { output_max: Some(64_000), ..Around::default() });
        assert_eq!(plan.max_tokens, 64_000);
    }

    #[test]
    fn models_that_cannot_think_say_so() {
        let (plan, notes) = planned("claude-3-5-haiku", effort(Effort::High), None, Around::default());
        assert_eq!((plan.thinking, plan.max_tokens, notes), (None, 4096, vec!["reasoning".to_owned()]));
        let (_, notes) = planned("claude-3-5-haiku", effort(Effort::None), None, Around::default());
        assert_eq!(notes, Vec::<String>::new());
    }
}
