//! Simulated providers: a server that is strict where the real one is, fails when told to, and remembers everything.
//!
//! Its answer to a request is a pure function of that request, so a tester can check every byte that came through a gateway.
//! It runs in threads of its own and stops when dropped.
//!
//! ```
//! let provider = igris_load::Simulator::builder().keys(["sk-test-0001"]).start().expect("a loopback port");
//! assert!(provider.base_url().ends_with("/v1"));
//! assert_eq!(provider.truth().counts().requests, 0);
//! ```
//!
//! Faults are written in words, one rule to a line; see [`FaultRule::parse_all`]:
//!
//! ```
//! use igris_load::simulator::FaultRule;
//!
//! let rules = FaultRule::parse_all("every 10th -> 429 retry-after=2\n5% of stream model=gpt-4* -> stall after 3 events");
//! let rules = rules.expect("two rules");
//! let provider = igris_load::Simulator::builder().rules(rules).start().expect("a loopback port");
//! assert_eq!(provider.behaviour().faults.len(), 2);
//! ```
//!
//! It is OpenAI unless told to speak another dialect, or several at once: see [`Builder::dialect`].

mod accounts;
mod anthropic;
mod azure;
mod bedrock;
mod cohere;
mod control;
mod denial;
mod fault;
mod gemini;
mod grammar;
mod journal;
mod keyring;
mod latency;
mod link;
mod manners;
mod members;
mod multipart;
mod openai;
mod plan;
mod play;
mod quota;
mod rule;
mod script;
mod seal;
mod serve;
mod shape;
mod shelf;
mod socket;
mod stamps;
mod surface;
mod text;
mod threads;
#[cfg(feature = "tls")]
mod tls;
mod truth;
mod wire;

pub use accounts::{Account, AccountCounts, Receipt};
pub use fault::{Directives, Fault, duration};
pub use grammar::RuleError;
pub use keyring::KeyTerms;
pub use latency::{Latency, Recording};
pub use members::GATEWAY_FIELDS;
pub use openai::{Answer, Body, ChatRequest, Refusal, Reply};
pub use quota::Quota;
pub use rule::{Behaviour, FaultRule, When};
pub use stamps::{PAGE_STAMPS, STAMPS_KEPT, STAMPS_PATH, Stamp, now as monotonic_ns};
pub use surface::Surface;
pub use truth::{Counts, KeyCounts, Outcome, Record, Truth, Violation, masked};

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The present behaviour, and since when it is so.
#[derive(Clone)]
struct Current {
    behaviour: Arc<Behaviour>,
    since: Instant,
}

/// What all connections of one simulator share.
struct Site {
    name: String,
    seed: u64,
    /// At least one; the first words what nobody claims.
    surfaces: Vec<Surface>,
    prefixes: Vec<String>,
    /// Empty: any model.
    models: Vec<String>,
    keys: keyring::Keyring,
    /// Access key ids with their secrets; with any, signatures are verified and other ids refused.
    secrets: Vec<(String, String)>,
    current: RwLock<Current>,
    idle: Duration,
    /// Whether paths below `/_mock/` are answered; see [`Builder::control`].
    control: bool,
    started: Instant,
    truth: Arc<Truth>,
    shelf: shelf::Shelf,
    stamps: stamps::Stamps,
    buckets: quota::Buckets,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Site {
    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_behaviour(&self, behaviour: Behaviour) {
        let current = Current { behaviour: Arc::new(behaviour), since: Instant::now() };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// Whose request this is, by its path.
    fn surface_of(&self, head: &wire::Head) -> Surface {
        let mut served = surface::ALL.into_iter().filter(|surface| self.surfaces.contains(surface));
        served.find(|surface| surface.claims(self, head)).unwrap_or(self.surfaces[0])
    }

    /// Whether a key is accepted at that instant. An access key whose secret is known needs no terms.
    fn accepts(&self, key: &str, at: Instant) -> bool {
        let is_signer = || self.secrets.iter().any(|(id, _)| id == key) && !self.keys.names(key);
        !key.is_empty() && (self.keys.accepts(key, at) || is_signer())
    }

    fn knows_model(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|known| known == model)
    }
}

/// A running simulator.
pub struct Simulator {
    addr: SocketAddr,
    encrypted: bool,
    site: Arc<Site>,
    threads: threads::Threads,
}

impl Simulator {
    /// A simulated OpenAI named `openai` on a free loopback port that knows a few models and takes any key.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client of its first surface is configured with: for OpenAI what it takes for `https://api.openai.com/v1`, for
    /// all others the bare origin.
    pub fn base_url(&self) -> String {
        self.base_url_of(self.site.surfaces[0])
    }

    /// What a client of one of its surfaces is configured with.
    pub fn base_url_of(&self, surface: Surface) -> String {
        format!("{}{}", self.origin(), surface.base(&self.site))
    }

    /// Scheme, address and port.
    pub fn origin(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The log of what happened.
    pub fn truth(&self) -> &Truth {
        &self.site.truth
    }

    /// The log, to keep after the simulator has stopped.
    pub fn truth_shared(&self) -> Arc<Truth> {
        Arc::clone(&self.site.truth)
    }

    /// The stamps of requests that named themselves (`sim:id=N`), from number `since` on, in the order in which their answers ended;
    /// and the number of the next one. The last [`STAMPS_KEPT`] are kept.
    pub fn stamps(&self, since: u64) -> (Vec<Stamp>, u64) {
        self.site.stamps.since(since, STAMPS_KEPT)
    }

    /// The present behaviour.
    pub fn behaviour(&self) -> Behaviour {
        Behaviour::clone(&self.site.current().behaviour)
    }

    /// Replaces the behaviour for all requests that arrive from now on; times in its rules count from now.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.site.set_behaviour(behaviour);
    }

    /// Replaces the keys that are accepted, from the next request on; none means any.
    pub fn set_keys<K: Into<String>>(&self, keys: impl IntoIterator<Item = K>) {
        self.site.keys.replace(keys.into_iter().map(KeyTerms::always).collect(), Instant::now());
    }

    /// Accepts a key from now on.
    pub fn accept_key(&self, key: &str) {
        self.schedule_key(KeyTerms::always(key));
    }

    /// Refuses a key from now on: no request that is read after this returns is accepted with it.
    pub fn refuse_key(&self, key: &str) {
        self.schedule_key(KeyTerms::never(key));
    }

    /// Accepts a key by these terms, which count from now.
    pub fn schedule_key(&self, terms: KeyTerms) {
        self.site.keys.change(terms, Instant::now());
    }

    /// Whether a key was accepted without a break from one instant to another: then a request that began and ended between them had no
    /// reason to fail for want of a key.
    pub fn key_was_good(&self, key: &str, from: Instant, until: Instant) -> bool {
        self.site.keys.accepted_throughout(key, from, until)
    }

    /// Stops listening and closes every connection; returns when all threads have ended. Dropping does the same.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.threads.stop();
    }
}

/// What a simulator shall be before it starts.
#[derive(Clone, Debug)]
pub struct Builder {
    name: Option<String>,
    listen: SocketAddr,
    threads: usize,
    seed: u64,
    surfaces: Vec<Surface>,
    prefixes: Vec<String>,
    models: Option<Vec<String>>,
    keys: Vec<KeyTerms>,
    secrets: Vec<(String, String)>,
    behaviour: Behaviour,
    idle: Duration,
    keep_records: bool,
    keep_bodies: bool,
    receipts: Option<truth::Receipts>,
    journal: Option<(PathBuf, u64)>,
    control: bool,
    tls: Option<(String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 1,
            seed: 1,
            surfaces: Vec::new(),
            prefixes: Vec::new(),
            models: None,
            keys: Vec::new(),
            secrets: Vec::new(),
            behaviour: Behaviour::default(),
            idle: Duration::from_secs(600),
            keep_records: true,
            keep_bodies: false,
            receipts: None,
            journal: None,
            control: false,
            tls: None,
        }
    }
}

impl Builder {
    /// The name in place of its first surface's, shown where an answer's head names an organization.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The address to listen on; port 0 picks a free one.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Serving threads, each with its own event loop.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count.clamp(1, 64);
        self
    }

    /// The seed of all chance: drawn latencies and faults by probability. Answers do not depend on it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// One more surface to serve; without any it is OpenAI's. The first names the base URL.
    #[must_use]
    pub fn dialect(mut self, surface: Surface) -> Self {
        if !self.surfaces.contains(&surface) {
            self.surfaces.push(surface);
        }
        self
    }

    /// One more path prefix of OpenAI's surface; the first replaces `/v1` and names the base URL.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefixes.push(prefix.into().trim_end_matches('/').to_owned());
        self
    }

    /// The models it has, in place of a few of each surface; none means any.
    #[must_use]
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// The keys it accepts; none means any, but there must be one. Each surface looks for them where its provider does.
    #[must_use]
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = keys.into_iter().map(KeyTerms::always).collect();
        self
    }

    /// One more key that it accepts, at certain times, which count from the start.
    #[must_use]
    pub fn key(mut self, terms: KeyTerms) -> Self {
        self.keys.push(terms);
        self
    }

    /// One more access key of Bedrock with its secret: signatures are verified then, and no other id is accepted.
    #[must_use]
    pub fn secret(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.push((id.into(), secret.into()));
        self
    }

    /// Wait before the first byte.
    #[must_use]
    pub fn latency(mut self, latency: impl Into<Latency>) -> Self {
        self.behaviour.latency = latency.into();
        self
    }

    /// Wait between events of a stream.
    #[must_use]
    pub fn event_gap(mut self, gap: Duration) -> Self {
        self.behaviour.event_gap = gap;
        self
    }

    /// The same as a distribution to draw every gap from.
    #[must_use]
    pub fn gap(mut self, gap: impl Into<Latency>) -> Self {
        self.behaviour.gap = gap.into();
        self
    }

    /// Wait for every prompt token, before the first byte and on top of the latency, as a real server reads its prompt.
    #[must_use]
    pub fn prefill_per_token(mut self, wait: Duration) -> Self {
        self.behaviour.prefill_per_token = wait;
        self
    }

    /// Words of an answer whose request does not say otherwise.
    #[must_use]
    pub fn tokens(mut self, count: u32) -> Self {
        self.behaviour.tokens = count;
        self
    }

    /// Events that leave in one write when there is no gap between them; 1 unless set.
    #[must_use]
    pub fn events_per_write(mut self, count: u32) -> Self {
        self.behaviour.events_per_write = count;
        self
    }

    /// A fault for every request, or for some.
    #[must_use]
    pub fn fault(mut self, fault: Fault, when: When) -> Self {
        self.behaviour = self.behaviour.with_fault(fault, when);
        self
    }

    /// More fault rules, behind those there are.
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = FaultRule>) -> Self {
        self.behaviour.faults.extend(rules);
        self
    }

    /// A limit of requests for every key and model that is kept, and told in every head.
    #[must_use]
    pub fn quota(self, requests: u32, refill: Duration) -> Self {
        self.limits(Quota { requests, tokens: 0, refill })
    }

    /// Limits of requests and tokens for every key and model that are kept, and told in every head.
    #[must_use]
    pub fn limits(mut self, quota: Quota) -> Self {
        self.behaviour.quota = Some(quota);
        self
    }

    /// The whole behaviour at once.
    #[must_use]
    pub fn behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// How long a connection may stay silent before it is closed; ten minutes unless set.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Keeps sums only, in constant memory.
    #[must_use]
    pub fn counters_only(mut self) -> Self {
        self.keep_records = false;
        self
    }

    /// Keeps a receipt of at most so many requests that name themselves in this head field, a hundred bytes or so each.
    #[must_use]
    pub fn receipts(mut self, field: &str, max: usize) -> Self {
        self.receipts = Some(truth::Receipts { field: field.to_ascii_lowercase(), max });
        self
    }

    /// Writes a line of JSON to this file, which is made anew, for every request as it ends; no more than so many bytes.
    #[must_use]
    pub fn journal(mut self, path: impl Into<PathBuf>, bytes_max: u64) -> Self {
        self.journal = Some((path.into(), bytes_max));
        self
    }

    /// Answers paths below `/_mock/` itself, to callers on this machine: sums, keys and faults, to be read and changed. No part of any
    /// provider, and unknown to the log.
    #[must_use]
    pub fn control(mut self, control: bool) -> Self {
        self.control = control;
        self
    }

    /// Keeps the bytes of every request body in its record.
    #[must_use]
    pub fn keep_bodies(mut self) -> Self {
        self.keep_bodies = true;
        self
    }

    /// Serves TLS with this certificate chain and key, both PEM.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, cert_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        self.tls = Some((cert_pem.into(), key_pem.into()));
        self
    }

    /// Binds and serves.
    ///
    /// # Errors
    /// The address cannot be bound, a thread cannot be started, the journal cannot be written, or certificate and key are not usable.
    pub fn start(mut self) -> io::Result<Simulator> {
        if self.prefixes.is_empty() {
            self.prefixes.push("/v1".into());
        }
        if self.surfaces.is_empty() {
            self.surfaces.push(Surface::OpenAi);
        }
        let own = || self.surfaces.iter().flat_map(|surface| surface.models()).map(|&name| name.to_owned()).collect();
        let models = self.models.take().unwrap_or_else(own);
        let encrypted = self.tls.is_some();
        #[cfg(feature = "tls")]
        let tls = self.tls.as_ref().map(|(cert, key)| tls::acceptor(cert, key)).transpose()?;
        let journal =
            self.journal.as_ref().map(|(path, bytes_max)| journal::Journal::create(path, *bytes_max)).transpose()?;
        let truth = Truth::new(self.keep_records, self.keep_bodies, self.receipts).with_journal(journal);
        let now = Instant::now();
        let site = Arc::new(Site {
            name: self.name.unwrap_or_else(|| self.surfaces[0].name().to_owned()),
            seed: self.seed,
            surfaces: self.surfaces,
            prefixes: self.prefixes,
            models,
            keys: keyring::Keyring::new(self.keys, now),
            secrets: self.secrets,
            current: RwLock::new(Current { behaviour: Arc::new(self.behaviour), since: now }),
            idle: self.idle,
            control: self.control,
            started: now,
            truth: Arc::new(truth),
            shelf: shelf::Shelf::default(),
            stamps: stamps::Stamps::default(),
            buckets: quota::Buckets::default(),
            #[cfg(feature = "tls")]
            tls,
        });
        let listener = std::net::TcpListener::bind(self.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let threads = threads::Threads::start(&listener, self.threads, &site)?;
        Ok(Simulator { addr, encrypted, site, threads })
    }
}
