//! The machine by hand and by chance.

use super::Evidence::{Good, Refused};
use super::*;
use proptest::prelude::*;

const LINGERING: Duration = Duration::from_secs(900);

fn begun() -> Rotation {
    Rotation::begin(GRACE, 100).expect("begun")
}

fn fed(mut rotation: Rotation, evidence: &[Evidence]) -> Rotation {
    evidence.iter().for_each(|evidence| rotation.count(Which::New, *evidence));
    rotation
}

fn later(mut rotation: Rotation, passed: Duration) -> Rotation {
    rotation.pass(passed);
    rotation
}

fn step(rotation: &Rotation) -> Option<Step> {
    rotation.turn(true, LINGERING).map(|(step, _)| step)
}

fn turned(rotation: Rotation) -> Rotation {
    rotation.turn(true, LINGERING).expect("a step is due").1
}

#[test]
fn the_grace_is_between_a_minute_and_a_day() {
    let begin = |ms| Rotation::begin(Duration::from_millis(ms), 1).map(|rotation| rotation.state().left());
    assert_eq!(begin(59_999), Err(NotARotation::Grace));
    assert_eq!(begin(60_000), Ok(Duration::from_secs(60)));
    assert_eq!(begin(86_400_000), Ok(Duration::from_secs(86_400)));
    assert_eq!(begin(86_400_001), Err(NotARotation::Grace));
    assert_eq!(Rotation::begin(GRACE, 0), Err(NotARotation::Canary));
    assert_eq!(Rotation::begin(GRACE, 101), Err(NotARotation::Canary));
}

#[test]
fn a_new_key_is_promoted_at_the_end_and_not_a_moment_before() {
    let rotation = later(fed(begun(), &[Good]), GRACE - Duration::from_millis(1));
    assert_eq!(step(&rotation), None);
    let rotation = later(rotation, Duration::from_millis(1));
    assert_eq!(step(&rotation), Some(Step::Promote));
    let rotation = turned(rotation);
    assert_eq!((rotation.state().active(), rotation.state().left()), (Which::New, LINGERING));
    assert_eq!(step(&rotation), None, "what began with the old key goes on");
    let rotation = turned(later(rotation, LINGERING));
    assert_eq!((rotation.state(), step(&rotation)), (State::Finished, None));
}

#[test]
fn a_key_that_nobody_used_is_promoted_and_one_that_was_only_refused_is_not() {
    assert_eq!(step(&later(begun(), GRACE)), Some(Step::Promote), "never refused");
    let refused = turned(later(fed(begun(), &[Refused]), GRACE));
    assert_eq!(refused.detail().held, Some(HeldReason::NeverAccepted));
    assert_eq!(step(&later(fed(begun(), &[Refused, Good, Refused, Refused]), GRACE)), Some(Step::Promote));
}

#[test]
fn the_third_refusal_in_a_row_holds_a_key_that_never_worked() {
    assert_eq!(step(&fed(begun(), &[Refused, Refused])), None);
    let held = fed(begun(), &[Refused; 3]);
    assert_eq!(step(&held), Some(Step::Hold));
    assert_eq!(turned(held).state(), State::Held { why: HeldReason::NeverAccepted, left_ms: 900_000 });
    assert_eq!(step(&fed(begun(), &[Good, Refused, Refused, Refused])), None, "it has worked");
    assert_eq!(step(&fed(begun(), &[Refused, Refused, Refused, Good])), None, "it works by now");
}

#[test]
fn a_key_that_worked_and_is_refused_for_good_is_held() {
    let mut evidence = vec![Good];
    evidence.extend([Refused; ROTATION_REFUSALS_AFTER_GOOD as usize - 1]);
    assert_eq!(step(&fed(begun(), &evidence)), None);
    evidence.push(Refused);
    assert_eq!(turned(fed(begun(), &evidence)).detail().held, Some(HeldReason::RefusedAgain));
    let at_the_end = later(fed(begun(), &[Good, Refused, Refused, Refused]), GRACE);
    assert_eq!(turned(at_the_end).detail().held, Some(HeldReason::RefusedAgain), "nobody is promoted into an outage");
}

#[test]
fn a_key_that_cannot_be_used_is_not_promoted() {
    let over = later(begun(), GRACE);
    let (step, held) = over.turn(false, LINGERING).expect("a step");
    assert_eq!((step, held.detail().held), (Step::Hold, Some(HeldReason::NotInService)));
    assert_eq!(begun().turn(false, LINGERING), None, "there is time");
}

#[test]
fn three_answers_in_a_row_bring_a_held_key_back_for_a_minute_at_least() {
    let held = turned(fed(begun(), &[Refused; 3]));
    assert_eq!(step(&fed(held, &[Good, Good, Refused, Good, Good])), None);
    let early = turned(fed(later(held, Duration::from_secs(60)), &[Good; 3]));
    assert_eq!(early.state(), State::Grace { left_ms: 840_000 });
    let late = turned(fed(later(held, GRACE * 2), &[Good; 3]));
    assert_eq!(late.state(), State::Grace { left_ms: 60_000 });
    assert_eq!(step(&later(held, GRACE * 9)), None, "a held one waits for evidence or a person");
    assert_eq!(step(&turned(later(late, GRACE_MIN))), None);
}

#[test]
fn a_person_decides_once() {
    let held = turned(fed(begun(), &[Refused; 3]));
    for rotation in [begun(), held] {
        let (step, completed) = rotation.complete(LINGERING).expect("undecided");
        assert_eq!((step, completed.state().active()), (Step::Complete, Which::New));
        assert_eq!(completed.complete(LINGERING), Err(TooLate::Completed));
        assert_eq!(completed.cancel(), Err(TooLate::Completed));
        let (step, cancelled) = rotation.cancel().expect("undecided");
        assert_eq!((step, cancelled.state().active()), (Step::Cancel, Which::Old));
        assert_eq!(cancelled.complete(LINGERING), Err(TooLate::Cancelled));
        assert_eq!(cancelled.cancel(), Err(TooLate::Cancelled));
        assert_eq!((rotation.finish(), cancelled.finish()), (None, None));
        assert!(completed.finish().is_some());
    }
}

#[test]
fn words_and_the_active_key_agree() {
    let held = turned(fed(begun(), &[Refused; 3]));
    let promoted = turned(later(begun(), GRACE));
    let finished = promoted.finish().expect("promoted").1;
    let cancelled = begun().cancel().expect("undecided").1;
    let words = |rotation: Rotation| [Which::Old, Which::New].map(|which| rotation.state().word(which));
    assert_eq!(words(begun()), ["fallback", "grace"]);
    assert_eq!(words(held), ["active", "pending"]);
    assert_eq!(words(promoted), ["retired", "active"]);
    assert_eq!(words(finished), ["erased", "active"]);
    assert_eq!(words(cancelled), ["active", "revoked"]);
}

#[test]
fn a_clock_that_is_set_moves_no_deadline() {
    let at = UnixMillis(1_000_000_000);
    let mut watch = Watch::new(at, Duration::from_secs(5));
    let look = watch.look(UnixMillis(at.0 + 1_000), Duration::from_secs(6));
    assert_eq!(look, Look { passed: Duration::from_secs(1), stepped: None });
    let look = watch.look(UnixMillis(at.0 + 3_602_000), Duration::from_secs(7));
    let stepped = Some(ClockStep::Forward(Duration::from_secs(3_600)));
    assert_eq!(look, Look { passed: Duration::from_secs(1), stepped });
    let look = watch.look(at, Duration::from_secs(8));
    assert_eq!(look.passed, Duration::from_secs(1));
    assert!(matches!(look.stepped, Some(ClockStep::Backward(_))));
    assert_eq!(watch.look(UnixMillis(at.0 + 60_000), Duration::from_secs(8)).stepped, None, "the slack itself is none");
    assert_eq!(watch.look(at, Duration::from_secs(1)).passed, Duration::ZERO);
}

#[test]
fn a_restart_counts_the_time_between_and_an_older_clock_adds_nothing() {
    let (deadline, looked) = (UnixMillis(1_000_000), UnixMillis(400_000));
    let left = |wall| left_at(deadline, looked, UnixMillis(wall)).as_millis();
    assert_eq!((left(400_000), left(700_000), left(1_000_001)), (600_000, 300_000, 0));
    assert_eq!((left(399_999), left(0)), (600_000, 600_000));
}

// ---- By chance ------------------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug)]
enum Event {
    Count(Which, Evidence),
    /// Seconds that pass, and how far the wall clock is set meanwhile.
    Wait(u32, i32),
    Complete,
    Cancel,
    /// The process dies and starts again after so many seconds, with the wall clock set by so many.
    Restart(u32, i32),
}

fn events() -> impl Strategy<Value = Event> {
    let which = prop_oneof![Just(Which::Old), Just(Which::New), Just(Which::New)];
    let evidence = prop_oneof![Just(Good), Just(Refused)];
    prop_oneof![
        8 => (which, evidence).prop_map(|(which, evidence)| Event::Count(which, evidence)),
        4 => (0..400_u32, prop_oneof![3 => Just(0), 1 => -100_000..100_000_i32]).prop_map(|(s, set)| Event::Wait(s, set)),
        1 => Just(Event::Complete),
        1 => Just(Event::Cancel),
        2 => (0..400_u32, prop_oneof![1 => Just(0), 1 => -100_000..0_i32]).prop_map(|(s, set)| Event::Restart(s, set)),
    ]
}

/// What a store would hold: the row, and which of the two keys is in which state.
struct World {
    rotation: Rotation,
    watch: Watch,
    wall: i64,
    monotonic: Duration,
    /// State's name, detail, deadline, looked.
    row: (&'static str, String, UnixMillis, UnixMillis),
    promotions: u32,
    erased: Vec<Which>,
    /// Time that has really passed in this grace, as an upper bound on what the machine may have counted.
    lived: Duration,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            rotation: begun(),
            watch: Watch::new(UnixMillis(1_000_000_000), Duration::ZERO),
            wall: 1_000_000_000,
            monotonic: Duration::ZERO,
            row: ("", String::new(), UnixMillis(0), UnixMillis(0)),
            promotions: 0,
            erased: Vec::new(),
            lived: Duration::ZERO,
        };
        world.write();
        world
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(u64::try_from(self.wall).unwrap_or(0))
    }

    fn write(&mut self) {
        let detail = serde_json::to_string(&self.rotation.detail()).expect("JSON");
        let state = self.rotation.state();
        let deadline = UnixMillis(self.now().0 + milliseconds(state.left()));
        self.row = (state.name(), detail, deadline, self.now());
    }

    fn take(&mut self, step: Step, next: Rotation) {
        match step {
            Step::Promote | Step::Complete => {
                assert_eq!(self.rotation.state().active(), Which::Old, "promoted from the old one, once");
                self.promotions += 1;
            }
            Step::Cancel => self.erased.push(Which::New),
            Step::Finish => self.erased.push(Which::Old),
            Step::Hold | Step::Resume => {}
        }
        if step == Step::Promote {
            assert!(self.lived >= GRACE_MIN, "promoted after {:?}", self.lived);
            let new = self.rotation.tally(Which::New);
            assert!(new.good > 0 || new.refused == 0, "promoted by itself without proof");
        }
        self.rotation = next;
        self.write();
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Count(which, evidence) => self.rotation.count(which, evidence),
            Event::Wait(seconds, set) => {
                let passed = Duration::from_secs(u64::from(seconds));
                self.lived += passed;
                self.monotonic += passed;
                self.wall += i64::from(seconds) * 1_000 + i64::from(set) * 1_000;
                let look = self.watch.look(self.now(), self.monotonic);
                assert_eq!(look.passed, passed);
                self.rotation.pass(look.passed);
                self.write();
            }
            Event::Complete => {
                if let Ok((step, next)) = self.rotation.complete(LINGERING) {
                    self.take(step, next);
                }
            }
            Event::Cancel => {
                if let Ok((step, next)) = self.rotation.cancel() {
                    self.take(step, next);
                }
            }
            Event::Restart(seconds, set) => {
                self.lived += Duration::from_secs(u64::from(seconds));
                self.wall += i64::from(seconds) * 1_000 + i64::from(set) * 1_000;
                let (state, detail, deadline, looked) = &self.row;
                let before = left_at(*deadline, *looked, *looked);
                let left = left_at(*deadline, *looked, self.now());
                assert!(left <= before, "a restart prolongs nothing");
                let detail = serde_json::from_str(detail).expect("JSON");
                self.rotation = Rotation::restore(state, detail, left).expect("what was written can be read");
                self.watch = Watch::new(self.now(), self.monotonic);
                self.write();
            }
        }
        if let Some((step, next)) = self.rotation.turn(true, LINGERING) {
            self.take(step, next);
        }
    }
}

proptest! {
    #[test]
    fn exactly_one_key_is_active_whatever_happens(events in prop::collection::vec(events(), 1..80)) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
            let state = world.rotation.state();
            prop_assert!(world.promotions <= 1, "promoted twice");
            prop_assert!(!world.erased.contains(&state.active()), "the active key is erased");
            prop_assert!(world.erased.len() <= 1);
            prop_assert_eq!(world.promotions == 1, state.active() == Which::New);
            prop_assert_eq!(world.row.0, state.name());
            let words = [Which::Old, Which::New].map(|which| state.word(which));
            prop_assert!(words.contains(&"active") || state.name() == "grace");
        }
    }
}
