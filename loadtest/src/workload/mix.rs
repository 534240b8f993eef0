//! The traffic of a plan made ready: which share a request belongs to, who asks, and what exactly it says.
//!
//! Everything here is a pure function of the plan, a request's number and its turn, but for a small store of shared texts.

use super::conversations::{self, Conversations};
use super::draw::{Purpose, fraction, generator};
use super::page::Page;
use super::trace::Row;
use super::{Ask, Lengths, Plan, Role, Share, Turn, Waits};
use anyhow::Context as _;
use rand::RngCore as _;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// All shares of a plan, ready to be drawn from.
pub(super) struct Mix {
    seed: u64,
    hints: bool,
    shares: Vec<Part>,
    /// Where each share ends in [0, 1).
    bounds: Vec<f64>,
    /// Whether any share has sessions of more than one turn.
    has_sessions: bool,
}

/// One share.
struct Part {
    share: Share,
    model: Arc<str>,
    endpoint: usize,
    /// Who may ask it, and where each ends in [0, 1); without bounds they take turns.
    tenants: Vec<usize>,
    tenant_bounds: Vec<f64>,
    system: Option<Arc<str>>,
    /// What stands above the conversation, by number of the shared text.
    prefixes: Vec<Option<Arc<str>>>,
    /// Bytes that are kept there.
    kept: usize,
    conversations: Option<Arc<Conversations>>,
}

/// Tokens of the few words by which every prompt differs from all others, about.
const HEAD_TOKENS: u32 = 8;
/// Bytes of shared texts that a thread keeps for a share.
const KEPT_MAX: usize = 64 << 20;
/// Turns of a session at most.
const TURNS_MAX: u32 = 10_000;

// === impl Mix ===

impl Mix {
    /// The mix of a plan.
    ///
    /// # Errors
    /// A share names what is not there, or its file cannot be read.
    pub(super) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let shares = plan.traffic.iter().map(|share| Part::new(share, plan)).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!shares.is_empty(), "the plan has no traffic; add a [[traffic]] table or give --model");
        let has_sessions = shares.iter().any(|part| part.share.turns.is_some());
        let bounds = bounds(plan.traffic.iter().map(|share| share.weight));
        Ok(Self { seed: plan.seed, hints: plan.simulator_hints, shares, bounds, has_sessions })
    }

    /// Whether a number may stand for more than one request.
    pub(super) fn has_sessions(&self) -> bool {
        self.has_sessions
    }

    /// Which share a request or session belongs to.
    fn share_of(&self, index: u64) -> usize {
        if self.shares.len() == 1 {
            return 0;
        }
        pick(&self.bounds, fraction(self.seed, Purpose::Share, index, 0))
    }

    /// How many turns the session of this number has if no answer fails.
    pub(super) fn turns(&self, index: u64) -> u32 {
        let part = &self.shares[self.share_of(index)];
        let Some(turns) = &part.share.turns else { return 1 };
        let drawn = turns.draw(&mut generator(self.seed, Purpose::Turns, index, 0));
        let questions = part.conversations.as_ref().map(|all| all[(index % all.len() as u64) as usize].len() as u32);
        let turns = match (drawn, questions) {
            (Some(drawn), Some(most)) => drawn.min(most),
            (Some(turns), None) | (None, Some(turns)) => turns,
            (None, None) => 1,
        };
        turns.clamp(1, TURNS_MAX)
    }

    /// The first, or only, question of this number.
    pub(super) fn first(&mut self, index: u64, row: Option<&Row>) -> Ask {
        let share = self.share_of(index);
        let tenant = self.shares[share].tenant(self.seed, index);
        let system = self.shares[share].system(self.seed, index);
        let (text, output_tokens) = self.shares[share].say(self.seed, self.hints, index, 0, row);
        let part = &self.shares[share];
        Ask {
            index,
            endpoint: part.endpoint,
            tenant,
            share,
            dialect: part.share.dialect,
            model: Arc::clone(&part.model),
            stream: part.share.stream,
            include_usage: part.share.include_usage,
            system,
            turns: vec![Turn { role: Role::User, text: text.into() }],
            output_tokens,
            tools: part.share.tools,
            session: part.share.turns.is_some().then_some((index, 0)),
        }
    }

    /// The question after `ask` was answered so, and how long its person thinks first.
    pub(super) fn next(&self, ask: &Ask, answer: &str) -> (Duration, Ask) {
        let turn = ask.session.map_or(0, |(_, turn)| turn) + 1;
        let part = &self.shares[ask.share];
        let think = part
            .share
            .think
            .as_ref()
            .and_then(|think: &Waits| think.draw(&mut generator(self.seed, Purpose::Think, ask.index, turn)));
        let (text, output_tokens) = part.say(self.seed, self.hints, ask.index, turn, None);
        let mut next = ask.clone();
        next.session = Some((ask.index, turn));
        next.output_tokens = output_tokens.or(ask.output_tokens);
        next.turns.reserve(2);
        next.turns.push(Turn { role: Role::Assistant, text: answer.into() });
        next.turns.push(Turn { role: Role::User, text: text.into() });
        (think.unwrap_or_default(), next)
    }
}

// === impl Part ===

impl Part {
    fn new(share: &Share, plan: &Plan) -> anyhow::Result<Self> {
        let endpoint = match share.endpoint.as_str() {
            "" => 0,
            name => {
                let named = |one: &super::Endpoint| one.name == name || one.url == name;
                plan.endpoints.iter().position(named).with_context(|| {
                    format!("traffic goes to the endpoint {name:?}, which is not there; add it under [[endpoints]]")
                })?
            }
        };
        let mut tenants = Vec::new();
        for name in &share.tenants {
            tenants.push(plan.tenants.iter().position(|tenant| tenant.name == *name).with_context(|| {
                format!("traffic is asked by the tenant {name:?}, who is not there; add it under [[tenants]]")
            })?);
        }
        if tenants.is_empty() {
            tenants = (0..plan.tenants.len().max(1)).collect();
        }
        let weights = || tenants.iter().map(|tenant| plan.tenants[*tenant].weight.unwrap_or(1.0));
        let weighted = plan.tenants.iter().any(|tenant| tenant.weight.is_some());
        let tenant_bounds = if weighted { bounds(weights()) } else { Vec::new() };
        Ok(Self {
            model: share.model.as_str().into(),
            endpoint,
            tenants,
            tenant_bounds,
            system: (!share.system.is_empty()).then(|| share.system.as_str().into()),
            prefixes: vec![None; if share.shared_prefix.is_some() { share.shared_prefixes.max(1) as usize } else { 0 }],
            kept: 0,
            conversations: share.conversations.as_deref().map(conversations::read).transpose()?,
            share: share.clone(),
        })
    }

    fn tenant(&self, seed: u64, index: u64) -> usize {
        match &self.tenants[..] {
            [only] => *only,
            all if self.tenant_bounds.is_empty() => all[(index % all.len() as u64) as usize],
            all => all[pick(&self.tenant_bounds, fraction(seed, Purpose::Tenant, index, 0))],
        }
    }

    /// What stands above the conversation of this number.
    fn system(&mut self, seed: u64, index: u64) -> Option<Arc<str>> {
        let Some(length) = &self.share.shared_prefix else { return self.system.clone() };
        let count = self.prefixes.len();
        let number = (fraction(seed, Purpose::Prefix, index, 0) * count as f64) as usize;
        if let Some(made) = &self.prefixes[number] {
            return Some(Arc::clone(made));
        }
        let tokens = drawn(length, seed, Purpose::PrefixLength, number as u64, 0).unwrap_or(1);
        let mut text = self.share.system.clone();
        let space = if text.is_empty() { "" } else { "\n\n" };
        let _ = write!(text, "{space}Document {number} of {seed}:");
        let words = tokens.saturating_sub(HEAD_TOKENS) as usize;
        Page::get().words(generator(seed, Purpose::Prefix, number as u64, 1).next_u64(), words, &mut text);
        let text: Arc<str> = text.into();
        // Beyond that a text is made anew each time, which is as good and slower.
        if self.kept + text.len() <= KEPT_MAX {
            self.kept += text.len();
            self.prefixes[number] = Some(Arc::clone(&text));
        }
        Some(text)
    }

    /// What the person says in a turn, and how many tokens the answer may have.
    fn say(&self, seed: u64, hints: bool, index: u64, turn: u32, row: Option<&Row>) -> (String, Option<u32>) {
        let all = self.conversations.as_ref();
        let question = all.and_then(|all| all[(index % all.len() as u64) as usize].get(turn as usize));
        let output = self.share.output_tokens.as_ref().and_then(|length| {
            let recorded =
                || row.map(|row| row.output_tokens).or_else(|| question?.output_tokens).map(|one| one.max(1));
            drawn(length, seed, Purpose::OutputLength, index, turn).or_else(recorded)
        });
        let mut text = String::with_capacity(self.share.prompt_bytes as usize + 80);
        if let (true, Some(tokens)) = (hints, output) {
            let _ = write!(text, "sim:tokens={tokens} ");
        }
        match question {
            Some(question) => text.push_str(&question.text),
            None => self.make_up(seed, index, turn, row, &mut text),
        }
        if self.share.tool_use > 0.0 && fraction(seed, Purpose::Tool, index, turn) < self.share.tool_use {
            let tool = (index + u64::from(turn)) % u64::from(self.share.tools.max(1));
            let _ = write!(text, " Now use the tool `tool_{tool}`.");
        }
        (text, output)
    }

    /// Words that no other request has in front, as many as asked for.
    fn make_up(&self, seed: u64, index: u64, turn: u32, row: Option<&Row>, out: &mut String) {
        let before = out.len();
        let _ = write!(out, "Case {index}.{turn} of {seed}:");
        let from = generator(seed, Purpose::Words, index, turn).next_u64();
        match &self.share.prompt_tokens {
            Some(length) => {
                let recorded = || row.map(|row| row.prompt_tokens);
                let tokens = drawn(length, seed, Purpose::PromptLength, index, turn).or_else(recorded).unwrap_or(1);
                Page::get().words(from, tokens.saturating_sub(HEAD_TOKENS) as usize, out);
            }
            None => Page::get().bytes(from, before + self.share.prompt_bytes as usize, out),
        }
        out.push('?');
    }
}

fn drawn(length: &Lengths, seed: u64, purpose: Purpose, index: u64, turn: u32) -> Option<u32> {
    length.fixed().or_else(|| length.draw(&mut generator(seed, purpose, index, turn)))
}

/// Where each weight ends when all of them together are 1.
fn bounds(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let mut bounds: Vec<f64> = weights
        .map(|weight| {
            sum += weight.max(0.0);
            sum
        })
        .collect();
    bounds.iter_mut().for_each(|bound| *bound /= sum);
    bounds
}

/// The first whose bound is above the draw; the last that has any weight where rounding left a crumb.
fn pick(bounds: &[f64], drawn: f64) -> usize {
    bounds.partition_point(|bound| *bound <= drawn).min(bounds.len() - 1)
}
