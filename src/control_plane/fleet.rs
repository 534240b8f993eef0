//! The control plane as one of several machines: it joins the others at the start, takes in what they change, and goes on alone while
//! the database is gone.
//!
//! A change that another machine was faster with is refused by the database, and nothing is changed. The admin API then waits until this
//! machine has taken in what came before, and makes the change again ([`ControlError::is_behind`] and who asks it); what the control
//! plane does by itself is tried again at the next tick.

use super::rotations::Rotations;
use super::supply::Applied;
use super::{Control, ControlError, lock};
use crate::config::{Database, Store as StorePlace, secrets};
use crate::control_plane::inputs::Environment;
use crate::domain::clock::UnixMillis;
use crate::domain::secret::Secret;
use crate::fleet::{Encryption, Fleet, FleetError, Place, Standing};
use crate::limits::PEM_BYTES_MAX;
use crate::limits::fleet::CHANGE_TRIES;
use crate::store::{Adopted, News, ShareError, Store, StoreError};
use crate::vault::{Entropy, Keyring, RootSource};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// This machine's part in a fleet.
pub(super) struct Member {
    fleet: Fleet,
    /// What comes from the others; taken by who reads it.
    news: Option<mpsc::UnboundedReceiver<News>>,
    /// Whether the database was gone when this was last looked at.
    was_gone: bool,
    /// What of the news could not be taken in.
    trouble: Option<String>,
}

impl Member {
    /// The way to the database.
    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}

/// A part of what news of other machines brings about; each may be repeated.
type Step = fn(&mut Control, &Adopted) -> Result<(), ControlError>;

/// A store that is open, and what an owner should know of how.
pub(super) struct Joined {
    pub(super) store: Store,
    /// Where it is shared.
    pub(super) member: Option<Member>,
    pub(super) keyring: Keyring,
    pub(super) notes: Vec<String>,
}

// === Joining ===

/// Opens the store that a configuration names, and its key hierarchy; both are made on the first start.
///
/// # Errors
/// As [`Store::open`] and [`Store::unlock`], and what [`join`] says of a database.
pub(super) fn open(
    place: &StorePlace,
    env: &Environment,
    (path, root): (&Path, &RootSource),
    (entropy, now): (&mut dyn Entropy, UnixMillis),
) -> Result<Joined, ControlError> {
    let (mut store, member, notes) = match place {
        StorePlace::Database(database) => {
            let (store, member, notes) = join(database, env, path, entropy)?;
            check_root(&store, root)?;
            (store, Some(member), notes)
        }
        StorePlace::Sqlite(_) => (Store::open(path)?, None, Vec::new()),
    };
    let keyring = insist(&mut store, member.as_ref(), |store| Ok(store.unlock(root, entropy, now)?))?;
    Ok(Joined { store, member, keyring, notes })
}

/// What the configuration brings is in the copy from the last start, but for what is new in it: a machine that is alone goes on without
/// that, and says so.
pub(super) fn unless_alone(applied: Result<Applied, ControlError>) -> Result<Vec<String>, ControlError> {
    match applied {
        Ok(applied) => Ok(applied.notes),
        Err(error) if error.is_alone() => {
            Ok(vec![format!("what is new in the configuration is not stored yet: {error}")])
        }
        Err(error) => Err(error),
    }
}

/// Opens the copy and joins it to its database: with everything that was changed meanwhile, or, where the database is gone and the copy
/// is not empty, as it is.
///
/// # Errors
/// What of the configuration cannot be read; the database is of a newer build, another one than the copy is of, or gone while the copy is
/// empty.
fn join(
    database: &Database,
    env: &Environment,
    path: &Path,
    entropy: &mut dyn Entropy,
) -> Result<(Store, Member, Vec<String>), ControlError> {
    let place = place(database, env)?;
    let mut store = Store::open_copy(path)?;
    let mut fresh = [0; 16];
    entropy.fill(&mut fresh).map_err(StoreError::from)?;
    let (sender, news) = mpsc::unbounded_channel();
    let fleet = Fleet::start(&place, sender, fresh).map_err(refused)?;
    let mut notes = Vec::new();
    match fleet.met() {
        Ok(id) => {
            store.share(id, Box::new(fleet.clone()))?;
            match catch_up(&mut store, &fleet) {
                // It went in this very instant; what is here is good.
                Err(StoreError::Share(error @ ShareError::Unreachable(_))) if store.has_hierarchy()? => {
                    notes.push(format!("{error}; this machine starts from its copy"));
                }
                caught_up => caught_up?,
            }
        }
        Err(error @ FleetError::Unreachable(_)) => {
            let Some(id) = store.copy_of()?.filter(|_| store.has_hierarchy().unwrap_or(false)) else {
                return Err(refused(error));
            };
            store.share(id, Box::new(fleet.clone()))?;
            notes.push(format!("{error}; this machine serves from its copy and changes nothing until it is back"));
        }
        Err(error) => return Err(refused(error)),
    }
    store.admin().call_machine(&host());
    let was_gone = !notes.is_empty();
    Ok((store, Member { fleet, news: Some(news), was_gone, trouble: None }, notes))
}

pub(super) fn place(database: &Database, env: &Environment) -> Result<Place, ControlError> {
    let fault = |what: String| ControlError::Config(vec![what]);
    let password: Option<Secret> = match &database.password {
        Some(source) => {
            let text = secrets::text(source, &**env);
            Some(text.map_err(|error| fault(format!("the password of [store]: {error}")))?)
        }
        None => None,
    };
    let authority = match &database.authority {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(|file| {
                let mut content = Vec::new();
                file.take(PEM_BYTES_MAX).read_to_end(&mut content).map(|_| content)
            });
            Some(read.map_err(|cause| ControlError::File { path: path.clone(), cause })?)
        }
        None => None,
    };
    let encryption = if database.is_encrypted { Encryption::Verified } else { Encryption::Off };
    Ok(Place { url: database.url.clone(), password, encryption, authority, listens: database.listens })
}

fn refused(error: FleetError) -> ControlError {
    ControlError::Config(vec![error.to_string()])
}

/// Fetches and takes in what is missing.
fn catch_up(store: &mut Store, fleet: &Fleet) -> Result<(), StoreError> {
    let news = fleet.pull(store.shared_generation().unwrap_or(0))?;
    store.adopt(&news)?;
    fleet.is_at(store.shared_generation().unwrap_or(0));
    Ok(())
}

/// Does something that writes, at the start, where nobody else can wait for the others: made again after what they changed.
///
/// # Errors
/// As `work`.
pub(super) fn insist<T>(
    store: &mut Store,
    member: Option<&Member>,
    mut work: impl FnMut(&mut Store) -> Result<T, ControlError>,
) -> Result<T, ControlError> {
    let mut tries = 1;
    loop {
        match (work(store), member) {
            (Err(error), Some(member)) if error.is_behind() && tries < CHANGE_TRIES => {
                catch_up(store, &member.fleet)?;
                tries += 1;
            }
            (done, Some(member)) => {
                member.fleet.is_at(store.shared_generation().unwrap_or(0));
                return done;
            }
            (done, None) => return done,
        }
    }
}

/// A hierarchy is made by one machine alone, under a root key that all of them have.
fn check_root(store: &Store, root: &RootSource) -> Result<(), ControlError> {
    let is_missing = matches!(root, RootSource::File(path) if !path.exists());
    if is_missing && store.shared_generation().is_some() && !store.has_hierarchy()? {
        let sentence = "machines that share a store share its root key: make one with `igris vault init`, or any 32 random bytes, and name it in [vault] root_key on each of them";
        return Err(ControlError::Config(vec![sentence.to_owned()]));
    }
    Ok(())
}

// === Living together ===

/// Takes in what the others change, as it comes.
pub(super) async fn follow_always(control: Arc<Mutex<Control>>) {
    let Some(mut news) = lock(&control).member.as_mut().and_then(|member| member.news.take()) else { return };
    while let Some(some) = news.recv().await {
        lock(&control).take_news(&some);
    }
}

impl Control {
    /// How it stands with the database that this machine shares; `None`: it shares none.
    pub fn standing_of_fleet(&self) -> Option<Standing> {
        self.member.as_ref().map(|member| member.fleet.standing())
    }

    /// The database that this machine shares with others.
    pub(super) fn shares(&self) -> Option<Fleet> {
        self.member.as_ref().map(|member| member.fleet.clone())
    }

    /// What this machine is called among others; `None`: there are none.
    pub(super) fn machine(&self) -> Option<String> {
        self.member.as_ref().map(|_| host())
    }

    /// Has the database looked at now: a change was refused, so that there is news.
    pub fn look_for_news(&self) {
        if let Some(member) = &self.member {
            member.fleet.look();
        }
    }

    /// How far the copy here is; 0 where nothing is shared.
    pub fn shared_generation(&self) -> u64 {
        self.store.shared_generation().unwrap_or(0)
    }

    /// Fetches what others changed, and takes it in.
    ///
    /// # Errors
    /// The database cannot be reached, or the store refuses.
    pub(super) fn catch_up(&mut self) -> Result<(), ControlError> {
        let Some(member) = &self.member else { return Ok(()) };
        let news = member.fleet.pull(self.shared_generation()).map_err(StoreError::from)?;
        self.adopt(&news)?;
        if let Some(member) = &self.member {
            member.fleet.is_at(self.shared_generation());
        }
        Ok(())
    }

    /// Takes in what others changed, and publishes what came of it.
    pub(super) fn take_news(&mut self, news: &News) {
        if self.rests {
            return;
        }
        let taken = self.adopt(news);
        let generation = self.shared_generation();
        if let Some(member) = &self.member {
            member.fleet.is_at(generation);
        }
        self.say_of_news(taken);
    }

    /// Makes hold what could not be made to before.
    pub(super) fn settle_news(&mut self) {
        if self.rests || self.news_owed.is_empty() {
            return;
        }
        let settled = self.settle();
        self.say_of_news(settled);
    }

    /// Says what became of news, but not twice the same.
    fn say_of_news(&mut self, taken: Result<(), ControlError>) {
        let Some(member) = &mut self.member else { return };
        let trouble = taken.err().map(|error| format!("what other machines changed cannot be taken in: {error}"));
        if trouble != member.trouble
            && let Some(sentence) = trouble.clone()
        {
            member.trouble = trouble;
            self.note("alarm", sentence);
        } else {
            member.trouble = trouble;
        }
    }

    fn adopt(&mut self, news: &News) -> Result<(), ControlError> {
        let adopted = self.store.adopt(news)?;
        self.owe(adopted);
        self.settle()
    }

    /// From here on this is to hold. What was touched stays so until a publication has looked at it.
    pub(super) fn owe(&mut self, adopted: Adopted) {
        self.touch_access_keys(adopted.access_keys.iter().copied());
        self.touched.extend_tenants(&adopted.tenants);
        self.news_owed.extend(adopted);
    }

    /// Makes hold what was taken in. A step that fails holds up no other: a key that somebody revoked is out, whatever becomes of a
    /// webhook. Then all of it is owed, and made again at the next news or tick: the rows do not come twice.
    fn settle(&mut self) -> Result<(), ControlError> {
        let owed = std::mem::take(&mut self.news_owed);
        if owed.is_empty() {
            return Ok(());
        }
        let steps: [Step; 6] = [
            Self::follow_hierarchy,
            Self::follow_rotations,
            Self::follow_alerts,
            Self::follow_tenants,
            Self::follow_budgets,
            Self::follow_fleet_config,
        ];
        let mut settled = Ok(());
        for step in steps {
            settled = settled.and(step(self, &owed));
        }
        settled = settled.and(self.publish().map(drop));
        if settled.is_err() {
            self.news_owed.extend(owed);
        }
        settled
    }

    fn follow_hierarchy(&mut self, news: &Adopted) -> Result<(), ControlError> {
        if news.hierarchy { self.renew_keyring() } else { Ok(()) }
    }

    fn follow_rotations(&mut self, news: &Adopted) -> Result<(), ControlError> {
        if news.rotations {
            let now = self.now();
            let notes = self.rotations.follow(&mut self.store, now)?;
            self.note_all("rotation", notes);
        }
        Ok(())
    }

    fn follow_alerts(&mut self, news: &Adopted) -> Result<(), ControlError> {
        if news.alerts {
            let now = self.now();
            self.alerts.follow(&mut self.store, now)?;
        }
        if news.webhooks {
            self.alerts.reload_webhooks(&mut self.store)?;
        }
        Ok(())
    }

    /// Forgets tenants that are gone.
    fn follow_tenants(&mut self, news: &Adopted) -> Result<(), ControlError> {
        for tenant in &news.tenants {
            if !self.store.has_tenant(tenant)? {
                self.rotations.forget(tenant);
                self.allowances.forget_own(tenant);
                self.alerts.forget_tenant(tenant);
            }
        }
        Ok(())
    }

    fn follow_fleet_config(&mut self, news: &Adopted) -> Result<(), ControlError> {
        if news.config { self.follow_config() } else { Ok(()) }
    }

    /// Makes budgets hold that another machine set or took away, as if they were set here.
    fn follow_budgets(&mut self, news: &Adopted) -> Result<(), ControlError> {
        if news.budgets.is_empty() {
            return Ok(());
        }
        let all = self.store.admin().budgets()?;
        for (tenant, holder) in &news.budgets {
            if self.store.has_tenant(tenant)? {
                let rows = all.iter().filter(|row| row.tenant == *tenant && row.holder == *holder).cloned().collect();
                self.adopt_budgets(tenant, holder, rows)?;
            }
        }
        Ok(())
    }

    /// Opens the hierarchy as it is now. Under another root key it stays as it was: what it opens, it goes on opening.
    fn renew_keyring(&mut self) -> Result<(), ControlError> {
        match self.store.unlock_again(&self.keyring) {
            Ok(keyring) => {
                self.keyring = keyring;
                self.dirty.credentials = true;
                Ok(())
            }
            Err(StoreError::Vault(crate::vault::VaultError::WrongRootKey)) => {
                let sentence =
                    "another machine has rotated the root key; give this one the new one before its next start";
                self.note("alarm", sentence);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says when the database is gone, and when it is back.
    pub(super) fn watch_fleet(&mut self) {
        let Some(member) = &mut self.member else { return };
        let standing = member.fleet.standing();
        let is_gone = !standing.is_reachable;
        if std::mem::replace(&mut member.was_gone, is_gone) == is_gone {
            return;
        }
        let sentence = match standing.trouble {
            Some(trouble) if is_gone => {
                format!(
                    "the database is gone ({trouble}); this machine serves from its copy and changes nothing until it is back"
                )
            }
            _ if is_gone => "the database is gone; this machine serves from its copy".to_owned(),
            _ => "the database is back".to_owned(),
        };
        self.note(if is_gone { "alarm" } else { "fleet" }, sentence);
    }

    /// The part of the status that says how it stands with the others; null where nothing is shared.
    pub(super) fn fleet_status(&self) -> Value {
        let Some(standing) = self.standing_of_fleet() else { return Value::Null };
        json!({
            "id": standing.fleet.map(hex),
            "reachable": standing.is_reachable,
            "since_seconds": standing.since.elapsed().as_secs(),
            "generation": self.shared_generation(),
            "database_generation": standing.generation,
            "listens": standing.listens,
            "trouble": standing.trouble,
            "config": self.fleet_config_status(),
            "books": self.shipping_status(),
            "leases": self.leases_status(),
        })
    }
}

/// The name of the machine, as its kernel has it.
pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "igris".to_owned(),
        name => name.to_owned(),
    }
}

fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

impl ControlError {
    /// Whether the database cannot be reached, or went while it was asked.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.shared(), Some(ShareError::Unreachable(_) | ShareError::Unknown(_)))
    }

    /// What the database said, if it was the database.
    fn shared(&self) -> Option<&ShareError> {
        use super::access::AccessError;
        use super::credentials::CredentialError;
        match self {
            Self::Store(StoreError::Share(error))
            | Self::Access(AccessError::Store(StoreError::Share(error)))
            | Self::Credential(CredentialError::Store(StoreError::Share(error))) => Some(error),
            _ => None,
        }
    }

    /// Whether another machine was faster, so that the change is to be made again.
    pub fn is_behind(&self) -> bool {
        matches!(self.shared(), Some(ShareError::Behind))
    }
}

impl Rotations {
    /// Reads what others did to rotations. What is known here of the keys stays: the more that is known, the better.
    fn follow(&mut self, store: &mut Store, now: UnixMillis) -> Result<Vec<String>, StoreError> {
        let (next, notes) = Self::take_up(store, now)?;
        self.join(next);
        Ok(notes)
    }
}
