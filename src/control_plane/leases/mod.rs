//! Budgets and rates of all machines: this one's leases, asked for in rounds (decision 015).
//!
//! ```text
//!   begin_round: what every holder that moved used and wants     (under the lock)
//!   fleet: one transaction                                       (nobody waits but this task)
//!   end_round: what each may use, and what others used           (under the lock)
//! ```
//!
//! A round is begun twice a second while something is used, at once when an exchange finds its lease half used or used up, and every
//! few seconds otherwise, so that the others know that this machine lives.

mod desk;
#[cfg(test)]
mod tests;

pub(super) use desk::{Desk, House};

use super::allowances::Allowances;
use super::{Control, ControlError, lock};
use crate::allowance::{Membership, Moment};
use crate::config::{self, WithoutDatabase};
use crate::domain::clock::UnixMillis;
use crate::fleet::{Fleet, Round, RoundAnswer, RoundError};
use crate::limits::fleet::{ASKS_PER_ROUND, HEARTBEAT_TICK, LEASE_PAUSE, LEASE_TERM, LEASE_TICK, LEASE_TIDY_TICK};
use crate::store::{HolderName, MachineLease, MachineRow, Store, StoreError};
use crate::vault::Entropy;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// This machine's leases.
pub(super) struct Leases {
    pub(super) membership: Arc<Membership>,
    pub(super) house: House,
    machine: MachineRow,
    turn: u64,
    claims: bool,
    knows: i64,
    name: String,
    /// Whose counters may have moved since they were last told.
    open: BTreeSet<HolderName>,
    /// Whom the last round had no room for.
    next: Option<HolderName>,
    /// When the last round that was answered was begun.
    answered: Option<Instant>,
    begun: Option<Instant>,
    tidied: Option<Instant>,
    mode: WithoutDatabase,
    pub(super) figures: Figures,
}

/// What was done, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Rounds that were answered, and those that were not.
    pub(super) rounds: [u64; 2],
    /// Leases that were asked for.
    pub(super) asks: u64,
}

// === impl Leases ===

impl Leases {
    /// Reads which machine this is, or makes it one; what it had leased is its own until it hears more.
    ///
    /// # Errors
    /// As the store, and the system's random numbers.
    pub(super) fn open(
        store: &mut Store,
        entropy: &mut dyn Entropy,
        config: &config::Fleet,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let mode = config.without_database;
        let known = store.admin().machine()?;
        let id = known.map_or_else(|| random(entropy), |row| Ok(row.id))?;
        let machine = MachineRow { id, incarnation: random(entropy)?, peers: known.map_or(0, |row| row.peers) };
        store.admin().set_machine(&machine)?;
        let kept = store.admin().machine_leases(i64::try_from(now.0).unwrap_or(i64::MAX))?;
        let kept = kept.into_iter().map(|lease| ((lease.holder.to_sql(), lease.kind), lease)).collect();
        let instant = Instant::now();
        let name = super::fleet::host();
        Ok(Self {
            // Where leases have a term, it begins with the first answer: a restart is none.
            membership: Arc::new(Membership::new(instant, term(mode, instant).map(|_| instant))),
            house: House { peers: machine.peers, kept, ..House::default() },
            machine,
            turn: 0,
            claims: true,
            knows: 0,
            name,
            open: BTreeSet::new(),
            next: None,
            answered: None,
            begun: None,
            tidied: None,
            mode,
            figures: Figures::default(),
        })
    }

    /// A holder's counters have moved, or may have.
    pub(super) fn touch(&mut self, name: &HolderName) {
        if !self.open.contains(name) {
            self.open.insert(name.clone());
        }
    }
}

/// Until when leases count that were confirmed at an instant; `None`: for ever.
fn term(mode: WithoutDatabase, confirmed: Instant) -> Option<Instant> {
    match mode {
        WithoutDatabase::Lease => None,
        WithoutDatabase::Refuse => Some(confirmed + LEASE_TERM),
    }
}

fn random(entropy: &mut dyn Entropy) -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

// === impl Allowances ===

impl Allowances {
    /// What to say in a round; `None`: nothing is due.
    /// `is_rung`: somebody has found a lease used up, and may not have been reported yet.
    fn begin_round(&mut self, now: Instant, is_rung: bool, mode: WithoutDatabase) -> Option<(Round, bool)> {
        let moment = self.clock.at(now);
        let Self { entries, leases, .. } = self;
        let leases = leases.as_mut()?;
        if leases.mode != mode {
            leases.mode = mode;
            leases.membership.extend(term(mode, now).map(|_| leases.answered.map_or(now, |at| at + LEASE_TERM)));
        }
        if is_rung {
            let wanting = entries.iter().filter(|(_, entry)| entry.holder.counters.parts.is_wanting());
            leases.open.extend(wanting.map(|(name, _)| name.clone()));
        }
        let (mut asks, mut idle, mut last) = (Vec::new(), BTreeSet::new(), None);
        // From where the last round ended, if it had no room for all.
        let (early, late): (Vec<&HolderName>, Vec<&HolderName>) =
            leases.open.iter().partition(|name| leases.next.as_ref().is_some_and(|next| *name < next));
        for name in late.into_iter().chain(early) {
            if asks.len() >= ASKS_PER_ROUND {
                last = Some(name.clone());
                break;
            }
            let Some(entry) = entries.get_mut(name) else {
                idle.insert(name.clone());
                continue;
            };
            let some = entry.desk.asks(&entry.holder, &leases.house, moment);
            if some.is_empty() && entry.desk.is_idle(&entry.holder) {
                idle.insert(name.clone());
            }
            asks.extend(some);
        }
        leases.open.retain(|name| !idle.contains(name));
        leases.next = last;
        let is_due = leases.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= HEARTBEAT_TICK);
        if asks.is_empty() && !is_due && !leases.claims {
            return None;
        }
        leases.begun = Some(now);
        leases.turn += 1;
        leases.figures.asks += asks.len() as u64;
        let tidies = leases.tidied.is_none_or(|at| now.saturating_duration_since(at) >= LEASE_TIDY_TICK);
        let MachineRow { id, incarnation, .. } = leases.machine;
        let round = Round {
            machine: id,
            incarnation,
            name: leases.name.clone(),
            turn: leases.turn,
            claims: leases.claims,
            knows: leases.knows,
            peers: leases.house.peers,
            is_bound: mode == WithoutDatabase::Refuse,
            asks,
        };
        Some((round, tidies))
    }

    /// Takes in an answer. Answers what to write down, whether there are more or fewer machines, and whether something is to be told at
    /// once.
    fn take_round(
        &mut self,
        round: &Round,
        answer: RoundAnswer,
        (began, tidied): (Instant, bool),
    ) -> (Vec<MachineLease>, bool, bool) {
        let moment = self.clock.at(Instant::now());
        let Self { entries, leases, moved, .. } = self;
        let Some(leases) = leases.as_mut() else { return Default::default() };
        leases.figures.rounds[0] += 1;
        (leases.claims, leases.knows, leases.answered) = (false, answer.seen, Some(began));
        if tidied {
            leases.tidied = Some(began);
        }
        leases.membership.extend(term(leases.mode, began));
        leases.membership.set_alone(false);
        let (mut kept, mut again) = (Vec::new(), false);
        for (ask, granted) in round.asks.iter().zip(answer.grants) {
            let Some(name) = HolderName::from_sql(&ask.pool.holder) else { continue };
            let Some(entry) = entries.get_mut(&name) else { continue };
            if let Some((lease, more)) = entry.desk.take(&entry.holder, (ask, granted), moment) {
                again |= more;
                let (kind, (epoch, ends)) = (lease.quantity.to_sql(), lease.period);
                kept.push(MachineLease {
                    holder: name,
                    kind,
                    epoch,
                    ends,
                    most: lease.most,
                    elsewhere: lease.elsewhere,
                });
            }
        }
        leases.house.heard.retain(|_, news| news.ends > answer.seen);
        for news in answer.pools {
            let key = (news.pool.holder.clone(), news.pool.quantity);
            if leases.house.heard.get(&key) == Some(&news) {
                continue;
            }
            if let Some(name) = HolderName::from_sql(&news.pool.holder)
                && let Some(entry) = entries.get_mut(&name)
            {
                entry.desk.hear(&entry.holder, &news);
                if news.is_closed {
                    // What it has and does not need is for the others now.
                    leases.open.insert(name.clone());
                }
                // Alerts and soft budgets see what all have spent.
                moved.insert(name, began);
            }
            leases.house.heard.insert(key, news);
        }
        leases.house.kept.clear();
        let is_first = !std::mem::replace(&mut leases.house.is_met, true);
        let is_other = leases.house.peers != answer.machines;
        (leases.house.peers, leases.machine.peers) = (answer.machines, answer.machines);
        if is_first || is_other {
            entries.values_mut().for_each(|entry| entry.desk.set_out(&entry.holder, &leases.house, moment));
        }
        (kept, is_other, again)
    }

    /// A round was lost, or refused. After the first one this machine goes on with what it had leased when it last wrote it down.
    fn lose_round(&mut self, is_lost: bool) {
        let moment = self.clock.at(Instant::now());
        let Self { entries, leases, .. } = self;
        let Some(leases) = leases.as_mut() else { return };
        leases.figures.rounds[1] += 1;
        leases.membership.set_alone(is_lost);
        if is_lost && !std::mem::replace(&mut leases.house.is_met, true) {
            entries.values_mut().for_each(|entry| entry.desk.set_out(&entry.holder, &leases.house, moment));
        }
    }

    /// A holder was met, or its limits have changed.
    pub(super) fn set_out_leases(&mut self, name: &HolderName, now: Moment) {
        let Self { entries, leases, .. } = self;
        if let (Some(leases), Some(entry)) = (leases.as_mut(), entries.get_mut(name)) {
            entry.desk.set_out(&entry.holder, &leases.house, now);
            leases.touch(name);
        }
    }

    /// This machine goes by another name from now on, and tells everything again.
    fn rename_machine(&mut self, machine: MachineRow) {
        let Self { entries, leases, .. } = self;
        let Some(leases) = leases.as_mut() else { return };
        (leases.machine, leases.claims, leases.turn) = (machine, true, 0);
        for (name, entry) in entries {
            entry.desk.tell_anew();
            leases.open.insert(name.clone());
        }
    }
}

// === impl Control ===

/// Asks for leases until the end.
pub(super) async fn lease_always(control: Arc<Mutex<Control>>) {
    let Some((fleet, membership)) = lock(&control).leasing() else { return };
    let mut tick = super::ticks::every(LEASE_TICK);
    let mut ended = Instant::now();
    loop {
        let is_rung = tokio::select! {
            _ = tick.tick() => false,
            () = poll_fn(|context| membership.poll_rung(context)) => {
                // Many that ring in one instant are one round.
                tokio::time::sleep_until((ended + LEASE_PAUSE).into()).await;
                true
            }
        };
        let Some((round, tidies)) = lock(&control).begin_round(Instant::now(), is_rung) else { continue };
        let began = Instant::now();
        let outcome = fleet.round(round.clone(), tidies).await;
        if lock(&control).end_round(&round, outcome, (began, tidies)) {
            membership.ring();
        }
        ended = Instant::now();
    }
}

impl Control {
    fn leasing(&self) -> Option<(Fleet, Arc<Membership>)> {
        let member = self.member.as_ref()?;
        Some((member.fleet().clone(), self.allowances.leases.as_ref()?.membership.clone()))
    }

    fn begin_round(&mut self, now: Instant, is_rung: bool) -> Option<(Round, bool)> {
        if self.rests {
            return None;
        }
        let mode = self.config.fleet.without_database;
        self.allowances.begin_round(now, is_rung, mode)
    }

    /// Takes in what came of a round; whether another one is to follow at once.
    fn end_round(&mut self, round: &Round, outcome: Result<RoundAnswer, RoundError>, times: (Instant, bool)) -> bool {
        if self.rests {
            return false;
        }
        match outcome {
            Ok(answer) => {
                let (kept, is_other, again) = self.allowances.take_round(round, answer, times);
                if let Err(error) = self.keep_leases(&kept, is_other) {
                    self.note("ledger", format!("leases cannot be written down: {error}"));
                }
                again
            }
            Err(error) => {
                self.allowances.lose_round(matches!(error, RoundError::Lost(_)));
                if error == RoundError::Displaced
                    && let Err(error) = self.take_other_name()
                {
                    self.note("alarm", format!("this machine has no name of its own among the others: {error}"));
                }
                false
            }
        }
    }

    fn keep_leases(&mut self, kept: &[MachineLease], is_other: bool) -> Result<(), StoreError> {
        if is_other && let Some(leases) = &self.allowances.leases {
            self.store.admin().set_machine(&leases.machine)?;
        }
        if !kept.is_empty() {
            self.store.admin().keep_machine_leases(kept)?;
        }
        Ok(())
    }

    /// Another process goes by this machine's name. If it had this machine's own file, it has gone again, and the name is taken back; a
    /// copy of the file has taken the name, and this machine finds another one.
    fn take_other_name(&mut self) -> Result<(), ControlError> {
        let Some(leases) = &self.allowances.leases else { return Ok(()) };
        let (own, stored) = (leases.machine, self.store.admin().machine()?);
        let is_copied = stored.is_none_or(|stored| stored.incarnation == own.incarnation);
        let id = if is_copied { random(&mut *self.entropy)? } else { own.id };
        let machine = MachineRow { id, incarnation: random(&mut *self.entropy)?, peers: own.peers };
        self.store.admin().set_machine(&machine)?;
        self.allowances.rename_machine(machine);
        if is_copied {
            let sentence = "another gateway runs on a copy of this machine's data; this one goes by a new name among the machines from now on";
            self.note("alarm", sentence);
        }
        Ok(())
    }

    /// This process has the store again: it is the one that speaks for the machine.
    pub(super) fn resume_leases(&mut self) -> Result<(), ControlError> {
        let Some(leases) = &self.allowances.leases else { return Ok(()) };
        let machine = MachineRow { incarnation: random(&mut *self.entropy)?, ..leases.machine };
        self.store.admin().set_machine(&machine)?;
        self.allowances.rename_machine(machine);
        Ok(())
    }

    /// How many machines there are, as far as is known here; at least this one.
    pub(super) fn machines(&self) -> u64 {
        self.allowances.leases.as_ref().map_or(1, |leases| leases.house.peers.max(1))
    }

    /// What was done in rounds; `None`: nothing is shared.
    pub(super) fn lease_figures(&self) -> Option<Figures> {
        self.allowances.leases.as_ref().map(|leases| leases.figures)
    }

    /// The part of the status that says how it stands with leases; null where nothing is shared.
    pub(super) fn leases_status(&self) -> Value {
        let Some(leases) = &self.allowances.leases else { return Value::Null };
        let left = |answered: Instant| LEASE_TERM.saturating_sub(answered.elapsed()).as_secs();
        let term = match leases.mode {
            WithoutDatabase::Lease => Value::Null,
            WithoutDatabase::Refuse => json!(leases.answered.map_or(0, left)),
        };
        json!({
            "machine": format!("{:032x}", u128::from_be_bytes(leases.machine.id)),
            "machines": leases.house.peers,
            "without_database": leases.mode.name(),
            "term_seconds": term,
            "answered_seconds_ago": leases.answered.map(|at| at.elapsed().as_secs()),
            "leases": self.allowances.entries.values().map(|entry| entry.desk.leased()).sum::<usize>(),
        })
    }
}
