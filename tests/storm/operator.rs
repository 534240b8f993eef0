//! Changes things while the load runs, each kind evenly over the time.

use super::load::{Victim, Victims};
use crate::support::Gateway;
use igris_load::certs::Issued;
use std::time::{Duration, Instant};

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The order of providers, by another configuration.
    Reload,
    /// The certificate.
    Swap,
    /// The process.
    Upgrade,
    /// An access key that is in use.
    Revoke,
}

/// Whoever changes things.
pub struct Operator<'g> {
    gateway: &'g Gateway,
    victims: &'g Victims,
    version: u32,
    done: Vec<(Change, u32)>,
    /// The process that serves after an upgrade; it is no child of ours.
    successor: Option<u64>,
}

impl<'g> Operator<'g> {
    pub fn new(gateway: &'g Gateway, victims: &'g Victims) -> Self {
        Self { gateway, victims, version: 1, done: Vec::new(), successor: None }
    }

    /// Makes so many changes of each kind within the time, and lets the rest of it pass.
    pub fn work(&mut self, changes: &[(Change, u32)], time: Duration, issue: &dyn Fn() -> Issued) {
        let began = Instant::now();
        let mut plan: Vec<(Duration, Change)> = Vec::new();
        for (change, count) in changes {
            // In the middle of each share, so that none comes before the load has begun.
            plan.extend((0..*count).map(|number| (time * (2 * number + 1) / (2 * count), *change)));
        }
        plan.sort_by_key(|(at, _)| *at);
        for (at, change) in plan {
            std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
            match change {
                Change::Reload => self.reload(),
                Change::Swap => self.swap(&issue()),
                Change::Upgrade => self.upgrade(),
                Change::Revoke => self.revoke(),
            }
        }
        std::thread::sleep((began + time).saturating_duration_since(Instant::now()));
        println!("done: {:?}", self.done);
    }

    /// A key that is going to be revoked.
    pub fn make_victim(&mut self) {
        let made = self.gateway.admin_ask("POST", "/access-keys?tenant=default", r#"{"name":"victim"}"#);
        assert_eq!(made.status, 201, "{}", made.text());
        let view = made.json();
        let text = |member: &str| view[member].as_str().expect("a text").to_owned();
        self.victims.add(Victim { id: text("id"), text: text("key"), asked: None, acknowledged: None });
    }

    fn revoke(&mut self) {
        let victim = self.victims.latest(|victim| victim.asked = Some(Instant::now()));
        let path = format!("/access-keys/{}?tenant=default", victim.id);
        let gone = self.gateway.admin_ask("DELETE", &path, "");
        assert_eq!(gone.status, 200, "{}", gone.text());
        self.victims.latest(|victim| victim.acknowledged = Some(Instant::now()));
        self.make_victim();
        self.count(Change::Revoke);
    }

    fn reload(&mut self) {
        self.version += 1;
        let text = self.gateway.config().replace("version = 1\n", &format!("version = {}\n", self.version));
        let (one, other) = (r#"{ provider = "p1", model = "gpt-4o" }"#, r#"{ provider = "p2", model = "gpt-4o" }"#);
        let text = match self.version % 2 {
            0 => text.replace(&format!("{one}, {other}"), &format!("{other}, {one}")),
            _ => text,
        };
        self.gateway.write_config(&text);
        self.must_reload();
        self.count(Change::Reload);
    }

    fn swap(&mut self, pair: &Issued) {
        let write = |name: &str, pem: &str| {
            std::fs::write(self.gateway.home().join(name), pem).expect("the home folder can be written to");
        };
        write("cert.pem", &pair.cert_pem);
        write("key.pem", &pair.key_pem);
        self.must_reload();
        self.count(Change::Swap);
    }

    fn must_reload(&self) {
        let answer = self.gateway.admin_ask("POST", "/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["changed"], true, "{}", answer.text());
    }

    fn upgrade(&mut self) {
        // A path that is there refuses the method.
        if self.gateway.admin_ask("PUT", "/upgrade", "").status != 405 {
            println!("note: this gateway hands over to no other; the upgrade is left out");
            return;
        }
        let answer = self.gateway.admin_ask("POST", "/upgrade", "{}");
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.successor = answer.json()["pid"].as_u64();
        self.count(Change::Upgrade);
    }

    fn count(&mut self, change: Change) {
        match self.done.iter_mut().find(|(known, _)| *known == change) {
            Some((_, count)) => *count += 1,
            None => self.done.push((change, 1)),
        }
    }
}

impl Drop for Operator<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.successor {
            let _ = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status();
        }
    }
}
