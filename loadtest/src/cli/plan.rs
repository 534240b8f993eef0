//! Flags that make a plan: whom to ask, when, what, and with what means. Shared by every command that sends load.
//!
//! A scenario file may lie below them: what a flag says overrules what the file says, on every share of its traffic.

use clap::Args;
use igris_load::dialect::Dialect;
use igris_load::measure::Objective;
use igris_load::workload::{Arrivals, Endpoint, Lengths, Plan, Secret, Share, Span, Tenant, Waits};
use std::path::PathBuf;

/// All of them.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    #[command(flatten)]
    pub(super) rhythm: RhythmArguments,
    #[command(flatten)]
    pub(super) asked: AskArguments,
    #[command(flatten)]
    pub(super) rig: RigArguments,
}

/// Whom to ask, and as whom.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Whom to ask")]
pub(super) struct TargetArguments {
    /// Origin, base or whole URL: http://127.0.0.1:8081, …/v1, …/v1/chat/completions; https:// as well.
    #[arg(long)]
    pub(super) url: Option<String>,
    /// A file of PEM certificates to trust besides the usual roots.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<String>,
    /// Model to ask for; gpt-4o, or a model of the dialect, unless given.
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Wire format: openai, responses, anthropic, gemini, bedrock or cohere.
    #[arg(long, value_parser = dialect)]
    pub(super) dialect: Option<Dialect>,
    /// Access key to show; better in the variable than here, where every process of the machine can read it.
    #[arg(long, env = "IGRIS_LOAD_KEY", hide_env_values = true)]
    pub(super) key: Option<String>,
    /// One of several tenants (repeatable): its name, and the variable that holds its access key. They take turns.
    #[arg(long, value_name = "NAME=ENV", value_parser = tenant)]
    pub(super) tenant: Vec<Tenant>,
}

/// When.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "When (one rhythm; without one, a closed loop)")]
#[group(id = "rhythm")]
pub(super) struct RhythmArguments {
    /// Open loop: so many requests a second, evenly. Latency counts from the planned instant, also while the target stalls.
    #[arg(long, value_name = "PER_SECOND", conflicts_with_all = ["ramp", "steps", "burst", "trace", "concurrency"])]
    pub(super) rate: Option<f64>,
    /// Open loop: a rate that grows or falls evenly: 10..200, or 10..200,over=30s and then on at 200.
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["steps", "burst", "trace", "concurrency"])]
    pub(super) ramp: Option<String>,
    /// Open loop: one rate after the other: 50,100,200,each=10s, or they share --duration.
    #[arg(long, value_name = "RATES", conflicts_with_all = ["burst", "trace", "concurrency"])]
    pub(super) steps: Option<String>,
    /// Open loop: 20..200,every=10s,for=2s is 20 a second, and 200 in the last two seconds of every ten.
    #[arg(long, value_name = "BURSTS", conflicts_with_all = ["trace", "concurrency"])]
    pub(super) burst: Option<String>,
    /// Open loop: the instants and lengths of a recorded trace: BurstGPT, Azure LLM inference, or at_s,prompt_tokens,output_tokens.
    #[arg(long, value_name = "CSV", conflicts_with = "concurrency")]
    pub(super) trace: Option<String>,
    /// How much faster than recorded a trace is replayed; 1 unless given.
    #[arg(long, value_name = "TIMES", requires = "trace")]
    pub(super) speed: Option<f64>,
    /// Requests come as from independent users: a Poisson process of the rate, rather than evenly.
    #[arg(long)]
    pub(super) poisson: bool,
    /// Closed loop: so many requests in flight, always; the next leaves when one has ended.
    #[arg(long, value_name = "N")]
    pub(super) concurrency: Option<usize>,
    /// How long to send, such as 30s or 5m; with --requests, whichever comes first.
    #[arg(long)]
    pub(super) duration: Option<Span>,
    /// Requests at most, every turn of a session counted.
    #[arg(long, value_name = "N")]
    pub(super) requests: Option<u64>,
    /// Requests planned in this first part are sent but not counted.
    #[arg(long, value_name = "DURATION")]
    pub(super) warm_up: Option<Span>,
}

/// What.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What to ask (lengths: 200, uniform:50..400, lognormal:200,0.6, …)")]
pub(super) struct AskArguments {
    /// Ask for streams.
    #[arg(long)]
    pub(super) stream: bool,
    /// Ask for usage at the end of OpenAI streams, so that tokens are counted as the model counts them.
    #[arg(long)]
    pub(super) include_usage: bool,
    /// Bytes of a prompt, about; 200 unless given.
    #[arg(long, value_name = "N", conflicts_with = "prompt_tokens")]
    pub(super) prompt_bytes: Option<u32>,
    /// Tokens of a prompt, about.
    #[arg(long, value_name = "LENGTH")]
    pub(super) prompt_tokens: Option<Lengths>,
    /// Tokens an answer may have.
    #[arg(long, value_name = "LENGTH", conflicts_with = "tokens")]
    pub(super) output_tokens: Option<Lengths>,
    /// The simulator shall answer with so many words: --output-tokens with --simulator-hints.
    #[arg(long, value_name = "N")]
    pub(super) tokens: Option<u32>,
    /// Begin prompts with sim:tokens=N, so that the simulator's answers have exactly the drawn length.
    #[arg(long)]
    pub(super) simulator_hints: bool,
    /// Tokens of a text in front that many requests share, as retrieved documents do.
    #[arg(long, value_name = "LENGTH")]
    pub(super) shared_prefix: Option<Lengths>,
    /// How many such texts there are; 1 unless given.
    #[arg(long, value_name = "N", requires = "shared_prefix")]
    pub(super) shared_prefixes: Option<u32>,
    /// Recorded conversations to take the questions from: JSON as ShareGPT has it.
    #[arg(long, value_name = "JSON")]
    pub(super) conversations: Option<String>,
    /// Turns of a session; each carries what was asked and answered before.
    #[arg(long, value_name = "LENGTH")]
    pub(super) turns: Option<Lengths>,
    /// How long a person thinks before the next turn: 2s, exponential:5s, …
    #[arg(long, value_name = "WAIT")]
    pub(super) think: Option<Waits>,
    /// Tools to offer with every request.
    #[arg(long, value_name = "N")]
    pub(super) tools: Option<u32>,
    /// Makes two runs ask different questions; the same seed asks the same ones at the same instants.
    #[arg(long)]
    pub(super) seed: Option<u64>,
}

/// With what means, and how answers are judged.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Means and judgement")]
pub(super) struct RigArguments {
    /// A plan in a file (TOML, or the JSON result of an earlier run); flags overrule it. There are some in config/load/.
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    /// Connections, and so requests in flight, at most; 1024, opened when needed, in an open loop, and 1 otherwise, unless given.
    #[arg(long, value_name = "N", conflicts_with = "concurrency")]
    pub(super) connections: Option<usize>,
    /// Threads of the tester; 1 unless given.
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// How long one answer may take, connecting included; 30s unless given.
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<Span>,
    /// What an answer must hold to be good (repeatable): ttft<500ms, e2e<2s, tpot<50ms, gap<200ms. Goodput is their share of all planned.
    #[arg(long, value_name = "BOUND")]
    pub(super) slo: Vec<Objective>,
    /// A process, such as the gateway, whose CPU time and memory are watched.
    #[arg(long, value_name = "PID")]
    pub(super) watch_pid: Option<u32>,
    /// Check that every answer is what the simulator sent, but for the gateway's metadata.
    #[arg(long)]
    pub(super) verify: bool,
    /// The model that answers, where the gateway maps the one asked for.
    #[arg(long, value_name = "MODEL", requires = "verify")]
    pub(super) verify_model: Option<String>,
}

// === impl PlanArguments ===

impl PlanArguments {
    /// The plan that was meant, checked.
    ///
    /// # Errors
    /// The scenario cannot be read, or something is wrong with the plan: each problem with its remedy.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let plan = self.unchecked()?;
        plan.validate()?;
        Ok(plan)
    }

    /// The same unchecked, for commands that set more of it.
    ///
    /// # Errors
    /// The scenario or a rhythm cannot be read.
    pub(super) fn unchecked(&self) -> anyhow::Result<Plan> {
        let mut plan = match &self.rig.scenario {
            Some(path) => Plan::read(path)?,
            None => Plan::default(),
        };
        let chosen = self.rig.scenario.is_some() && !self.rhythm.is_given();
        self.target.apply(&mut plan)?;
        self.rhythm.apply(&mut plan).map_err(anyhow::Error::msg)?;
        for share in &mut plan.traffic {
            self.asked.apply(share);
        }
        if self.rhythm.trace.is_some() {
            self.asked.as_recorded(&mut plan);
        }
        plan.simulator_hints |= self.asked.simulator_hints || self.asked.tokens.is_some();
        plan.seed = self.asked.seed.unwrap_or(plan.seed);
        self.rig.apply(&mut plan);
        let connections = self.rig.connections.or(self.rhythm.concurrency);
        plan.connections = connections.unwrap_or(plan.connections);
        Ok(plan.settled(chosen || connections.is_some()))
    }
}

impl TargetArguments {
    fn apply(&self, plan: &mut Plan) -> anyhow::Result<()> {
        if let Some(url) = &self.url {
            let several = plan.endpoints.len();
            anyhow::ensure!(
                several <= 1,
                "the scenario has {several} endpoints; change them in the file rather than with --url"
            );
            let mut endpoint = plan.endpoints.pop().unwrap_or_default();
            endpoint.url.clone_from(url);
            plan.endpoints = vec![endpoint];
        }
        if let Some(ca) = &self.ca {
            plan.endpoints.iter_mut().for_each(|endpoint: &mut Endpoint| endpoint.ca = Some(ca.clone()));
        }
        for share in &mut plan.traffic {
            if let Some(dialect) = self.dialect {
                if share.model == share.dialect.default_model() {
                    share.model = dialect.default_model().into();
                }
                share.dialect = dialect;
            }
            if let Some(model) = &self.model {
                share.model.clone_from(model);
            }
        }
        if !self.tenant.is_empty() {
            plan.tenants.clone_from(&self.tenant);
        } else if let Some(key) = &self.key {
            if plan.tenants.is_empty() {
                plan.tenants.push(Tenant::default());
            }
            let only = plan.tenants.len() == 1;
            let unnamed = |tenant: &&mut Tenant| only || tenant.key == Secret::default();
            plan.tenants.iter_mut().filter(unnamed).for_each(|tenant| tenant.key = Secret::typed(key));
        }
        Ok(())
    }
}

impl RhythmArguments {
    /// Whether a flag says how requests leave.
    fn is_given(&self) -> bool {
        let texts = [&self.ramp, &self.steps, &self.burst, &self.trace];
        self.rate.is_some() || self.concurrency.is_some() || texts.into_iter().any(Option::is_some)
    }

    fn apply(&self, plan: &mut Plan) -> Result<(), String> {
        plan.duration = self.duration.or(plan.duration);
        plan.requests = self.requests.or(plan.requests);
        plan.warm_up = self.warm_up.unwrap_or(plan.warm_up);
        if let Some(rate) = self.rate {
            plan.arrivals = Arrivals::Constant { rate };
        } else if let Some(text) = &self.ramp {
            plan.arrivals = Arrivals::ramp(text, plan.duration)?;
        } else if let Some(text) = &self.steps {
            plan.arrivals = Arrivals::steps(text, plan.duration)?;
        } else if let Some(text) = &self.burst {
            plan.arrivals = Arrivals::bursts(text)?;
        } else if let Some(file) = &self.trace {
            plan.arrivals = Arrivals::Trace { file: file.clone(), speed: self.speed.unwrap_or(1.0) };
        } else if self.concurrency.is_some() {
            plan.arrivals = Arrivals::Closed;
        }
        if self.poisson {
            plan.arrivals = plan.arrivals.clone().randomised().map_err(|reason| format!("--poisson: {reason}"))?;
        }
        Ok(())
    }
}

impl AskArguments {
    fn apply(&self, share: &mut Share) {
        share.stream |= self.stream;
        share.include_usage |= self.include_usage;
        if let Some(bytes) = self.prompt_bytes {
            (share.prompt_bytes, share.prompt_tokens) = (bytes, None);
        }
        replace(&mut share.prompt_tokens, &self.prompt_tokens);
        replace(&mut share.output_tokens, &self.output_tokens);
        replace(&mut share.output_tokens, &self.tokens.map(Lengths::from));
        replace(&mut share.shared_prefix, &self.shared_prefix);
        share.shared_prefixes = self.shared_prefixes.unwrap_or(share.shared_prefixes);
        replace(&mut share.conversations, &self.conversations);
        replace(&mut share.turns, &self.turns);
        replace(&mut share.think, &self.think);
        share.tools = self.tools.unwrap_or(share.tools);
    }

    /// A trace on the command line brings its lengths, unless a flag has others.
    fn as_recorded(&self, plan: &mut Plan) {
        let recorded = || "recorded".parse::<Lengths>().ok();
        for share in &mut plan.traffic {
            if self.prompt_tokens.is_none() && self.prompt_bytes.is_none() && self.conversations.is_none() {
                share.prompt_tokens = recorded();
            }
            if self.output_tokens.is_none() && self.tokens.is_none() {
                share.output_tokens = recorded();
            }
        }
    }
}

impl RigArguments {
    fn apply(&self, plan: &mut Plan) {
        plan.threads = self.threads.unwrap_or(plan.threads);
        plan.timeout = self.timeout.unwrap_or(plan.timeout);
        if !self.slo.is_empty() {
            plan.objectives.clone_from(&self.slo);
        }
        plan.watch_pid = self.watch_pid.or(plan.watch_pid);
        plan.verify |= self.verify;
        replace(&mut plan.verify_model, &self.verify_model);
    }
}

fn replace<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        place.clone_from(given);
    }
}

fn dialect(text: &str) -> Result<Dialect, String> {
    text.parse()
}

fn tenant(text: &str) -> Result<Tenant, String> {
    let how =
        || format!("{text:?} is no tenant such as acme=ACME_KEY, a name and the variable that holds its access key");
    let (name, env) = text.split_once('=').filter(|(name, env)| !name.is_empty() && !env.is_empty()).ok_or_else(how)?;
    Ok(Tenant { name: name.into(), key: Secret::from_env(env), weight: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: PlanArguments,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("igris-load").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|wrong| wrong.to_string())?;
        line.plan.plan().map_err(|wrong| wrong.to_string())
    }

    const URL: &str = "--url http://127.0.0.1:8081/v1/chat/completions";

    #[test]
    fn the_first_line_of_the_manual_works() {
        let made = plan(&format!("{URL} --rate 200 --duration 30s")).expect("a good line");
        assert_eq!(made.arrivals, Arrivals::Constant { rate: 200.0 });
        assert_eq!((made.connections, made.warm_up, made.threads), (1_024, Span::default(), 1));
        assert_eq!(made.planned_requests(), Some(6_000));
        assert_eq!((made.tenants.len(), made.endpoints.len()), (1, 1));
        let closed = plan(&format!("{URL} --requests 10")).expect("a good line");
        assert_eq!((closed.arrivals, closed.connections), (Arrivals::Closed, 1));
        let closed = plan(&format!("{URL} --concurrency 8 --duration 5s")).expect("a good line");
        assert_eq!((closed.arrivals, closed.connections), (Arrivals::Closed, 8));
        let claude = plan(&format!("{URL} --requests 1 --dialect anthropic")).expect("a good line");
        assert_eq!(claude.traffic[0].model, Dialect::Anthropic.default_model());
        let chosen = plan(&format!("{URL} --requests 1 --dialect anthropic --model mine")).expect("a good line");
        assert_eq!((chosen.traffic[0].dialect, chosen.traffic[0].model.as_str()), (Dialect::Anthropic, "mine"));
    }

    #[test]
    fn rhythms_and_lengths_are_understood() {
        let made = plan(&format!("{URL} --ramp 10..200 --poisson --duration 30s --connections 7")).expect("a ramp");
        assert!(matches!(made.arrivals, Arrivals::Ramp { poisson: true, .. }));
        assert_eq!(made.connections, 7);
        assert!(plan(&format!("{URL} --steps 5,10,each=1s")).is_ok(), "steps end by themselves");
        let made =
            plan(&format!("{URL} --rate 5 --duration 1s --tokens 9 --turns geometric:3 --think 1s --slo ttft<1s"));
        let made = made.expect("a session");
        assert_eq!(made.traffic[0].output_tokens, Some(9.into()));
        assert!(made.simulator_hints && made.objectives.len() == 1);
    }

    #[test]
    fn wrong_use_names_the_fix() {
        let said = |line: &str| plan(&format!("{URL} {line}")).expect_err(line);
        assert!(said("--rate 5").contains("--duration 30s"), "{}", said("--rate 5"));
        assert!(said("").contains("nothing bounds the run; add --duration"), "{}", said(""));
        assert!(said("--rate 0 --duration 1s").contains("above zero"));
        assert!(said("--rate 5 --ramp 1..2 --duration 1s").contains("cannot be used with"));
        assert!(said("--ramp 1..2").contains("--duration"), "{}", said("--ramp 1..2"));
        assert!(said("--poisson --requests 5").contains("closed loop"));
        assert!(said("--think 1s --requests 5").contains("set turns"));
        assert!(
            said("--requests 5 --dialect esperanto").contains("anthropic"),
            "{}",
            said("--requests 5 --dialect esperanto")
        );
        assert!(said("--requests 5 --prompt-tokens gauss:1").contains("there are fixed"));
        assert!(said("--requests 5 --tenant acme").contains("acme=ACME_KEY"));
        assert!(plan("--requests 1 --url 127.0.0.1:80").expect_err("no scheme").contains("http://127.0.0.1:8081"));
        assert!(plan("--requests 1").expect_err("no target").contains("--url"));
    }

    #[test]
    fn keys_stay_out_of_what_is_saved() {
        let made = plan(&format!("{URL} --requests 1 --key sk-secret-000000000000")).expect("a key");
        assert_eq!(made.tenants[0].key.text, "sk-secret-000000000000");
        assert!(!made.resolved().contains("sk-secret") && made.resolved().contains("IGRIS_LOAD_KEY"));
    }
}
