//! What the control plane does by itself: takes in reports, keeps scores, looks names up, exchanges credentials for tokens, ends access
//! keys.
//!
//! The lock is never held across an await, so that an API call waits for one step at most.

use super::alerts;
use super::credentials::Credentials;
use super::journal::ship::ship_rest;
use super::post::Post;
use super::resolve::{Found, Learned, Resolver};
use super::scores::score_due;
use super::supply::Means;
use super::token::{self, Fresh, Wanted};
use super::{Control, day_of, fleet, learning, leases, means, otlp};
use crate::config::BaseUrl;
use crate::limits::{INGEST_TICK, SCORE_TICK};
use crate::providers::service_account::ServiceAccount;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

/// A panic elsewhere must not stop the books; every step of `Control` leaves it whole.
pub fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ticks of a period, of which all begin at one instant: what is due at multiples of the same fifth of a second is done in one wake, and a process
/// that has nothing to do sleeps in between. The first tick is now; those that came too late are left out.
pub fn every(period: Duration) -> Interval {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let begin = *BEGIN.get_or_init(Instant::now);
    let mut ticks = tokio::time::interval_at(begin.into(), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Ticks until `stop` is true, then takes in what is left. Needs a tokio runtime with time and I/O.
pub async fn run(control: Arc<Mutex<Control>>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let resolver = match Resolver::system() {
        Ok(resolver) => Some(resolver),
        Err(sentence) => {
            lock(&control).note("dns", sentence);
            None
        }
    };
    let tokens = tokio::spawn(exchange_always(control.clone(), resolver.clone()));
    let scores = tokio::spawn(score_always(control.clone()));
    let messages = tokio::spawn(alerts::deliver_always(control.clone(), resolver.clone()));
    let news = tokio::spawn(fleet::follow_always(control.clone()));
    let lessons = tokio::spawn(learning::learn_always(control.clone()));
    let shares = tokio::spawn(leases::lease_always(control.clone()));
    let spans = tokio::spawn(otlp::export_always(control.clone(), resolver.clone()));
    let measures = tokio::spawn(otlp::measure_always(control.clone(), resolver.clone()));
    let collector = resolver.clone();
    let names = resolver.map(|resolver| tokio::spawn(resolve_always(control.clone(), resolver)));
    let mut tick = every(INGEST_TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => lock(&control).tick(),
            stopped = stop.wait_for(|stop| *stop) => {
                // Also when the sender is gone: nobody could stop us later.
                drop(stopped);
                break;
            }
        }
    }
    tokens.abort();
    scores.abort();
    messages.abort();
    news.abort();
    lessons.abort();
    shares.abort();
    spans.abort();
    measures.abort();
    if let Some(names) = names {
        names.abort();
    }
    lock(&control).tick();
    ship_rest(&control).await;
    otlp::export_rest(&control, collector.as_ref()).await;
    lock(&control).close_access_log();
}

/// Scores tick on their own, so that the books come first.
async fn score_always(control: Arc<Mutex<Control>>) {
    let mut tick = every(SCORE_TICK);
    loop {
        tick.tick().await;
        score_due(&control, Instant::now());
    }
}

/// Slow name servers must not hold up the books, so lookups tick on their own.
async fn resolve_always(control: Arc<Mutex<Control>>, resolver: Resolver) {
    let mut tick = every(INGEST_TICK);
    loop {
        tick.tick().await;
        resolve_due(&control, &resolver, Instant::now()).await;
    }
}

/// Looks up the names that are due, all at a time, and publishes if any leads elsewhere. Answers whether it did.
pub async fn resolve_due(control: &Mutex<Control>, resolver: &Resolver, now: Instant) -> bool {
    let due = lock(control).names_due(now);
    let mut lookups = JoinSet::new();
    for host in due {
        let resolver = resolver.clone();
        lookups.spawn(async move {
            let found = resolver.look_up(&host).await;
            (host, found)
        });
    }
    let mut changed = false;
    // One at a time: a name whose server does not answer keeps nobody else waiting.
    while let Some(outcome) = lookups.join_next().await {
        let Ok((host, found)) = outcome else { continue };
        changed |= lock(control).learn_addresses(&host, found, Instant::now());
    }
    changed
}

/// Slow token servers must not hold up names or books.
async fn exchange_always(control: Arc<Mutex<Control>>, resolver: Option<Resolver>) {
    let mut tick = every(INGEST_TICK);
    loop {
        tick.tick().await;
        exchange_due(&control, resolver.as_ref(), Instant::now()).await;
    }
}

/// Exchanges the credentials whose tokens are due, several at a time. The next tick publishes what came of it.
pub async fn exchange_due(control: &Mutex<Control>, resolver: Option<&Resolver>, now: Instant) {
    let due = lock(control).exchanges_due(now);
    let mut exchanges = JoinSet::new();
    for (wanted, post) in due {
        let resolver = resolver.cloned();
        exchanges.spawn(async move {
            let outcome = match post.send(resolver.as_ref()).await {
                Ok((status, body)) => token::answer(status, body.expose()),
                Err(fault) => Err(fault),
            };
            (wanted, outcome)
        });
    }
    while let Some(outcome) = exchanges.join_next().await {
        let Ok((wanted, outcome)) = outcome else { continue };
        lock(control).learn_token(&wanted, outcome, Instant::now());
    }
}

impl Control {
    /// One step: reports into the books, ended access keys and retired models out of the snapshot, and whatever could not be
    /// published before.
    pub fn tick(&mut self) {
        self.tell_exchanges();
        if self.rests {
            return;
        }
        let now = self.now();
        let swept = self.end_access_keys(now);
        if let Some(step) = self.wall.look(now, Instant::now()) {
            self.note("clock", step);
        }
        let ended = self.tokens.end(Instant::now());
        self.touched.extend_tenants(ended.iter().filter_map(|id| self.tokens.tenant_of(*id)));
        let over = |id| format!("the access token of {id} is over and there is no new one; its key is out of use");
        self.note_all("credential", ended.into_iter().map(over).collect());
        if day_of(now) != self.routes_day {
            self.routes_day = day_of(now);
            self.configured.iter_mut().for_each(|provider| provider.list_living(&self.catalogue, now));
            (self.dirty.providers, self.dirty.routes) = (true, true);
        }
        self.watch_fleet();
        self.settle_news();
        self.pay_owed();
        self.watch_breakers();
        self.watch_refused_keys();
        let ingested = self.take_in(false).map(drop);
        self.tend_journal(now, Instant::now());
        let rewrapped = self.step_master().map(drop);
        let flushed = self.store.flush_if_due().map_err(super::ControlError::from);
        self.turn_rotations(now);
        self.remind_of_old_keys(now, Instant::now());
        self.keep_allowances(now);
        self.watch_alerts(now, Instant::now());
        self.judge_trial(now);
        self.keep_series(now, Instant::now());
        let published = self.publish().map(drop);
        self.retired.free();
        self.watch_room();
        let trouble =
            ingested.and(swept).and(rewrapped).and(flushed).and(published).err().map(|error| error.to_string());
        if trouble != self.trouble
            && let Some(sentence) = &trouble
        {
            self.note("ledger", sentence.clone());
        }
        self.trouble = trouble;
    }

    /// What to ask token servers by `now`. A credential that cannot be asked for counts as one that was refused.
    fn exchanges_due(&mut self, now: Instant) -> Vec<(Wanted, Post)> {
        let mut posts = Vec::new();
        if self.rests {
            return posts;
        }
        for wanted in self.tokens.due(now) {
            match self.question(&wanted) {
                Ok(post) => posts.push((wanted, post)),
                Err(fault) => self.learn_token(&wanted, Err(fault), now),
            }
        }
        posts
    }

    /// Opens a credential and signs its claim; the key is wiped before this returns.
    fn question(&mut self, wanted: &Wanted) -> Result<Post, String> {
        let Means { store, keyring, entropy, now } = means(self);
        let secret = Credentials::new(store, keyring, entropy, now).open_one(&wanted.tenant, wanted.id);
        let account = ServiceAccount::parse(secret.map_err(|error| error.to_string())?.expose());
        let account = account.map_err(|error| error.to_string())?;
        let provider = self.configured.iter().find(|provider| provider.config.id == wanted.provider);
        let trust = provider.and_then(|provider| Some((provider, provider.token_trust()?)));
        let (provider, trust) = trust.ok_or("its provider takes no tokens")?;
        let allow_private = provider.config.allow_private_address;
        let url = BaseUrl::parse(&account.token_uri, allow_private);
        let url = url.map_err(|complaint| format!("its `token_uri` {}", complaint.what))?;
        let form = token::question(&account, now).map_err(|error| error.to_string())?;
        Ok(Post::form(url, allow_private, trust, form))
    }

    /// Takes in what came of an exchange.
    fn learn_token(&mut self, wanted: &Wanted, outcome: Result<Fresh, String>, now: Instant) {
        match outcome {
            Ok(fresh) => {
                self.tokens.learn(wanted.id, fresh, now);
                self.touch_credentials(&wanted.tenant);
            }
            Err(fault) => {
                if self.tokens.fail(wanted.id, now) {
                    let Wanted { id, provider, .. } = wanted;
                    self.note("credential", format!("{id} of provider `{provider}` gets no access token: {fault}"));
                }
            }
        }
    }

    /// The names to look up by `now`.
    pub fn names_due(&self, now: Instant) -> Vec<String> {
        self.names.due(now)
    }

    /// Takes in what a lookup found (`None`: it failed) and publishes if that changed anything. Answers whether it did.
    pub fn learn_addresses(&mut self, host: &str, found: Option<Found>, now: Instant) -> bool {
        match self.names.learn(host, found, now) {
            Learned::Same => false,
            Learned::Failed { again } => {
                if !again && !self.names.leads_somewhere(host) {
                    self.note("dns", format!("the name {host} cannot be resolved; check it and the name servers"));
                }
                false
            }
            Learned::Changed => {
                self.dirty.providers = true;
                let failed = self.publish().err();
                if let Some(error) = &failed {
                    self.note("dns", error.to_string());
                }
                self.note_unreachable(host);
                failed.is_none()
            }
        }
    }

    /// Says so when a name leads only where its providers may not be.
    fn note_unreachable(&mut self, host: &str) {
        let refused = |provider: &&super::providers::Configured| {
            provider.url.host() == host
                && self.names.leads_somewhere(host)
                && self.names.addresses(&provider.url, provider.config.allow_private_address).is_empty()
        };
        let notes: Vec<String> = self.configured.iter().filter(refused).map(|provider| {
            let name = &provider.config.id;
            format!("provider `{name}`: {host} leads to addresses that are not allowed; set `allow_private_address` if it is yours")
        }).collect();
        self.note_all("dns", notes);
    }
}
