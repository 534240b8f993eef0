//! Trials over a real store: a bad configuration is taken back whole, stays refused, and a restart knows.

use super::*;
use crate::control_plane::signed::{Guard, Offer};
use crate::control_plane::{Change, choose};

/// Another version, with a trial of a minute that ten requests decide.
fn tried(number: u64, lines: &str) -> String {
    let rollout = "rollout = { watch = \"60s\", error_rate = \"10%\", min_requests = 10 }";
    CONFIG.replace("version = 3\n", &format!("version = {number}\n{rollout}\n{lines}\n"))
}

impl House {
    fn start_chosen(&self, text: &str) -> Control {
        fs::create_dir_all(&self.directory).expect("a directory");
        fs::write(self.file(), text).expect("written");
        let chosen = choose(&self.file(), &self.directory, Guard::default(), clock()).expect("chosen");
        let env = self.env.clone();
        let opened = Control::open(Start {
            config: chosen.config,
            stamp: chosen.stamp,
            footing: chosen.footing,
            source: ConfigSource::File(self.file()),
            data_dir: self.directory.clone(),
            reports: vec![self.reports.clone()],
            board: Arc::default(),
            driver: "epoll".to_owned(),
            workers: 1,
            control_socket: self.directory.join("control.sock"),
            env: Box::new(move |name| env.get(name).cloned()),
            clock,
            entropy: Box::new(OsEntropy),
        });
        opened.expect("opened").control
    }

    fn answers(&self, outcome: Outcome, count: usize) {
        for _ in 0..count {
            let report = AttemptReport { total_us: 0, ..attempt("acme", outcome, None) };
            assert!(self.reports.push(&report));
        }
    }
}

fn put(control: &mut Control, text: &str) -> Result<Reloaded, ControlError> {
    control.change_config(WHO, Change { pushed: Some(Offer::pushed(text.as_bytes().to_vec(), None)), watch: None })
}

fn live(control: &Control) -> (u64, usize) {
    let snapshot = control.published().load_full();
    (snapshot.config.version, snapshot.providers.len())
}

#[test]
fn one_that_fails_is_taken_back_whole_and_stays_refused() {
    let house = House::new("rollout-back");
    let mut control = house.start_chosen(CONFIG);
    let bad = tried(4, "").replace("127.0.0.1:9001", "127.0.0.1:9002").replace("name = \"app\"", "name = \"renamed\"");
    put(&mut control, &bad).expect("applied");
    assert_eq!(control.rollout_status()["on_trial"]["falls_back_to"], 3);
    house.answers(Outcome::Completed, 8);
    control.tick();
    assert_eq!(live(&control).0, 4, "eight prove nothing");
    house.answers(Outcome::Broken, 2);
    control.tick();
    assert_eq!(live(&control), (3, 2));
    let status = control.rollout_status();
    assert_eq!((status["last"]["outcome"].as_str(), status["reverts"].as_u64()), (Some("reverted"), Some(1)));
    assert!(status["on_trial"].is_null() && events(&control).contains("2 of 10 requests failed"));
    assert!(control.metrics().contains("igris_config_reverts_total 1\n"));
    shown(&control, APP_KEY.as_bytes()).expect("it works");
    assert_eq!(keys_for(&control, "acme", "openai"), [OPENAI_KEY]);
    let snapshot = control.published().load_full();
    assert_eq!(&*snapshot.provider(ProviderIx(1)).expect("there").origin.authority, "127.0.0.1:9001");
    let rows = control.store.admin().audit_tail(1).expect("read");
    assert_eq!(rows[0].what, "config.revert");
    assert!(rows[0].before.starts_with("4:") && rows[0].after.starts_with("3:"), "{:?}", rows[0]);

    let error = put(&mut control, &bad).expect_err("it failed before");
    assert!(error.status() == 422 && error.to_string().contains("was taken back"), "{error}");
    assert!(put(&mut control, &bad.replace("version = 4", "version = 5")).expect("another digest").changed);
    drop(control);
    // The bad file on disk: the good one is served, loudly.
    let mut control = house.start_chosen(&bad);
    assert_eq!(live(&control).0, 3);
    assert!(
        events(&control).contains("alarm: ") && events(&control).contains("from the store"),
        "{}",
        events(&control)
    );
    assert!(control.reload(WHO, None).is_err(), "the file is refused still");
}

#[test]
fn one_that_does_well_stays() {
    let house = House::new("rollout-stays");
    let mut control = house.start_chosen(CONFIG);
    let text = tried(4, "");
    let watch = Some(Duration::from_secs(1));
    let pushed = Some(Offer::pushed(text.clone().into_bytes(), None));
    control.change_config(WHO, Change { pushed, watch }).expect("applied");
    house.answers(Outcome::Completed, 20);
    control.tick();
    assert!(!control.rollout_status()["on_trial"].is_null());
    std::thread::sleep(Duration::from_millis(1_050));
    control.tick();
    assert_eq!(control.rollout_status()["last"]["outcome"], "stayed");
    let history = control.store.admin().config_history().expect("read");
    assert_eq!(history.good.map(|good| good.version), Some(4));
    house.answers(Outcome::Broken, 40);
    control.tick();
    assert_eq!(live(&control).0, 4, "the trial is over");
}

#[test]
fn another_change_waits_for_the_end_which_may_be_made_by_hand() {
    let house = House::new("rollout-second");
    let mut control = house.start_chosen(CONFIG);
    put(&mut control, &tried(4, "")).expect("applied");
    assert!(!put(&mut control, &tried(4, "")).expect("the same").changed);
    let error = put(&mut control, &tried(5, "")).expect_err("one at a time");
    assert!(error.status() == 409 && error.to_string().contains("/rollout/accept"), "{error}");
    control.end_trial(WHO, true).expect("accepted");
    put(&mut control, &tried(5, "")).expect("now");
    control.end_trial(WHO, false).expect("taken back");
    assert_eq!(live(&control).0, 4);
    assert!(put(&mut control, &tried(5, "")).is_err(), "taken back by hand it stays so");
    assert_eq!(control.end_trial(WHO, true).expect_err("none").status(), 409);
}

#[test]
fn what_cannot_be_gone_back_to_is_said_before_anything_changes() {
    let mut house = House::new("rollout-lost");
    let file = house.directory.join("openai.key");
    fs::create_dir_all(&house.directory).expect("a directory");
    fs::write(&file, "sk-CANARY-first-0123456789\n").expect("written");
    let with_file = CONFIG.replace("env = \"OPENAI_API_KEY\"", &format!("file = \"{}\"", file.display()));
    house.env.insert("OTHER".to_owned(), "sk-CANARY-other-0123456789".to_owned());
    let mut control = house.start_chosen(&with_file);
    fs::remove_file(&file).expect("removed");
    let next = tried(4, "").replace("OPENAI_API_KEY", "OTHER");
    let error = put(&mut control, &next).expect_err("no way back");
    assert!(error.to_string().contains("watch=0s") && error.to_string().contains("openai"), "{error}");
    assert_eq!(live(&control).0, 3);
    let pushed = Some(Offer::pushed(next.into_bytes(), None));
    control.change_config(WHO, Change { pushed, watch: Some(Duration::ZERO) }).expect("without a trial");
    assert_eq!((live(&control).0, control.rollout_status()["on_trial"].is_null()), (4, true));
}

#[test]
fn a_restart_in_the_middle_goes_on_with_the_trial() {
    let house = House::new("rollout-restart");
    let mut control = house.start_chosen(CONFIG);
    let bad = tried(4, "");
    put(&mut control, &bad).expect("applied");
    drop(control);
    let mut control = house.start_chosen(&bad);
    let status = control.rollout_status();
    assert_eq!((live(&control).0, status["on_trial"]["falls_back_to"].as_u64()), (4, Some(3)), "{status}");
    std::thread::sleep(crate::limits::ROLLOUT_SETTLE + Duration::from_millis(50));
    house.answers(Outcome::Broken, 10);
    control.tick();
    assert_eq!(live(&control).0, 3);
}

#[test]
fn routes_that_vanished_count_although_nobody_was_asked() {
    let house = House::new("rollout-unserved");
    let mut control = house.start_chosen(CONFIG);
    put(&mut control, &tried(4, "")).expect("applied");
    house.reports.gauges.unserved.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
    control.tick();
    assert_eq!(live(&control).0, 3);
}
