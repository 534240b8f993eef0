//! `igris-load run`.

use super::outputs::OutputArguments;
use super::plan::PlanArguments;
use super::signals::Signals;
use super::{Fault, Verdict};
use clap::Args;
use igris_load::engine::Stop;
use igris_load::live::View;
use igris_load::report::Report;
use std::path::PathBuf;

/// Sends requests on a schedule or in a closed loop, and reports latencies, tokens and outcomes.
///
/// On a schedule (an open loop) every request has a planned instant that is fixed beforehand, and its clock starts then,
/// whether or not the target was ready for it. In a closed loop the next request leaves when one has ended.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = MANUAL)]
pub(super) struct RunArguments {
    #[command(flatten)]
    plan: PlanArguments,
    #[command(flatten)]
    outputs: OutputArguments,
    /// Write the plan with everything filled in to this file (`-` is standard output) and send nothing; it reruns exactly.
    #[arg(long, value_name = "FILE", help_heading = "What to show and to write")]
    write_plan: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  igris-load run --url http://127.0.0.1:8081/v1/chat/completions --rate 200 --duration 30s
  igris-load run --url http://127.0.0.1:8081 --rate 20 --poisson --duration 1m --stream --include-usage --slo 'ttft<500ms'
  igris-load run --scenario config/load/chat.toml --url http://127.0.0.1:9090

  --help says more: every rhythm and length, what the figures mean, and the exit codes.";

const MANUAL: &str = "\
Examples:
  Two hundred requests a second for half a minute, and the result as a page:
    igris-load run --url http://127.0.0.1:8081/v1/chat/completions --rate 200 --duration 30s --html result.html
  Independent users who read streams, and how many answers were good enough:
    igris-load run --url http://127.0.0.1:8081 --rate 20 --poisson --duration 1m --stream --include-usage \\
        --prompt-tokens lognormal:200,0.6 --output-tokens uniform:50..400 --slo 'ttft<500ms' --slo 'tpot<50ms'
  As much as sixteen polite clients get through:
    igris-load run --url http://127.0.0.1:8081 --concurrency 16 --requests 10000
  A day of production, ten times as fast:
    igris-load run --url http://127.0.0.1:8081 --trace azure.csv --speed 10 --duration 10m
  Two tenants, sessions of about three turns:
    igris-load run --url http://127.0.0.1:8081 --tenant acme=ACME_KEY --tenant bolt=BOLT_KEY --rate 5 --duration 1m \\
        --turns geometric:3 --think exponential:2s
  Without a provider: the mock is one.
    igris-load mock & igris-load run --url http://127.0.0.1:9090 --rate 200 --duration 10s --tokens 50 --stream --verify

Lengths:
  200 · uniform:50..400 · normal:200,50 · lognormal:200,0.6 · lognormal:200,p99=900 · exponential:200 · geometric:3 ·
  zipf:2000,1.1 · list:10,20,400 · recorded; and then ,min=10,max=4000. Waits are the same with units: exponential:3s.

What is reported:
  ttft        planned instant to the first generated token, on any channel
  e2e         planned instant to the last byte
  tpot        first to last token, by the number of tokens the answer states
  gap         between two events with tokens of one stream
  send delay  planned instant to first byte sent: the tester's own lateness and the wait for a connection
  goodput     answers that held every --slo, among all that were planned
  outcomes    exactly one for each request: ok, rate_limited, refused, server_error, timeout, truncated, …
  stamp       VALID, DEGRADED or INVALID: whether the tester itself was fit to measure, and why not
  Figures are defined in docs/load-metrics.md, plans in docs/load-workload.md.

Exit codes:
  0 fine · 1 requests failed, or the program did · 2 wrong usage · 3 an objective or threshold was missed ·
  4 there were --slo or --threshold to judge by, and the rig was not fit to measure; without them the stamp alone says so

Ctrl-C ends the run and reports what there is; a second one ends the program at once.";

impl RunArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let plan = self.plan.plan().map_err(Fault::Usage)?;
        if let Some(path) = &self.write_plan {
            super::outputs::write(path, plan.resolved()).map_err(Fault::Failure)?;
            return Ok(Verdict::Fine);
        }
        let stop = Stop::default();
        Signals::listen().and_then(|signals| signals.end(stop.clone())).map_err(Fault::Failure)?;
        let view = View::start(self.outputs.live(), &plan, &stop);
        let measured = Report::measure(&plan, &stop, view.on_second());
        view.finish();
        self.outputs.deliver(measured.map_err(Fault::Failure)?)
    }
}
