//! Rotations over a real store: the contract's answer, roles in the snapshot, evidence, people's wishes, keys of the configuration.

use super::*;
use crate::control_plane::rotations::{NewRotation, RotationView};
use crate::domain::id::RotationId;
use crate::limits::{GRACE, GRACE_MIN, ROTATION_LINGERING};
use crate::snapshot::Role;
use crate::store::CredentialState;
use serde_json::json;

pub(super) const OLD: &str = "sk-CANARY-old-key-0123456789";
pub(super) const NEW: &str = "sk-CANARY-new-key-0123456789";

/// A control plane whose clocks go by hand.
pub(super) struct Bench {
    pub(super) house: House,
    pub(super) control: Option<Control>,
    pub(super) instant: Instant,
}

impl Bench {
    pub(super) fn new(name: &str) -> Self {
        CLOCK.set(NOW.0);
        let house = House::new(&format!("rotation-{name}"));
        let control = Some(house.open(CONFIG));
        Self { house, control, instant: Instant::now() }
    }

    /// With a key of `acme`'s own.
    pub(super) fn with_key(name: &str) -> Self {
        let mut bench = Self::new(name);
        add(bench.c(), "acme", "openai", OLD).expect("added");
        bench
    }

    pub(super) fn c(&mut self) -> &mut Control {
        self.control.as_mut().expect("open")
    }

    pub(super) fn rotate(&mut self, tenant_name: &str) -> Result<RotationView, ControlError> {
        self.rotate_to(tenant_name, NewRotation::to(secret(NEW)))
    }

    pub(super) fn rotate_to(&mut self, tenant_name: &str, asked: NewRotation) -> Result<RotationView, ControlError> {
        // Keys are listed by their age.
        self.set_wall(1);
        self.c().begin_rotation(WHO, &tenant(tenant_name), "openai", asked)
    }

    /// Both clocks go on, by so much at least: operations look at the real monotonic one.
    pub(super) fn pass(&mut self, time: Duration) {
        self.set_wall(i64::try_from(time.as_millis()).expect("small"));
        self.instant = self.instant.max(Instant::now()) + time;
        self.turn();
    }

    /// The wall clock alone is set.
    pub(super) fn set_wall(&mut self, by_ms: i64) {
        CLOCK.set(CLOCK.get().saturating_add_signed(by_ms));
    }

    pub(super) fn turn(&mut self) {
        let instant = self.instant;
        let control = self.c();
        control.ingest().expect("taken");
        control.turn_rotations_at(clock(), instant);
        control.publish().expect("published");
    }

    pub(super) fn reopen(&mut self) {
        self.control = None;
        self.control = Some(self.house.open(CONFIG));
        self.turn();
    }

    /// Attempts with a key that were answered or refused.
    pub(super) fn attempts(&mut self, key: &str, good: bool, count: usize) {
        let id = CredentialId::parse(key).expect("an id");
        for _ in 0..count {
            let (outcome, status) = if good { (Outcome::Completed, 200) } else { (Outcome::Refused, 401) };
            let report =
                AttemptReport { credential: Some(id), status, key_refused: !good, ..attempt("acme", outcome, None) };
            assert!(self.house.reports.push(&report), "room");
        }
        self.turn();
    }

    pub(super) fn view(&mut self, tenant_name: &str, id: &str) -> RotationView {
        let id = RotationId::parse(id).expect("an id");
        self.c().rotation(&tenant(tenant_name), Some("oai"), id).expect("there")
    }

    /// Id and status of a tenant's keys at openai, oldest first.
    pub(super) fn statuses(&mut self, tenant_name: &str) -> Vec<&'static str> {
        let views = self.c().credentials(&tenant(tenant_name), Some("openai")).expect("listed");
        views.iter().map(|view| view.status).collect()
    }

    pub(super) fn states(&mut self, tenant_name: &str) -> Vec<CredentialState> {
        let rows = self.c().store.credentials(&tenant(tenant_name), None).expect("read");
        rows.iter().map(|row| row.state).collect()
    }

    pub(super) fn roles(&mut self, tenant_name: &str) -> Vec<(String, Role)> {
        let snapshot = self.c().published().load_full();
        let found = snapshot.credentials.find(&tenant(tenant_name), &ProviderId::new("openai"));
        found.iter().map(|key| (String::from_utf8_lossy(key.secret.expose()).into_owned(), key.role)).collect()
    }

    /// Whether a rotation has about so many seconds left: the machine that runs this may be slow.
    pub(super) fn has_left(&mut self, id: &str, seconds: u64) -> bool {
        let left = self.view("acme", id).seconds_left;
        (seconds.saturating_sub(20)..=seconds).contains(&left)
    }

    fn events(&mut self) -> String {
        events(self.c())
    }
}

fn named(text: &str, role: Role) -> (String, Role) {
    (text.to_owned(), role)
}

fn fresh(canary_percent: u8) -> Role {
    Role::Fresh { canary_percent }
}

#[test]
fn the_answer_is_the_contracts_and_both_keys_are_in_use_at_once() {
    let mut bench = Bench::with_key("begin");
    let generation = bench.c().published().load().generation;
    let view = bench.rotate_to("acme", NewRotation { canary_percent: 10, ..NewRotation::to(secret(NEW)) });
    let view = view.expect("begun");
    let json = serde_json::to_value(&view).expect("json");
    assert_eq!(json["status"], "in_progress");
    assert_eq!(json["grace_period_ends"], UnixMillis(NOW.0 + 900_000).to_rfc3339());
    for (member, prefix) in [("rotation_id", "rot_"), ("old_key_id", "key_"), ("new_key_id", "key_")] {
        assert!(json[member].as_str().is_some_and(|id| id.starts_with(prefix) && id.len() > 20), "{json}");
    }
    assert_eq!(
        (&json["state"], &json["seconds_left"], &json["canary_percent"]),
        (&json!("grace"), &json!(900), &json!(10))
    );
    assert_eq!(json["counts"], json!({ "old": { "good": 0, "refused": 0 }, "new": { "good": 0, "refused": 0 } }));
    assert!(json.get("held_reason").is_none() && json.get("warnings").is_none());
    assert_eq!(bench.c().published().load().generation, generation + 1, "published at once");
    assert_eq!(bench.roles("acme"), [named(NEW, fresh(10)), named(OLD, Role::Outgoing)]);
    assert_eq!(bench.statuses("acme"), ["fallback", "grace"]);
    assert_eq!(bench.states("acme"), [CredentialState::Active, CredentialState::Pending]);
    let last = bench.c().store.admin().audit_tail(1).expect("read").remove(0);
    assert_eq!(
        (last.what.as_str(), last.who.as_str(), last.target.as_str()),
        ("rotation.begin", WHO, &*view.rotation_id)
    );
    assert!(bench.events().contains(&format!("rotation: {} of provider `openai`", view.rotation_id)));
    let shown = [json.to_string(), bench.events(), bench.c().status().to_string(), bench.c().metrics()].concat();
    assert!(!shown.contains("CANARY"), "rule R4: {shown}");
}

#[test]
fn a_new_key_is_promoted_at_the_end_of_its_grace_and_the_old_one_erased_later() {
    let mut bench = Bench::with_key("promote");
    let view = bench.rotate("acme").expect("begun");
    bench.attempts(&view.new_key_id, true, 2);
    bench.attempts(&view.old_key_id, true, 1);
    bench.pass(GRACE - Duration::from_secs(60));
    let seen = bench.view("acme", &view.rotation_id);
    assert!(seen.status == "in_progress" && bench.has_left(&view.rotation_id, 60), "{seen:?}");
    assert_eq!((seen.counts.new.good, seen.counts.old.good), (2, 1));
    assert_eq!(seen.grace_period_ends, view.grace_period_ends, "what was told stays");
    bench.pass(Duration::from_secs(60));
    let seen = bench.view("acme", &view.rotation_id);
    assert_eq!((seen.status, seen.state, seen.seconds_left), ("completed", "promoted", 0));
    assert_eq!(seen.grace_period_ends, view.grace_period_ends);
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)], "the old one is in no snapshot");
    assert_eq!(bench.statuses("acme"), ["retired", "active"]);
    assert_eq!(bench.states("acme"), [CredentialState::Retiring, CredentialState::Active]);
    let generation = bench.c().published().load().generation;
    bench.pass(ROTATION_LINGERING - Duration::from_millis(1));
    assert_eq!(bench.c().published().load().generation, generation, "nothing happens in between");
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.view("acme", &view.rotation_id).state, "finished");
    assert_eq!(bench.statuses("acme"), ["erased", "active"]);
    let rows = bench.c().store.credentials(&tenant("acme"), None).expect("read");
    assert!(rows[0].record.is_none() && rows[1].record.is_some());
    assert!(bench.c().rotations.counts().iter().all(|(_, count)| *count == 0));
    bench.c().store.admin().verify_audit().expect("a whole chain");
    // And the new one can be rotated in its turn.
    let third = NewRotation::to(secret("sk-CANARY-third-key-0123456789"));
    let next = bench.rotate_to("acme", third).expect("begun");
    assert_eq!(next.old_key_id, view.new_key_id);
    assert_eq!(bench.statuses("acme"), ["erased", "fallback", "grace"]);
}

#[test]
fn a_key_that_is_refused_is_held_probed_and_brought_back() {
    let mut bench = Bench::with_key("held");
    let view = bench.rotate("acme").expect("begun");
    bench.attempts(&view.new_key_id, false, 2);
    assert_eq!(bench.view("acme", &view.rotation_id).status, "in_progress");
    bench.attempts(&view.new_key_id, false, 1);
    let seen = bench.view("acme", &view.rotation_id);
    assert_eq!((seen.status, seen.held_reason), ("held", Some("never_accepted")));
    assert!(seen.held_because.is_some_and(|sentence| sentence.contains("complete")));
    assert_eq!(bench.roles("acme"), [named(OLD, Role::Usual), named(NEW, Role::Standby)]);
    assert_eq!(bench.statuses("acme"), ["active", "pending"]);
    assert!(bench.events().contains("is held"), "{}", bench.events());
    bench.pass(GRACE * 3);
    assert_eq!(bench.view("acme", &view.rotation_id).state, "held", "no clock promotes it");
    bench.attempts(&view.new_key_id, true, 3);
    let seen = bench.view("acme", &view.rotation_id);
    assert_eq!((seen.status, seen.seconds_left, seen.held_reason), ("in_progress", 60, None));
    assert_eq!(bench.roles("acme")[0], named(NEW, fresh(100)));
    bench.pass(GRACE_MIN);
    assert_eq!(bench.view("acme", &view.rotation_id).status, "completed");
    let whats: Vec<String> =
        bench.c().store.admin().audit_tail(4).expect("read").into_iter().rev().map(|row| row.what).collect();
    assert_eq!(whats, ["rotation.begin", "rotation.hold", "rotation.resume", "rotation.promote"]);
}

#[test]
fn what_says_nothing_about_a_key_is_no_evidence() {
    let mut bench = Bench::with_key("evidence");
    let view = bench.rotate("acme").expect("begun");
    let new = CredentialId::parse(&view.new_key_id);
    for (outcome, status) in [
        (Outcome::Refused, 429),
        (Outcome::Refused, 400),
        (Outcome::TimedOut, 0),
        (Outcome::Unreachable, 0),
        (Outcome::Broken, 502),
    ] {
        let report = AttemptReport { credential: new, status, ..attempt("acme", outcome, None) };
        assert!(bench.house.reports.push(&report), "room");
    }
    let cut = AttemptReport { credential: new, status: 200, ..attempt("acme", Outcome::ClientGone, None) };
    assert!(bench.house.reports.push(&cut), "room");
    let seen = bench.view("acme", &view.rotation_id);
    assert_eq!((seen.counts.new.good, seen.counts.new.refused), (1, 0), "an answer that began was an answer");
}

#[test]
fn a_person_completes_or_cancels_once() {
    let mut bench = Bench::with_key("wishes");
    let acme = tenant("acme");
    let view = bench.rotate("acme").expect("begun");
    let id = RotationId::parse(&view.rotation_id).expect("an id");
    for error in [
        bench.c().cancel_rotation(WHO, &tenant("default"), None, id).expect_err("rule T1"),
        bench.c().complete_rotation(WHO, &acme, Some("groq"), id).expect_err("another provider's"),
        bench.c().rotation(&acme, None, RotationId::from_bits(7)).expect_err("none"),
    ] {
        assert_eq!(error.status(), 404, "{error}");
    }
    let cancelled = bench.c().cancel_rotation(WHO, &acme, Some("openai"), id).expect("cancelled");
    assert_eq!((cancelled.status, cancelled.seconds_left), ("cancelled", 0));
    assert_eq!(bench.roles("acme"), [named(OLD, Role::Usual)]);
    assert_eq!(bench.statuses("acme"), ["active", "revoked"]);
    for error in [
        bench.c().cancel_rotation(WHO, &acme, None, id).expect_err("over"),
        bench.c().complete_rotation(WHO, &acme, None, id).expect_err("over"),
    ] {
        assert!(error.status() == 409 && error.to_string().contains("begin another"), "{error}");
    }

    let view = bench.rotate("acme").expect("begun");
    bench.attempts(&view.new_key_id, false, 3);
    let id = RotationId::parse(&view.rotation_id).expect("an id");
    let done = bench.c().complete_rotation(WHO, &acme, None, id).expect("completed, although held");
    assert_eq!((done.status, done.state), ("completed", "promoted"));
    assert_eq!(done.grace_period_ends, UnixMillis(NOW.0).to_rfc3339(), "its grace ended now");
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)]);
    assert_eq!(bench.c().cancel_rotation(WHO, &acme, None, id).expect_err("too late").status(), 409);
    let listed = bench.c().rotations(&acme, Some("openai")).expect("listed");
    assert_eq!(listed.iter().map(|view| view.status).collect::<Vec<_>>(), ["cancelled", "completed"]);
    assert!(bench.c().rotations(&tenant("default"), None).expect("listed").is_empty());
    assert_eq!(bench.c().rotations(&tenant("nobody"), None).expect_err("none").status(), 404);
}

#[test]
fn a_key_in_rotation_can_neither_rotate_nor_be_removed() {
    let mut bench = Bench::with_key("busy");
    let acme = tenant("acme");
    let view = bench.rotate("acme").expect("begun");
    let [old, new] = [&view.old_key_id, &view.new_key_id].map(|id| CredentialId::parse(id).expect("an id"));
    for key_id in [None, Some(old), Some(new)] {
        let third = NewRotation { key_id, ..NewRotation::to(secret("sk-CANARY-third-0123456789")) };
        let error = bench.rotate_to("acme", third).expect_err("rule V8: 409");
        assert!(error.status() == 409 && error.to_string().contains(&view.rotation_id), "{error}");
    }
    for id in [old, new] {
        let error = bench.c().remove_credential(WHO, &acme, "openai", id).expect_err("it takes part");
        assert!(error.status() == 409 && error.to_string().contains("cancel or complete"), "{error}");
    }
    let id = RotationId::parse(&view.rotation_id).expect("an id");
    bench.c().complete_rotation(WHO, &acme, None, id).expect("completed");
    // Out of use is not yet erased: a removal brings that forward.
    let removed = bench.c().remove_credential(WHO, &acme, "openai", old).expect("removed");
    assert_eq!(removed.status, "erased");
    assert_eq!(bench.view("acme", &view.rotation_id).state, "finished");
    assert_eq!(bench.c().remove_credential(WHO, &acme, "openai", old).expect_err("gone").status(), 404);
    assert_eq!(bench.c().remove_credential(WHO, &acme, "openai", new).expect("removed").status, "revoked");
}

#[test]
fn the_key_that_turns_is_the_only_one_or_named() {
    let mut bench = Bench::new("which");
    let none = bench.rotate("acme").expect_err("the operator's key is not acme's");
    assert!(none.status() == 404 && none.to_string().contains("add one"), "{none}");
    assert_eq!(bench.rotate("nobody").expect_err("no tenant").status(), 404);
    let first = add(bench.c(), "acme", "openai", OLD).expect("added");
    let second = add(bench.c(), "acme", "openai", "sk-CANARY-second-0123456789").expect("added");
    let error = bench.rotate("acme").expect_err("which?");
    assert!(error.status() == 400 && error.to_string().contains("key_id"), "{error}");
    assert!(error.to_string().contains(&first.id) && error.to_string().contains(&second.id), "{error}");
    let key_id = CredentialId::parse(&second.id);
    let foreign = bench.rotate_to("default", NewRotation { key_id, ..NewRotation::to(secret(NEW)) });
    assert_eq!(foreign.expect_err("rule T1").status(), 404);
    let view = bench.rotate_to("acme", NewRotation { key_id, ..NewRotation::to(secret(NEW)) }).expect("begun");
    assert_eq!(view.old_key_id, second.id);
    assert_eq!(
        bench.roles("acme"),
        [named(NEW, fresh(100)), named("sk-CANARY-second-0123456789", Role::Outgoing), named(OLD, Role::Usual)]
    );
    // Of several in the operator's tenant, the one that the API brought.
    let own = add(bench.c(), "default", "openai", "sk-CANARY-own-0123456789").expect("added");
    assert_eq!(bench.rotate("default").expect("begun").old_key_id, own.id);
}

#[test]
fn a_key_that_cannot_be_meant_begins_nothing() {
    let mut bench = Bench::with_key("meant");
    let before = bench.c().store.admin().verify_audit().expect("whole");
    let account = r#"{"type":"service_account","client_email":"a@b.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token","private_key":"-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----\n"}"#;
    let grace = |seconds| NewRotation { grace: Duration::from_secs(seconds), ..NewRotation::to(secret(NEW)) };
    for (asked, part) in [
        (NewRotation::to(secret(&format!(" {OLD}\n"))), "the old one"),
        (NewRotation::to(secret(account)), "service account"),
        (NewRotation::to(secret("sk-CANARY 1")), "character"),
        (NewRotation::to(secret("  ")), "empty"),
        (grace(59), "1 minute"),
        (grace(86_401), "24 hours"),
        (NewRotation { canary_percent: 0, ..NewRotation::to(secret(NEW)) }, "1 to 100"),
        (NewRotation { timeout_ms: Some(0), ..NewRotation::to(secret(NEW)) }, "timeout"),
    ] {
        let error = bench.rotate_to("acme", asked).expect_err(part);
        assert!(error.status() == 400 && error.to_string().contains(part), "{part}: {error}");
        assert!(!error.to_string().contains("CANARY"), "rule R1: {error}");
    }
    assert_eq!(bench.c().store.admin().verify_audit().expect("whole"), before);
    assert_eq!(bench.statuses("acme"), ["active"]);
}

#[test]
fn the_new_key_has_the_old_ones_limits_unless_it_is_said() {
    let mut bench = Bench::new("limits");
    let config = KeyConfig { timeout_ms: 9_000, max_retries: 1 };
    bench.c().add_credential(WHO, &tenant("acme"), "openai", secret(OLD), config).expect("added");
    bench.rotate_to("acme", NewRotation { max_retries: Some(2), ..NewRotation::to(secret(NEW)) }).expect("begun");
    let views = bench.c().credentials(&tenant("acme"), None).expect("listed");
    assert_eq!(views[1].config, KeyConfig { timeout_ms: 9_000, max_retries: 2 });
    let error = bench.rotate_to("default", NewRotation { max_retries: Some(2), ..NewRotation::to(secret(NEW)) });
    assert_eq!(error.expect_err("the provider's own terms").status(), 400);
}

#[test]
fn a_key_of_the_configuration_rotates_for_everybody_it_serves_and_does_not_come_back() {
    let mut bench = Bench::new("configured");
    let view = bench.rotate("default").expect("begun");
    assert_eq!(
        bench.roles("acme"),
        [named(NEW, fresh(100)), named(OPENAI_KEY, Role::Outgoing)],
        "shared as the old one"
    );
    assert_eq!(bench.roles("default"), bench.roles("acme"));
    // A reload in between touches neither key.
    let text = CONFIG.replace("version = 3", "version = 4");
    bench.c().reload(WHO, Some(&text)).expect("fine");
    assert_eq!(bench.statuses("default"), ["fallback", "grace"]);
    bench.pass(GRACE);
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)]);
    for version in [5, 6] {
        bench.c().reload(WHO, Some(&CONFIG.replace("version = 3", &format!("version = {version}")))).expect("fine");
        assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)], "the old text stays out");
        assert!(bench.events().contains("was rotated away"), "{}", bench.events());
    }
    bench.reopen();
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)]);
    assert!(bench.events().contains("was rotated away") && !bench.events().contains("CANARY"));
    bench.pass(ROTATION_LINGERING);
    assert_eq!(bench.statuses("default"), ["erased", "active"]);
    bench.reopen();
    assert_eq!(bench.statuses("default"), ["erased", "active"]);

    // The configuration names the new one: it is the configuration's from then on, under its id.
    bench.house.env.insert("OPENAI_API_KEY".to_owned(), NEW.to_owned());
    bench.reopen();
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)]);
    let id = CredentialId::parse(&view.new_key_id).expect("an id");
    let error = bench.c().remove_credential(WHO, &tenant("default"), "openai", id).expect_err("it would come back");
    assert_eq!(error.status(), 409);
    bench.house.env.insert("OPENAI_API_KEY".to_owned(), "sk-CANARY-other-0123456789".to_owned());
    bench.reopen();
    assert_eq!(bench.roles("acme"), [named("sk-CANARY-other-0123456789", Role::Usual)], "and goes with it");
}

#[test]
fn a_key_that_came_by_rotation_stays_when_the_configuration_names_none_and_may_be_removed() {
    let mut bench = Bench::new("unnamed");
    bench.rotate("default").expect("begun");
    bench.pass(GRACE);
    let without = CONFIG.replace("api_key = { env = \"OPENAI_API_KEY\" }\n", "").replace("version = 3", "version = 4");
    bench.c().reload(WHO, Some(&without)).expect("fine");
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)], "nobody is cut off by tidying up");
    // Back to the first text on purpose: rotating to it readmits it.
    bench.rotate_to("default", NewRotation::to(secret(OPENAI_KEY))).expect("begun");
    bench.pass(GRACE);
    bench.pass(ROTATION_LINGERING);
    assert_eq!(bench.roles("acme"), [named(OPENAI_KEY, Role::Usual)]);
    bench.c().reload(WHO, Some(&CONFIG.replace("version = 3", "version = 5"))).expect("fine");
    assert_eq!(bench.roles("acme"), [named(OPENAI_KEY, Role::Usual)], "the configuration's own again");
    assert!(!bench.events().contains("was rotated away"));
}

#[test]
fn a_cancelled_rotation_of_a_configured_key_leaves_it_to_the_configuration() {
    let mut bench = Bench::new("configured-cancel");
    let view = bench.rotate("default").expect("begun");
    let id = RotationId::parse(&view.rotation_id).expect("an id");
    bench.c().cancel_rotation(WHO, &tenant("default"), None, id).expect("cancelled");
    bench.reopen();
    assert_eq!(bench.roles("acme"), [named(OPENAI_KEY, Role::Usual)]);
    assert_eq!(bench.statuses("default"), ["active", "revoked"]);
}

#[test]
fn a_reload_that_names_the_new_key_in_the_middle_changes_nothing() {
    let mut bench = Bench::new("reload");
    bench.rotate("default").expect("begun");
    bench.house.env.insert("OPENAI_API_KEY".to_owned(), NEW.to_owned());
    bench.reopen();
    assert_eq!(bench.statuses("default"), ["fallback", "grace"]);
    assert_eq!(bench.roles("acme"), [named(NEW, fresh(100)), named(OPENAI_KEY, Role::Outgoing)]);
    bench.pass(GRACE);
    bench.pass(ROTATION_LINGERING);
    bench.reopen();
    assert_eq!(bench.roles("acme"), [named(NEW, Role::Usual)]);
    assert_eq!(bench.statuses("default"), ["erased", "active"], "and no third one");
}

#[test]
fn a_tenants_rotations_go_with_it() {
    let mut bench = Bench::new("tenant");
    bench.c().create_tenant(WHO, "beta").expect("made");
    add(bench.c(), "beta", "openai", OLD).expect("added");
    let view = bench.rotate("beta").expect("begun");
    bench.c().delete_tenant(WHO, &tenant("beta")).expect("destroyed");
    assert!(bench.c().rotations.counts().iter().all(|(_, count)| *count == 0));
    bench.pass(GRACE);
    bench.reopen();
    bench.c().create_tenant(WHO, "beta").expect("made anew");
    assert!(bench.c().rotations(&tenant("beta"), None).expect("listed").is_empty());
    let id = RotationId::parse(&view.rotation_id).expect("an id");
    assert_eq!(bench.c().rotation(&tenant("beta"), None, id).expect_err("gone").status(), 404);
}

#[test]
fn old_keys_are_named_once_a_day_and_shown() {
    let mut bench = Bench::with_key("old");
    let said = |bench: &mut Bench| bench.events().matches("days old").count();
    bench.c().tick();
    assert_eq!(said(&mut bench), 0);
    let day = 86_400_000;
    bench.set_wall(90 * day);
    bench.c().tick();
    bench.c().tick();
    assert_eq!(said(&mut bench), 2, "acme's and the configuration's: {}", bench.events());
    assert!(bench.events().contains("rotation: key_") && bench.events().contains("90 days old"), "{}", bench.events());
    let view = bench.c().credentials(&tenant("acme"), None).expect("listed").remove(0);
    assert_eq!((view.age_days, view.rotation_due), (90, true));
    assert_eq!(bench.c().status()["rotations"]["keys"], json!({ "due": 2, "too_old": 0, "oldest_days": 90 }));
    bench.set_wall(90 * day);
    bench.c().tick();
    assert_eq!(bench.events().matches("alarm: key_").count(), 2, "{}", bench.events());
    let metrics = bench.c().metrics();
    for line in [
        "igris_provider_key_age_seconds{provider=\"openai\"} 15552000",
        "igris_provider_keys_due{provider=\"openai\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    bench.rotate("acme").expect("begun");
    let view = bench.c().credentials(&tenant("acme"), None).expect("listed").remove(0);
    assert!(!view.rotation_due && view.rotation_id.is_some(), "somebody is at it");
    bench
        .c()
        .reload(
            WHO,
            Some(
                &CONFIG
                    .replace("version = 3", "version = 4\n[rotation]\nremind_after = \"never\"\nmax_age = \"never\""),
            ),
        )
        .expect("fine");
    bench.set_wall(day);
    bench.c().tick();
    assert_eq!(said(&mut bench), 4, "never is never");
}
