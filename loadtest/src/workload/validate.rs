//! What can be wrong with a plan, told before anything is sent: one sentence each, with a remedy.

use super::{Arrivals, Plan, Share};
use crate::dialect::Dialect;
use std::collections::BTreeSet;
use std::time::Duration;

impl Plan {
    /// When sending ends by time; `None` where only a count, or the trace's end, bounds it.
    pub fn end(&self) -> Option<Duration> {
        let given = self.duration.map(|duration| duration.0);
        match (&self.arrivals, given) {
            (Arrivals::Steps { .. }, Some(given)) => self.arrivals.natural_end().map(|end| end.min(given)),
            (_, Some(given)) => Some(given),
            (Arrivals::Ramp { .. }, None) if self.requests.is_some() => None,
            (_, None) => self.arrivals.natural_end(),
        }
    }

    /// Requests a second that are planned on average over the whole run; `None` in a closed loop, for a trace, and without an end.
    /// Where shares have sessions it is the rate at which sessions begin.
    pub fn planned_rate(&self) -> Option<f64> {
        let whole = || self.end().map(|end| end.as_secs_f64()).filter(|end| *end > 0.0);
        match &self.arrivals {
            Arrivals::Closed | Arrivals::Trace { .. } => None,
            Arrivals::Constant { rate } | Arrivals::Poisson { rate } => Some(*rate),
            Arrivals::Ramp { from, to, over, .. } => {
                let (end, over) = (whole()?, over.0.as_secs_f64());
                let ramped = end.min(over);
                let reached = from + (to - from) * ramped / over;
                Some(((from + reached) / 2.0 * ramped + to * (end - ramped)) / end)
            }
            Arrivals::Steps { rates, each, .. } => {
                let (end, each) = (whole()?, each.0.as_secs_f64());
                let within = |number: usize| (end - number as f64 * each).clamp(0.0, each);
                Some(rates.iter().enumerate().map(|(number, rate)| rate * within(number)).sum::<f64>() / end)
            }
            Arrivals::Bursts { rate, burst_rate, every, lasting, .. } => {
                let part = lasting.0.as_secs_f64() / every.0.as_secs_f64();
                Some(rate * (1.0 - part) + burst_rate * part)
            }
        }
    }

    /// About how many requests are planned, sessions counted once; `None` where nobody can tell beforehand.
    pub fn planned_requests(&self) -> Option<u64> {
        let by_time = self.planned_rate().zip(self.end()).map(|(rate, end)| (rate * end.as_secs_f64()).ceil() as u64);
        match (by_time, self.requests) {
            (Some(by_time), Some(most)) => Some(by_time.min(most)),
            (one, other) => one.or(other),
        }
    }

    /// Whether the plan can be carried out.
    ///
    /// # Errors
    /// Every problem, one a line, each with what to do about it.
    pub fn validate(&self) -> anyhow::Result<()> {
        let problems = self.problems();
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n            "));
        Ok(())
    }

    /// Everything that is wrong with it; empty for a good plan.
    pub fn problems(&self) -> Vec<String> {
        let mut found = self.schedule_problems();
        let closed = matches!(self.arrivals, Arrivals::Closed);
        if closed && self.requests.is_none() && self.duration.is_none() {
            found.push("nothing bounds the run; add --duration 30s, --requests 1000, or a rate with --rate 10".into());
        }
        if self.endpoints.is_empty() {
            found.push("there is nowhere to send to; add --url http://127.0.0.1:8081 or an [[endpoints]] table".into());
        }
        found.extend(self.endpoints.iter().filter_map(|endpoint| address_problem(&endpoint.url)));
        repeated(self.endpoints.iter().map(|one| one.name.as_str()), "endpoints", &mut found);
        repeated(self.tenants.iter().map(|one| one.name.as_str()), "tenants", &mut found);
        for tenant in &self.tenants {
            let weight = tenant.weight.unwrap_or(1.0);
            if !(weight.is_finite() && weight >= 0.0) {
                found.push(format!("the weight of tenant {:?} is {weight}; write 0 or more", tenant.name));
            }
            found.extend(key_problem(&tenant.key.text, &tenant.key.env, &tenant.name));
        }
        if !self.tenants.is_empty() && self.tenants.iter().all(|tenant| tenant.weight == Some(0.0)) {
            found.push("every tenant has weight 0; give one of them a weight such as 1".into());
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            found.push(format!("connections is {}; write 1 to {CONNECTIONS_MAX}", self.connections));
        }
        if !(1..=THREADS_MAX).contains(&self.threads) {
            found.push(format!("threads is {}; write 1 to {THREADS_MAX}, one for each core to spare", self.threads));
        } else if self.connections < self.threads && self.connections > 0 {
            found.push(format!(
                "{} threads cannot share {} connections; raise --connections or lower --threads",
                self.threads, self.connections
            ));
        }
        if self.timeout.0.is_zero() {
            found.push("timeout is zero; write how long an answer may take, such as 30s".into());
        }
        if self.verify_model.is_some() && !self.verify {
            found.push("verify_model is given without verify; add --verify".into());
        }
        if self.verify && self.traffic.iter().any(|share| share.dialect != Dialect::OpenAi) {
            found.push("verify knows the answers of one dialect; write --dialect openai, or drop --verify".into());
        }
        found
    }

    /// What is wrong with what is sent and when, whatever the target.
    pub(super) fn schedule_problems(&self) -> Vec<String> {
        let mut found = self.arrivals.problems();
        let endless = self.end().is_none() && self.requests.is_none();
        if endless && self.arrivals.is_open() && !matches!(self.arrivals, Arrivals::Trace { .. }) {
            found.push("a rate alone never ends; add --duration 30s, or --requests 1000".into());
        }
        if self.requests == Some(0) {
            found.push("requests is 0; write 1 or more".into());
        }
        if self.end().is_some_and(|end| end.is_zero()) {
            found.push("duration is zero; write how long to send, such as 30s".into());
        }
        if self.end().is_some_and(|end| self.warm_up.0 >= end) && !self.warm_up.0.is_zero() {
            found.push(
                "the warm-up is as long as the run, so that nothing counts; shorten it or lengthen the run".into(),
            );
        }
        if self.traffic.is_empty() {
            found.push("there is nothing to ask; add a [[traffic]] table".into());
        } else if self.traffic.iter().all(|share| share.weight <= 0.0) {
            found.push("every share of the traffic has weight 0; give one of them a weight such as 1".into());
        }
        for (number, share) in self.traffic.iter().enumerate() {
            self.share_problems(&share.label(number), share, &mut found);
        }
        found
    }

    fn share_problems(&self, label: &str, share: &Share, found: &mut Vec<String>) {
        let mut check = |good: bool, reason: String| {
            if !good {
                found.push(format!("traffic {label}: {reason}"));
            }
        };
        let weight = share.weight;
        check(weight.is_finite() && weight >= 0.0, format!("its weight is {weight}; write 0 or more"));
        check(!share.model.is_empty(), "it has no model; write one, such as model = \"gpt-4o\"".into());
        check((0.0..=1.0).contains(&share.tool_use), format!("tool_use is {}; write 0 to 1", share.tool_use));
        check(
            share.tool_use == 0.0 || share.tools > 0,
            "tool_use needs tools to use; set tools, for instance to 3".into(),
        );
        check(share.tools <= TOOLS_MAX, format!("tools is {}; {TOOLS_MAX} is the most", share.tools));
        let prefixes = 1..=PREFIXES_MAX;
        check(
            prefixes.contains(&share.shared_prefixes),
            format!("shared_prefixes is {}; write 1 to {PREFIXES_MAX}", share.shared_prefixes),
        );
        check(
            share.think.is_none() || share.turns.is_some(),
            "think is the pause between turns; set turns, for instance to 3".into(),
        );
        let known = |name: &String| self.endpoints.iter().any(|one| one.name == *name || one.url == *name);
        check(
            share.endpoint.is_empty() || known(&share.endpoint),
            format!("it goes to the endpoint {:?}, which is not there; add it under [[endpoints]]", share.endpoint),
        );
        for name in &share.tenants {
            let known = self.tenants.iter().any(|tenant| tenant.name == *name);
            check(known, format!("it is asked by the tenant {name:?}, who is not there; add it under [[tenants]]"));
        }
        self.recorded_problems(share, &mut check);
    }

    /// `recorded` needs something that was.
    fn recorded_problems(&self, share: &Share, check: &mut impl FnMut(bool, String)) {
        let trace = matches!(self.arrivals, Arrivals::Trace { .. });
        let talk = share.conversations.is_some();
        let recorded = |length: &Option<super::Lengths>| length.as_ref().is_some_and(super::Lengths::is_recorded);
        check(
            !recorded(&share.prompt_tokens) || trace,
            "prompt_tokens are \"recorded\", but there is no trace; set arrivals to kind \"trace\"".into(),
        );
        check(
            !recorded(&share.output_tokens) || trace || talk,
            "output_tokens are \"recorded\", but nothing is; use a trace or a file of conversations".into(),
        );
        check(
            !recorded(&share.turns) || talk,
            "turns are \"recorded\", but there are no conversations; set conversations to a JSON file".into(),
        );
        check(!recorded(&share.shared_prefix), "no file records shared_prefix; write a number of tokens".into());
        let think = share.think.as_ref().is_some_and(super::Waits::is_recorded);
        check(!think, "no file records think; write a time such as 2s or exponential:2s".into());
    }
}

impl Share {
    /// What reports call it: its name, or its model, or its number.
    pub fn label(&self, number: usize) -> String {
        match (self.name.as_str(), self.model.as_str()) {
            ("", "") => number.to_string(),
            ("", model) => model.to_owned(),
            (name, _) => name.to_owned(),
        }
    }
}

fn address_problem(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Some(format!("{url:?} is no URL; write http:// or https:// in front, as in http://127.0.0.1:8081"));
    };
    let host = rest.split('/').next().unwrap_or_default();
    let bad = host.is_empty() || host.contains('@') || !rest.bytes().all(|byte| byte.is_ascii_graphic());
    bad.then(|| format!("{url:?} has no host that can be used; write it as in http://127.0.0.1:8081/v1"))
}

fn key_problem(key: &str, env: &str, tenant: &str) -> Option<String> {
    if key.is_empty() && !env.is_empty() {
        return Some(format!(
            "the access key of tenant {tenant:?} is to be in the variable {env}, which is not set; export it"
        ));
    }
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    (!visible).then(|| format!("the access key of tenant {tenant:?} must be visible ASCII characters without spaces"))
}

fn repeated<'a>(names: impl Iterator<Item = &'a str>, what: &str, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for name in names.filter(|name| !name.is_empty()) {
        if !seen.insert(name) {
            found.push(format!("two {what} are called {name:?}; rename one"));
        }
    }
}

/// Connections at most; more do not fit into the ports of one address.
const CONNECTIONS_MAX: usize = 100_000;
/// Threads at most.
const THREADS_MAX: usize = 256;
/// Tools at most, as providers have it.
const TOOLS_MAX: u32 = 128;
/// Shared texts at most: they are kept in memory.
const PREFIXES_MAX: u32 = 10_000;
