//! Does one thing after the other over the admin socket, chosen by dice, and writes into the book what was acknowledged.

use super::book::{AccessKey, Book, Chain, Deed, Rotation};
use crate::support::{Answer, Client, Gateway};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// What this gateway offers of what the driver can do.
#[derive(Clone, Copy, Debug)]
pub struct Able {
    rotations: bool,
    access_rotations: bool,
    vault_rotations: bool,
    pub audit: bool,
}

/// The driver of one life of the process.
pub struct Driver<'b> {
    socket: PathBuf,
    home: PathBuf,
    config: String,
    book: &'b mut Book,
    able: Able,
    dice: fastrand::Rng,
}

/// Tenants with a chain of provider keys.
const CHAINS: usize = 2;
/// Where the master key is changed.
const MASTER: &str = "/vault/rotate-master";
/// Where the root key's file is replaced.
const ROOT: &str = "/vault/rotate-root";
/// Where the audit log is verified.
pub const AUDIT: &str = "/audit/verify";

// === impl Able ===

impl Able {
    /// Asks for each, in a way that changes nothing.
    pub fn of(gateway: &Gateway) -> Self {
        let offers = |path: &str| {
            // A path that is there refuses the method.
            gateway.admin_ask("PUT", path, "").status == 405
        };
        let able = Self {
            rotations: offers("/rotations/rot_x/cancel"),
            access_rotations: offers("/access-keys/ak_x/rotate"),
            vault_rotations: offers(MASTER) && offers(ROOT),
            audit: offers(AUDIT),
        };
        if !(able.rotations && able.access_rotations && able.vault_rotations && able.audit) {
            println!("note: not everything is offered, and what is not is not tried");
        }
        able
    }
}

// === impl Driver ===

impl<'b> Driver<'b> {
    pub fn new(gateway: &Gateway, book: &'b mut Book, able: Able, dice: fastrand::Rng) -> Self {
        let (home, config) = (gateway.home().to_owned(), gateway.config().to_owned());
        Self { socket: home.join("admin.sock"), home, config, book, able, dice }
    }

    /// The first state: tenants with a provider key and an access key each.
    pub fn prepare(&mut self) {
        for number in 0..CHAINS {
            let tenant = format!("chain-{number}");
            let text = self.provider_key();
            self.must("POST", "/tenants", &format!(r#"{{"id":"{tenant}"}}"#));
            let path = format!("/providers/openai/keys?tenant={tenant}");
            let key = text_of(&self.must("POST", &path, &format!(r#"{{"api_key":"{text}"}}"#)), "id");
            let made = self.must("POST", &format!("/access-keys?tenant={tenant}"), r#"{"name":"chain"}"#);
            let chain = Chain {
                tenant,
                access_key: text_of(&made, "key"),
                texts: [(key.clone(), text)].into(),
                active: key,
                open: None,
            };
            self.book.strays.insert(text_of(&made, "id"));
            self.book.chains.push(chain);
        }
        self.book.config_version = 1;
    }

    /// Does things until it is told to stop or nobody answers.
    pub fn drive(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let Some(deed) = self.choose() else { continue };
            self.book.under_way = Some(deed.clone());
            if !self.perform(&deed) {
                self.book.cut_off += 1;
                return;
            }
            self.book.under_way = None;
            self.book.acknowledged += 1;
        }
    }

    fn choose(&mut self) -> Option<Deed> {
        let chain = self.dice.usize(..CHAINS);
        let open = self.book.chains[chain].open.is_some();
        let deed = match self.dice.u8(..12) {
            0 | 1 => Deed::MakeAccessKey { tenant: self.book.chains[chain].tenant.clone() },
            2 => Deed::RevokeAccessKey { id: self.living_key()? },
            3 if self.able.access_rotations => {
                let id = self.living_key()?;
                (!self.book.access_keys[&id].rotated).then_some(Deed::RotateAccessKey { id })?
            }
            4 => Deed::MakeTenant { id: format!("t{:08x}", self.dice.u32(..)) },
            5 => {
                let there = self.book.tenants.iter().filter(|(_, there)| **there).map(|(id, _)| id.clone());
                Deed::DropTenant { id: self.dice.choice(there.collect::<Vec<_>>())? }
            }
            6 | 7 => {
                let version = self.book.config_version + 1;
                Deed::Reload { version }
            }
            8 if self.able.vault_rotations && self.dice.bool() => Deed::RotateMaster,
            8 if self.able.vault_rotations => Deed::RotateRoot,
            9.. if self.able.rotations && !open => Deed::BeginRotation { chain, text: self.provider_key() },
            9 if self.able.rotations => Deed::CancelRotation { chain },
            10.. if self.able.rotations => Deed::CompleteRotation { chain },
            _ => return None,
        };
        Some(deed)
    }

    /// Performs a deed and writes down what it was answered with; `false`: it was cut off.
    fn perform(&mut self, deed: &Deed) -> bool {
        self.answered(deed).is_some()
    }

    fn answered(&mut self, deed: &Deed) -> Option<()> {
        match deed {
            Deed::MakeAccessKey { tenant } => {
                let made = self.ask("POST", &format!("/access-keys?tenant={tenant}"), r#"{"name":"made"}"#)?;
                self.learn_access_key(tenant, &made);
            }
            Deed::RevokeAccessKey { id } => {
                let tenant = self.book.access_keys[id].tenant.clone();
                self.ask("DELETE", &format!("/access-keys/{id}?tenant={tenant}"), "")?;
                self.book.access_keys.get_mut(id).expect("it is known").revoked = true;
            }
            Deed::RotateAccessKey { id } => {
                let old = self.book.access_keys.get_mut(id).expect("it is known");
                // Also if this is cut off: a key is rotated once.
                old.rotated = true;
                let (tenant, body) = (old.tenant.clone(), r#"{"overlap_minutes":60}"#);
                let made = self.ask("POST", &format!("/access-keys/{id}/rotate?tenant={tenant}"), body)?;
                self.learn_access_key(&tenant, &made);
            }
            Deed::MakeTenant { id } => {
                self.ask("POST", "/tenants", &format!(r#"{{"id":"{id}"}}"#))?;
                self.book.tenants.insert(id.clone(), true);
            }
            Deed::DropTenant { id } => {
                self.ask("DELETE", &format!("/tenants/{id}"), "")?;
                self.book.tenants.insert(id.clone(), false);
            }
            Deed::Reload { version } => {
                self.write_config(*version);
                self.ask("POST", "/reload", "")?;
                self.book.config_version = *version;
            }
            Deed::RotateMaster => drop(self.ask("POST", MASTER, "{}")?),
            Deed::RotateRoot => drop(self.ask("POST", ROOT, "{}")?),
            Deed::BeginRotation { chain, text } => self.begin(*chain, text)?,
            Deed::CompleteRotation { chain } => self.end(*chain, "complete")?,
            Deed::CancelRotation { chain } => self.end(*chain, "cancel")?,
        }
        Some(())
    }

    fn begin(&mut self, chain: usize, text: &str) -> Option<()> {
        let tenant = self.book.chains[chain].tenant.clone();
        let path = format!("/providers/openai/keys/rotate?tenant={tenant}");
        let body = format!(r#"{{"new_api_key":"{text}","grace_period_minutes":60}}"#);
        let begun = self.ask("POST", &path, &body)?;
        let (id, old, new) =
            (text_of(&begun, "rotation_id"), text_of(&begun, "old_key_id"), text_of(&begun, "new_key_id"));
        let chain = &mut self.book.chains[chain];
        assert_eq!(old, chain.active, "the key that goes is the one in use");
        chain.texts.insert(new.clone(), text.to_owned());
        chain.open = Some(Rotation { id, old, new });
        Some(())
    }

    fn end(&mut self, chain: usize, how: &str) -> Option<()> {
        let Chain { tenant, open, .. } = self.book.chains[chain].clone();
        let rotation = open.expect("chosen because it is open");
        self.ask("POST", &format!("/rotations/{}/{how}?tenant={tenant}", rotation.id), "")?;
        let chain = &mut self.book.chains[chain];
        chain.active = if how == "complete" { rotation.new } else { rotation.old };
        chain.open = None;
        Some(())
    }

    fn learn_access_key(&mut self, tenant: &str, made: &Value) {
        let key = AccessKey { tenant: tenant.to_owned(), text: text_of(made, "key"), revoked: false, rotated: false };
        self.book.access_keys.insert(text_of(made, "id"), key);
    }

    /// An access key that works.
    fn living_key(&mut self) -> Option<String> {
        let living = self.book.access_keys.iter().filter(|(_, key)| !key.revoked).map(|(id, _)| id.clone());
        self.dice.choice(living.collect::<Vec<_>>())
    }

    fn provider_key(&mut self) -> String {
        format!("sk-canary-{:016x}{:08x}", self.dice.u64(..), self.dice.u32(..))
    }

    /// The same configuration with another version, put in place at once.
    fn write_config(&self, version: u64) {
        let text = self.config.replacen("version = 1\n", &format!("version = {version}\n"), 1);
        let draft = self.home.join("igris.toml.new");
        std::fs::write(&draft, text).expect("the home folder can be written to");
        std::fs::rename(&draft, self.home.join("igris.toml")).expect("a file can be renamed in its folder");
    }

    fn must(&mut self, method: &str, path: &str, body: &str) -> Value {
        self.ask(method, path, body).unwrap_or_else(|| panic!("{method} {path} was not answered"))
    }

    /// The answer, if it came whole. A refusal fails the test: the driver asks for nothing that cannot be.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<Value> {
        let answer = ask(&self.socket, method, path, body)?;
        // A rotation of the master key that a crash cut goes on by itself, and another one waits for it.
        let waits = path == MASTER && answer.status == 409;
        assert!(waits || matches!(answer.status, 200..=204), "{method} {path}: {} {}", answer.status, answer.text());
        Some(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }
}

/// One request on a connection of its own; `None`: it was cut off.
pub fn ask(socket: &std::path::Path, method: &str, path: &str, body: &str) -> Option<Answer> {
    let mut client = Client::unix(socket).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    client.send(request.as_bytes());
    client.try_answer().ok().filter(|answer| answer.whole)
}

/// A text member of an answer.
pub fn text_of(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no `{member}` in {value}")).to_owned()
}
