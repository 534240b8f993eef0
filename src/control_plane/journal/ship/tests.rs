//! Shipping against a database that fails as it likes: in the end it has every close once.

use super::*;
use crate::domain::id::{AccessKeyId, AttemptId, ProviderId, RequestId, TenantId};
use crate::ledger::{Durability, Journal, Ledger, LedgerPlan};
use crate::report::{Opening, Outcome};
use crate::routing::policy::Policy;
use crate::vault::LedgerKey;
use std::path::{Path, PathBuf};

/// What the database of a [`Fake`] has.
#[derive(Default)]
pub(in crate::control_plane) struct Kept {
    /// Attempts with how often each was added to the sums.
    pub(in crate::control_plane) attempts: BTreeMap<u128, u32>,
    pub(in crate::control_plane) lanes: BTreeMap<LaneName, u64>,
    /// How many questions it was asked, of whatever kind.
    asked: u64,
    pub(in crate::control_plane) mood: Mood,
}

/// How a [`Fake`] answers.
#[derive(Clone, Default)]
pub(in crate::control_plane) enum Mood {
    #[default]
    Well,
    Gone,
    /// Fails one time in three, before or after it has taken a shipment.
    Moody(Box<fastrand::Rng>),
}

/// A database in memory; clones are the same.
#[derive(Clone, Default)]
pub(in crate::control_plane) struct Fake(pub(in crate::control_plane) Arc<Mutex<Kept>>);

impl Fake {
    pub(in crate::control_plane) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics with it")
    }

    fn answer(&self) -> Result<MutexGuard<'_, Kept>, BooksFault> {
        let mut kept = self.kept();
        kept.asked += 1;
        let fails = match &mut kept.mood {
            Mood::Well => false,
            Mood::Gone => true,
            Mood::Moody(dice) => dice.u8(..6) == 0,
        };
        if fails { Err(gone()) } else { Ok(kept) }
    }
}

fn gone() -> BooksFault {
    BooksFault::Gone("it is gone".to_owned())
}

impl Depot for Fake {
    fn marks(&mut self, lanes: &[LaneName]) -> Result<BTreeMap<LaneName, u64>, BooksFault> {
        let kept = self.answer()?;
        Ok(lanes.iter().filter_map(|lane| Some((lane.clone(), *kept.lanes.get(lane)?))).collect())
    }

    fn ship(&mut self, shipment: &Shipment) -> Result<u64, BooksFault> {
        let mut kept = self.answer()?;
        let is_there = |end: &LaneEnd| kept.lanes.get(&end.lane).copied().unwrap_or(0) == end.since;
        if !shipment.lanes().iter().all(is_there) {
            return Err(BooksFault::Behind);
        }
        for end in shipment.lanes() {
            assert!(end.number > end.since && end.closes > 0, "{end:?}");
            kept.lanes.insert(end.lane.clone(), end.number);
        }
        let mut fresh = 0;
        for attempt in shipment.attempts() {
            // The key; sums are made of what is new.
            if kept.attempts.insert(attempt.bits(), 1).is_none() {
                fresh += 1;
            }
        }
        drop(kept);
        // It was taken, and the answer is lost.
        self.answer().map(|_| fresh)
    }

    fn forget(&mut self, lanes: &[LaneName]) -> Result<(), BooksFault> {
        self.answer()?.lanes.retain(|lane, _| !lanes.contains(lane));
        Ok(())
    }

    fn tend(&mut self, _: &Keep) -> Result<Tended, BooksFault> {
        self.answer().map(|_| Tended::Done)
    }
}

/// The first segment of the first lane.
const SEGMENT: &str = "0-0.seg";

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-ship-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("made");
        Self(path)
    }

    fn ledger(&self) -> Arc<Ledger> {
        let key = Arc::new(LedgerKey::for_tests());
        let plan = LedgerPlan { reserve: 0, ..LedgerPlan::new(self.0.clone(), key, Durability::Process, 2) };
        Ledger::open(plan).expect("a ledger").0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reader(path: &Path) -> Reader {
    Reader::new(path, Some(Arc::new(LedgerKey::for_tests())))
}

fn numbered(number: u128) -> AttemptReport {
    let (tenant, provider) = (TenantId::new("acme"), ProviderId::new("openai"));
    let mut report = AttemptReport::of(&Opening {
        exchange: RequestId::from_bits(number),
        attempt: AttemptId::from_bits(number),
        tenant: &tenant,
        access_key: AccessKeyId::from_bits(1),
        provider: &provider,
        credential: None,
        model: &"gpt-4o".into(),
        policy: Policy::Ordered,
        stream: false,
        price_version: 1,
        started: UnixMillis(1_795_416_713_000),
    });
    report.outcome = Outcome::Completed;
    report
}

fn open(pen: &Journal, number: u128) {
    let _ = pen.open(&numbered(number), 1, None);
}

fn make(pen: &Journal, numbers: std::ops::Range<u128>) {
    for number in numbers {
        open(pen, number);
        let _ = pen.close(&numbered(number));
    }
}

/// The machine's own books, which see how far every lane is written.
struct Own {
    reader: Reader,
    ends: BTreeMap<LaneName, u64>,
}

impl Own {
    fn new(path: &Path) -> Self {
        Self { reader: reader(path), ends: BTreeMap::new() }
    }

    fn order(&mut self) -> Order {
        for lane in self.reader.lanes().expect("listed") {
            let end = self.ends.entry(lane.clone()).or_default();
            *end = self.reader.read(&lane, *end, usize::MAX, &mut |_, _| ()).expect("read");
        }
        Order { ends: self.ends.clone(), ..Order::default() }
    }
}

fn order(path: &Path) -> Order {
    Own::new(path).order()
}

fn carrier(fake: &Fake, path: &Path) -> Carrier<Fake> {
    Carrier::new(fake.clone(), reader(path), Arc::new(Desk::new(Instant::now())))
}

#[test]
fn whatever_fails_every_close_comes_there_once() {
    for seed in 0..4 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (place, fake) = (Place::new(&format!("moody-{seed}")), Fake::default());
        fake.kept().mood = Mood::Moody(Box::new(fastrand::Rng::with_seed(seed + 100)));
        let (mut ledger, mut next) = (place.ledger(), 1u128);
        let mut pens = [ledger.journal(0).expect("a pen"), ledger.journal(1).expect("a pen")];
        // Two of one machine, as during an upgrade.
        let mut own = Own::new(&place.0);
        let mut carriers = [carrier(&fake, &place.0), carrier(&fake, &place.0)];
        for _ in 0..60 {
            match dice.u8(..10) {
                0 => {
                    drop((pens, ledger));
                    ledger = place.ledger();
                    pens = [ledger.journal(0).expect("a pen"), ledger.journal(1).expect("a pen")];
                }
                // The process is killed, or the connection breaks: what was believed is asked for anew.
                1 => carriers[dice.usize(..2)] = carrier(&fake, &place.0),
                // Written again after a failed sync.
                2 => make(&pens[0], next.saturating_sub(3).max(1)..next),
                3..5 => {
                    let count = if dice.u8(..8) == 0 { 4_500 } else { u128::from(dice.u8(1..90)) };
                    make(&pens[dice.usize(..2)], next..next + count);
                    next += count;
                }
                _ => drop(carriers[dice.usize(..2)].turn(&own.order())),
            }
        }
        fake.kept().mood = Mood::Well;
        let [mut carrier, _] = carriers;
        let last = own.order();
        for _ in 0..40 {
            carrier.turn(&last);
        }
        let kept = fake.kept();
        assert_eq!(kept.attempts.keys().copied().collect::<Vec<_>>(), (1..next).collect::<Vec<_>>(), "seed {seed}");
        let standing = carrier.desk.state().standing.clone();
        assert!(standing.trouble.is_none() && standing.failed.is_none());
        for (lane, mark) in standing.acknowledged {
            assert_eq!(kept.lanes.get(&lane).copied().unwrap_or(0), mark, "{lane}");
        }
    }
}

#[test]
fn a_machine_without_anything_to_ship_asks_nobody_and_is_not_behind() {
    let (place, fake) = (Place::new("idle"), Fake::default());
    let ledger = place.ledger();
    let pen = ledger.journal(0).expect("a pen");
    make(&pen, 1..4);
    open(&pen, 4);
    let mut carrier = carrier(&fake, &place.0);
    carrier.turn(&order(&place.0));
    assert_eq!(fake.kept().attempts.len(), 3);
    fake.kept().mood = Mood::Gone;
    let (asked, begun) = (fake.kept().asked, Instant::now());
    carrier.turn(&order(&place.0));
    assert_eq!(fake.kept().asked, asked);
    assert!(carrier.desk.state().standing.complete >= begun, "an answer under way is nothing that is missing");
    let _ = pen.close(&numbered(4));
    carrier.turn(&order(&place.0));
    let standing = carrier.desk.state().standing.clone();
    assert!(
        standing.trouble.is_some_and(|trouble| trouble.is_passing && trouble.sentence.contains("shipped when it does"))
    );
    let failed_at = carrier.desk.state().standing.complete;
    carrier.turn(&order(&place.0));
    assert_eq!(carrier.desk.state().standing.complete, failed_at, "now it is behind");
    fake.kept().mood = Mood::Well;
    carrier.turn(&order(&place.0));
    assert!(carrier.desk.state().standing.complete > failed_at && carrier.desk.state().standing.trouble.is_none());
    assert_eq!((fake.kept().attempts.len(), carrier.desk.state().standing.shipped), (4, 4));
}

#[test]
fn who_rests_ships_nothing_and_goes_on_where_the_database_is() {
    let (place, fake) = (Place::new("rests"), Fake::default());
    let ledger = place.ledger();
    let pen = ledger.journal(0).expect("a pen");
    make(&pen, 1..4);
    let mut old = carrier(&fake, &place.0);
    old.turn(&order(&place.0));
    make(&pen, 4..6);
    old.turn(&Order { rests: true, ..order(&place.0) });
    assert_eq!(fake.kept().attempts.len(), 3);
    carrier(&fake, &place.0).turn(&order(&place.0));
    make(&pen, 6..8);
    old.turn(&order(&place.0));
    assert_eq!(fake.kept().attempts.len(), 7);
}

#[test]
fn a_lane_that_is_damaged_is_told_of_and_the_others_go_on() {
    let (place, fake) = (Place::new("damaged"), Fake::default());
    let ledger = place.ledger();
    make(&ledger.journal(0).expect("a pen"), 1..9);
    make(&ledger.journal(1).expect("a pen"), 11..19);
    let order = order(&place.0);
    let segment = place.0.join(ledger.run()).join(SEGMENT);
    let mut bytes = std::fs::read(&segment).expect("read");
    bytes[128 + 40] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    let mut carrier = carrier(&fake, &place.0);
    let before = carrier.desk.state().standing.complete;
    carrier.turn(&order);
    assert_eq!(fake.kept().attempts.len(), 8, "those of the other lane");
    let standing = carrier.desk.state().standing.clone();
    assert!(
        standing.trouble.is_some_and(|trouble| !trouble.is_passing && trouble.sentence.contains("igris ledger verify"))
    );
    assert_eq!(standing.complete, before);
}
