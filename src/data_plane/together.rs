//! Several attempts at one request: which of the three ways it goes, and what the answer's `metadata` says of it.
//!
//! A council and a race are asked for by the request; a hedge by its deadline or by the policy `hedged`. Each may end without an answer: then
//! the exchange goes on through the candidates that are left, one after another, within the same budget of attempts. A tenant's `hedging = false`
//! turns hedges and races off; a council is no gamble on speed but what was asked for, and stays.

use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::failover::Course;
use super::fault::Fault;
use super::surface::Task;
use super::{council, hedge, race};
use crate::domain::id::ProviderId;
use crate::domain::money::Money;
use crate::json::splice::escape_into;
use crate::limits;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How several candidates answer at once.
pub enum Way {
    /// All of them, and one is chosen.
    Council,
    /// All of them, and the first is taken.
    Race(race::Lineup),
    /// A second one if the first is late.
    Hedge(hedge::Lineup),
}

/// How several candidates are to answer at once, if the request is one for that. `None` leaves it to the plain way.
pub fn way(exchange: &Exchange<'_>, course: &Course<'_>) -> Option<Way> {
    if course.plan.candidates.len() < 2 || !is_repeatable(course) {
        return None;
    }
    let wishes = &course.inquiry.ask.wishes;
    if wishes.council.is_some() {
        return Some(Way::Council);
    }
    let terms = exchange.snapshot.settings.routing.tenant(&course.inquiry.key.tenant);
    if !terms.hedging || exchange.core.is_shedding() {
        return None;
    }
    let race = wishes.race.and_then(|mode| race::lineup(exchange, course, mode));
    race.map(Way::Race).or_else(|| hedge::lineup(exchange, course).map(Way::Hedge))
}

/// Has several candidates answer at once. `None` leaves it to the plain way after all. Seldom, so that its work lies apart.
///
/// # Errors
/// The request asks for a council that cannot be.
#[cold]
pub fn run<'r>(
    exchange: &'r mut Exchange<'_>,
    down: &'r mut Downstream,
    course: &'r mut Course<'_>,
    way: Way,
) -> Pin<Box<dyn Future<Output = Result<Option<Next>, Fault>> + 'r>> {
    match way {
        Way::Council => Box::pin(council::run(exchange, down, course)),
        Way::Race(lineup) => Box::pin(async move { Ok(race::run(exchange, down, course, lineup).await) }),
        Way::Hedge(lineup) => Box::pin(async move { Ok(hedge::run(exchange, down, course, lineup).await) }),
    }
}

/// Whether a request may be sent to several at once: it leaves nothing behind, and its body is in memory and small.
fn is_repeatable(course: &Course<'_>) -> bool {
    let inquiry = course.inquiry;
    let leaves_nothing = matches!(
        inquiry.ask.task,
        Task::Generate | Task::Embeddings | Task::EmbedContent(_) | Task::Rerank | Task::Moderations
    );
    leaves_nothing && inquiry.rest().is_none() && inquiry.body().len() <= limits::REPLAY_BYTES_MAX
}

// ---- What the answer says of it ---------------------------------------------------------------------------------------------

/// Attempts that ran beside each other, as an answer tells of them.
pub enum Together {
    /// A race.
    Race(Race),
    /// A council.
    Council(Council),
}

/// A race.
pub struct Race {
    /// Whose answer it is.
    pub winner: ProviderId,
    /// Everybody who ran.
    pub raced: Vec<ProviderId>,
    /// How much sooner the first token was there than the plan's first candidate usually has it; zero where that is not known.
    pub saved: Duration,
}

/// A council.
pub struct Council {
    /// Everybody who was asked.
    pub members: Vec<Member>,
    /// Whose words the answer is.
    pub winner: ProviderId,
    /// How far the best two agreed, 0 to 1.
    pub agreement: f64,
    /// Who judged, if somebody had to.
    pub judge: Option<Member>,
}

/// One who was asked.
#[derive(Clone)]
pub struct Member {
    /// Where.
    pub provider: ProviderId,
    /// Which model.
    pub model: Arc<str>,
    /// Whether it answered.
    pub answered: bool,
    /// What that cost, if known.
    pub cost: Option<Money>,
}

impl Together {
    /// What the whole cost, where that is more than the answer itself; the inner option is `None` where a part of it is not known.
    pub fn cost(&self) -> Option<Option<Money>> {
        match self {
            Self::Race(_) => None,
            Self::Council(council) => Some(council.cost()),
        }
    }

    /// Appends `,"speculative":{…}` or `,"council":{…}`.
    pub fn write(&self, latency_ms: u64, out: &mut Vec<u8>) {
        match self {
            Self::Race(race) => race.write(latency_ms, out),
            Self::Council(council) => council.write(latency_ms, out),
        }
    }
}

impl Race {
    fn write(&self, latency_ms: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"speculative\":{\"winner_provider\":");
        escape_into(self.winner.as_str(), out);
        out.extend_from_slice(b",\"providers_raced\":[");
        listed(&self.raced, out, |provider, out| escape_into(provider.as_str(), out));
        // Writing to a Vec does not fail.
        let _ = write!(out, "],\"latency_saved_ms\":{},\"total_latency_ms\":{latency_ms}}}", self.saved.as_millis());
    }
}

impl Council {
    /// What all of them cost; `None` where one has no known price.
    fn cost(&self) -> Option<Money> {
        self.members.iter().chain(&self.judge).map(|member| member.cost).sum()
    }

    fn write(&self, latency_ms: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"council\":{\"members\":[");
        listed(&self.members, out, Member::write);
        let responses = self.members.iter().filter(|member| member.answered).count();
        // Writing to a Vec does not fail.
        let _ = write!(out, "],\"response_count\":{responses},\"agreement\":{:.3},\"judge\":", self.agreement);
        match &self.judge {
            Some(judge) => judge.write(out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"winner_provider\":");
        escape_into(self.winner.as_str(), out);
        let _ = write!(out, ",\"total_latency_ms\":{latency_ms},\"cost_usd\":");
        money(self.cost(), out);
        out.push(b'}');
    }
}

impl Member {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"provider\":");
        escape_into(self.provider.as_str(), out);
        out.extend_from_slice(b",\"model\":");
        escape_into(&self.model, out);
        let _ = write!(out, ",\"answered\":{},\"cost_usd\":", self.answered);
        money(self.cost, out);
        out.push(b'}');
    }
}

fn listed<T>(items: &[T], out: &mut Vec<u8>, each: impl Fn(&T, &mut Vec<u8>)) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        each(item, out);
    }
}

fn money(amount: Option<Money>, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = match amount {
        Some(amount) => write!(out, "{amount}"),
        None => write!(out, "null"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProviderId {
        ProviderId::new(name)
    }

    fn member(name: &str, cost: Option<i128>) -> Member {
        let answered = cost.is_some();
        Member { provider: id(name), model: Arc::from("m"), answered, cost: cost.map(Money::from_pico) }
    }

    fn written(together: &Together) -> serde_json::Value {
        let mut out = Vec::new();
        together.write(42, &mut out);
        let text = String::from_utf8(out).expect("text");
        serde_json::from_str(&format!("{{{}}}", text.trim_start_matches(','))).expect(&text)
    }

    #[test]
    fn a_race_names_its_runners() {
        let race = Race { winner: id("b"), raced: vec![id("a"), id("b")], saved: Duration::from_millis(7) };
        let said = &written(&Together::Race(race))["speculative"];
        assert_eq!(said["providers_raced"], serde_json::json!(["a", "b"]));
        assert_eq!((&said["winner_provider"], &said["latency_saved_ms"]), (&"b".into(), &7.into()));
        assert_eq!(said["total_latency_ms"], 42);
    }

    #[test]
    fn a_council_costs_what_all_of_it_costs() {
        let council = |second, judge| Council {
            members: vec![member("a", Some(1_000_000_000)), member("b", second)],
            winner: id("a"),
            agreement: 0.25,
            judge,
        };
        let known = Together::Council(council(Some(2_000_000_000), Some(member("c", Some(4_000_000_000)))));
        assert_eq!(known.cost(), Some(Some(Money::from_pico(7_000_000_000))));
        let said = &written(&known)["council"];
        assert_eq!((&said["response_count"], &said["cost_usd"]), (&2.into(), &0.007.into()));
        assert_eq!((&said["judge"]["provider"], &said["agreement"]), (&"c".into(), &0.25.into()));
        let unknown = Together::Council(council(None, None));
        assert_eq!(unknown.cost(), Some(None), "an unknown price is not zero");
        assert!(written(&unknown)["council"]["cost_usd"].is_null());
    }
}
