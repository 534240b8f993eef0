//! The three books side by side: what the providers saw, what the journal closed, what the store added up.
//!
//! A request is known to its provider by our `x-request-id` and by the key, and to the journal by exchange, provider and tenant. An exchange
//! may ask a provider more than once, so these are compared as groups: as many receipts as closes, but for closes whose request nobody ever
//! read, which must say so themselves (no status, nothing used by the provider's word).

use super::house::{House, PROVIDERS, TENANTS, Tenant, tenant_of};
use crate::support::{bare, bearer, wait_until};
use igris::domain::id::TenantId;
use igris::domain::money::Money;
use igris::domain::token::UsageSource;
use igris::ledger::{Entry, Reader};
use igris::report::{AttemptReport, Outcome};
use igris::store::{Store, UsageFilter};
use igris_load::simulator::{self, Receipt};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The longest that the books may take to take in what the journal has.
const BOOKED_WITHIN: Duration = Duration::from_secs(30);

/// Sums that the journal and the store must agree on to the last unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub attempts: u64,
    pub estimated: u64,
    pub input: u64,
    pub output: u64,
    pub cached: u64,
    pub cost: Money,
}

/// The journal, read from its first record to its last.
pub struct Journal {
    pub closes: Vec<AttemptReport>,
    /// Attempts that were begun.
    pub intents: u64,
    /// Intents that were written once more, because a sync had failed (rule L8).
    pub restated: u64,
}

/// What one group of receipts and closes has in common: the exchange, the provider, the tenant.
type Group = (String, usize, &'static str);

/// What was found beside the sums.
#[derive(Debug, Default)]
pub struct Findings {
    pub receipts: u64,
    pub closes: u64,
    /// Closes whose request no provider read, by how they ended.
    pub unread: BTreeMap<&'static str, u64>,
    /// Closes by where their figure is from.
    pub sources: BTreeMap<&'static str, u64>,
    /// Answers that were whole when their provider broke off, between their last word and the figure for them.
    pub without_figure: u64,
    /// Closes whose answer was cut, with what the provider had said at its beginning.
    pub unfinished: u64,
    /// Tokens out of estimated closes, and what the providers produced for the same ones.
    pub estimated_output: u64,
    pub produced_output: u64,
}

/// Ends the process once more, lets the next one close what was open, and compares all three.
pub fn balance(house: &mut House) -> Findings {
    let usual = house.gateway.home().join("data/ledger");
    balance_at(house, &usual)
}

/// The same with the journal at another place.
pub fn balance_at(house: &mut House, ledger: &Path) -> Findings {
    house.gateway.restart();
    house.settle();
    let data = house.gateway.home().join("data");
    let journal = Journal::read(ledger);
    for tenant in TENANTS {
        let closed = journal.sum(tenant.id);
        let what = format!("{}: the books have {} attempts", tenant.id, closed.attempts);
        wait_until(BOOKED_WITHIN, &what, || told(house, tenant).0 >= closed.attempts);
        let (attempts, input, output, dollars) = told(house, tenant);
        assert_eq!((attempts, input, output), (closed.attempts, closed.input, closed.output), "{}", tenant.id);
        assert!((dollars - closed.cost.to_usd()).abs() < 1e-9, "{}: {dollars} and {}", tenant.id, closed.cost);
    }
    house.gateway.kill();
    for tenant in TENANTS {
        let (closed, added) = (journal.sum(tenant.id), rollup(&data, tenant.id));
        println!("{:<8} {closed}", tenant.id);
        assert_eq!(closed, added, "{}: journal and rollup", tenant.id);
    }
    let findings = compare(house, &journal);
    println!("{} intents, {} written again; {findings:?}", journal.intents, journal.restated);
    let proof = proven(house);
    assert_eq!(proof["attempts"].as_u64(), Some(journal.intents), "{proof:#}");
    for (name, simulator) in &house.simulators {
        assert_eq!(simulator.truth().violations(), [], "{name}");
    }
    let unread: u64 = findings.unread.values().sum();
    assert_eq!(findings.receipts + unread, findings.closes, "every request is accounted for");
    findings
}

impl Sum {
    fn add(&mut self, close: &AttemptReport) {
        self.attempts += 1;
        self.estimated += u64::from(close.usage_source == UsageSource::Estimated);
        self.input += close.usage.input;
        self.output += close.usage.output;
        self.cached += close.usage.cached_input;
        self.cost += close.cost.unwrap_or_default();
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempts, estimated, input, output, cached, cost } = self;
        write!(out, "{attempts} attempts ({estimated} estimated), {input} in ({cached} cached), {output} out, ${cost}")
    }
}

// === impl Journal ===

impl Journal {
    /// Reads all lanes. Each attempt that was begun is closed exactly once, after it was begun (rule L1).
    pub fn read(directory: &Path) -> Self {
        let mut reader = Reader::new(directory, None);
        let mut begun: BTreeMap<u128, u32> = BTreeMap::new();
        let mut closes = Vec::new();
        for lane in reader.lanes().expect("the journal's directory can be read") {
            let mut expected = 0;
            let read = reader.read(&lane, 0, usize::MAX, &mut |number, entry| {
                expected += 1;
                assert_eq!(number, expected, "lane {lane} has its numbers in order");
                match entry {
                    Entry::Intent(intent) => *begun.entry(intent.report.attempt.bits()).or_default() += 1,
                    Entry::Close(close) => closes.push(close),
                    _ => {}
                }
            });
            read.unwrap_or_else(|fault| panic!("lane {lane}: {fault}"));
        }
        let mut closed: BTreeMap<u128, u32> = BTreeMap::new();
        closes.iter().for_each(|close| *closed.entry(close.attempt.bits()).or_default() += 1);
        let twice = closed.iter().find(|(_, times)| **times != 1);
        assert_eq!(twice, None, "no attempt is closed twice");
        let open = begun.keys().find(|attempt| !closed.contains_key(attempt));
        assert_eq!(open, None, "no attempt stays open");
        let unknown = closed.keys().find(|attempt| !begun.contains_key(attempt));
        assert_eq!(unknown, None, "no close without its intent");
        let restated = begun.values().map(|times| u64::from(times - 1)).sum();
        Self { closes, intents: begun.len() as u64, restated }
    }

    pub fn sum(&self, tenant: &str) -> Sum {
        let mut sum = Sum::default();
        self.closes.iter().filter(|close| close.tenant.as_str() == tenant).for_each(|close| sum.add(close));
        sum
    }
}

// === The store ===

/// What the store has for a tenant. The gateway is not running: its files are looked at in a copy.
pub fn rollup(data: &Path, tenant: &str) -> Sum {
    let copy = data.with_file_name("copy");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir(&copy).expect("the home folder can be written to");
    for name in ["igris.db", "igris.db-wal"] {
        let from = data.join(name);
        if from.exists() {
            fs::copy(&from, copy.join(name)).expect("a file can be copied");
        }
    }
    let store = Store::open(&copy.join("igris.db")).expect("opened after a kill");
    let mut sum = Sum::default();
    let filter = UsageFilter { hours: 0..1 << 40 };
    let read = store.for_each_usage(&TenantId::new(tenant), &filter, |row| {
        sum.attempts += row.attempts;
        sum.estimated += row.estimated;
        sum.input += row.input_tokens;
        sum.output += row.output_tokens;
        sum.cached += row.cached_tokens;
        sum.cost += row.cost;
    });
    read.expect("the rollup can be read");
    sum
}

/// What a tenant is told: attempts, tokens in and out, dollars.
pub fn told(house: &House, tenant: Tenant) -> (u64, u64, u64, f64) {
    let path = format!("/v1/tenants/{}/usage?period=month", tenant.id);
    let answer = house.gateway.ask(&bare("GET", &path, &bearer(tenant.access_key)));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let page = answer.json();
    let number = |member: &str| page[member].as_u64().unwrap_or_else(|| panic!("no {member} in {page}"));
    let cost = page["cost_usd"].as_f64().expect("a number");
    (number("attempts"), number("input_tokens"), number("output_tokens"), cost)
}

/// What `igris ledger verify` finds in the files of a gateway that does not run.
fn proven(house: &House) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    command.args(["ledger", "verify", "--json", "--data-dir"]).arg(house.gateway.home().join("data"));
    command.arg("--config").arg(house.gateway.home().join("igris.toml"));
    let output = command.output().expect("the binary runs");
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(output.status.success() && proof["whole"] == true && proof["chain"] == true, "{proof:#}");
    for (tenant, sides) in proof["tenants"].as_object().expect("tenants") {
        assert_eq!(sides["journal"], sides["books"], "{tenant}");
    }
    proof
}

// === Truth against journal ===

/// Holds every receipt of the providers against the closes, and every close against the receipts.
pub fn compare(house: &House, journal: &Journal) -> Findings {
    let mut groups: BTreeMap<Group, (Vec<Receipt>, Vec<&AttemptReport>)> = BTreeMap::new();
    let mut findings = Findings::default();
    for (number, (name, simulator)) in house.simulators.iter().enumerate() {
        let (receipts, lost) = simulator.truth().receipts();
        assert_eq!(lost, 0, "{name} kept every receipt");
        assert_eq!(receipts.len() as u64, simulator.truth().counts().requests, "every request to {name} had its id");
        for receipt in receipts {
            let tenant = tenant_of(&receipt.account.key, number).expect("a key that we gave out");
            findings.receipts += 1;
            groups.entry((receipt.id.to_string(), number, tenant)).or_default().0.push(receipt);
        }
    }
    for close in &journal.closes {
        let provider = PROVIDERS.iter().position(|(name, _)| *name == close.provider.as_str()).expect("one of ours");
        let tenant = TENANTS.iter().find(|tenant| tenant.id == close.tenant.as_str()).expect("one of ours").id;
        findings.closes += 1;
        *findings.sources.entry(source_name(close.usage_source)).or_default() += 1;
        groups.entry((close.exchange.to_string(), provider, tenant)).or_default().1.push(close);
    }
    for (group, (receipts, closes)) in groups {
        findings.add(&group, receipts, &closes);
    }
    findings
}

impl Findings {
    fn add(&mut self, group: &Group, mut receipts: Vec<Receipt>, closes: &[&AttemptReport]) {
        let what = || format!("{group:?}: {receipts:#?} against {closes:#?}");
        assert!(receipts.len() <= closes.len(), "a request without a close of its own: {}", what());
        let answered = closes.iter().filter(|close| close.status > 0).count();
        assert!(answered <= receipts.len(), "an answer to a request that nobody read: {}", what());
        let unread = closes.len().saturating_sub(receipts.len());
        let mut silent: Vec<_> = closes.iter().filter(|close| close.status == 0).collect();
        silent.sort_by_key(|close| !may_be_unread(close.outcome));
        for close in silent.into_iter().take(unread) {
            assert!(may_be_unread(close.outcome), "its request must have been read: {close:?}");
            assert_ne!(close.usage_source, UsageSource::Provider, "nobody said so: {close:?}");
            *self.unread.entry(close.outcome.name()).or_default() += 1;
        }
        // An answer that its provider ended has its figure. One of a single word is whole before the third event is followed by a cut one,
        // where it is said again in another dialect: that half event was its figure.
        for close in closes.iter().filter(|close| (close.outcome, close.status) == (Outcome::Completed, 200)) {
            if close.usage_source != UsageSource::Provider {
                assert!(receipts.iter().any(lost_its_figure), "an answer that ended has its figure: {}", what());
                self.without_figure += 1;
            }
        }
        // What a provider's word is behind must be that provider's word.
        for close in closes.iter().filter(|close| close.usage_source == UsageSource::Provider) {
            let place = receipts.iter().position(|receipt| says(receipt, close, 0));
            // An answer that did not end here has the last word that came: Anthropic states one token out as it begins. Its provider may have
            // written all of it before it knew that nobody reads.
            let is_cut = close.outcome != Outcome::Completed;
            let begun = || {
                receipts.iter().position(|receipt| {
                    (is_unfinished(receipt) && says(receipt, close, 1)) || (is_cut && began_with(receipt, close))
                })
            };
            let place = place.or_else(|| begun().inspect(|_| self.unfinished += 1));
            let place = place.unwrap_or_else(|| panic!("no receipt says so: {close:?}: {receipts:?}"));
            receipts.swap_remove(place);
        }
        let estimated = closes.iter().filter(|close| close.usage_source == UsageSource::Estimated);
        self.estimated_output += estimated.map(|close| close.usage.output).sum::<u64>();
        let rest = receipts.iter().map(|receipt| u64::from(receipt.completion_tokens)).sum::<u64>();
        self.produced_output += rest;
    }
}

/// Whether a provider may never have read the request of an attempt that ended so without an answer.
fn may_be_unread(outcome: Outcome) -> bool {
    use Outcome::{Broken, ClientGone, Interrupted, Superseded, TimedOut, Unreachable};
    matches!(outcome, Unreachable | Interrupted | Superseded | ClientGone | TimedOut | Broken)
}

/// Whether a close repeats what a provider billed, but for so many tokens out.
fn says(receipt: &Receipt, close: &AttemptReport, but: u64) -> bool {
    let (prompt, completion) = (u64::from(receipt.prompt_tokens), u64::from(receipt.completion_tokens));
    prompt == close.usage.input && (completion..=completion + but).contains(&close.usage.output)
}

/// Whether a close repeats what Anthropic says as a stream begins, none of whose words came.
fn began_with(receipt: &Receipt, close: &AttemptReport) -> bool {
    let is_beginning = close.provider.as_str() == "anthropic" && close.usage.output == 1 && close.first_token_us == 0;
    is_beginning && receipt.stream && u64::from(receipt.prompt_tokens) == close.usage.input
}

fn is_unfinished(receipt: &Receipt) -> bool {
    receipt.stream && receipt.status == 200 && receipt.outcome != simulator::Outcome::Completed
}

/// Whether a provider said everything but what it costs: a role, one word, the reason to end, and half an event of usage.
fn lost_its_figure(receipt: &Receipt) -> bool {
    let cut = simulator::Outcome::Faulted("cut@3".to_owned());
    receipt.stream && receipt.status == 200 && receipt.completion_tokens == 1 && receipt.outcome == cut
}

fn source_name(source: UsageSource) -> &'static str {
    match source {
        UsageSource::Provider => "provider",
        UsageSource::Estimated => "estimated",
        UsageSource::Unknown => "unknown",
    }
}
