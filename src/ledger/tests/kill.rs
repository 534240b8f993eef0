//! A process that is really killed in the middle of writing, again and again, while another one reads.

use super::*;
use std::process::{Command, Stdio};

const PLACE: &str = "IGRIS_LEDGER_KILL";
const ROUNDS: u64 = 6;

/// Not a test by itself: the process that is killed. Writes attempts until it dies, some of them open at any time.
#[test]
#[ignore = "the other half of a_process_that_is_killed_loses_nothing"]
fn victim() {
    let Ok(path) = std::env::var(PLACE) else { return };
    let (path, round) = path.split_once('#').expect("a place and a round");
    let place = std::mem::ManuallyDrop::new(Place(PathBuf::from(path)));
    let mut random = fastrand::Rng::with_seed(round.parse().expect("a number"));
    let (ledger, _) = open(plan(&place));
    let journal = ledger.journal(0).expect("a pen");
    // Told outside of the journal, before and after: what was opened at least, and at most.
    let (begun, ended) = (place.0.join(format!("begun-{round}")), place.0.join(format!("ended-{round}")));
    let base = round.parse::<u64>().expect("a number") * 1_000_000;
    let mut open = Vec::new();
    let begun_at = Instant::now();
    for attempt in base + 1.. {
        // Nobody is left behind when the other half fails.
        assert!(begun_at.elapsed() < Duration::from_secs(60), "nobody came");
        while !journal.has_room(1) {
            std::thread::yield_now();
        }
        if attempt % 97 == 0 {
            fs::write(&begun, attempt.to_string()).expect("a note");
        }
        begin(&journal, attempt);
        open.push(attempt);
        if open.len() > random.usize(1..32) {
            let done = open.swap_remove(random.usize(..open.len()));
            if random.bool() {
                journal.mark(&mark(done, 3));
            }
            journal.close(&report(done));
        }
        if attempt % 97 == 0 {
            fs::write(&ended, attempt.to_string()).expect("a note");
        }
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing() {
    let place = Place::new("kill");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut reader = Reader::new(&place.ledger(), Some(key()));
    let mut afters: BTreeMap<LaneName, u64> = BTreeMap::new();
    let (mut begun, mut closed) = (BTreeMap::new(), BTreeMap::new());
    for round in 1..=ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "ledger::tests::kill::victim", "--ignored", "--nocapture"])
            .env(PLACE, format!("{}#{round}", place.0.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        wait_until("the child writes", || place.0.join(format!("ended-{round}")).exists());
        let until = Instant::now() + Duration::from_micros(random.u64(0..40_000));
        while Instant::now() < until {
            read(&mut reader, &mut afters, &mut begun, &mut closed);
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
    let (ledger, recovered) = open(plan(&place));
    assert!(recovered.quarantined.is_empty());
    read(&mut reader, &mut afters, &mut begun, &mut closed);
    assert_eq!(begun.len(), closed.len(), "every attempt has its close");
    assert!(closed.values().all(|count| *count == 1), "and one only");
    for round in 1..=ROUNDS {
        let noted = |name: &str| -> u64 {
            let text = fs::read_to_string(place.0.join(format!("{name}-{round}"))).unwrap_or_default();
            text.parse().unwrap_or(round * 1_000_000)
        };
        let last = begun.keys().filter(|attempt| **attempt / 1_000_000 == round).max().copied().unwrap_or(0);
        assert!(last >= noted("ended"), "round {round}: {last} is before {}", noted("ended"));
        let count = begun.keys().filter(|attempt| **attempt / 1_000_000 == round).count() as u64;
        assert_eq!(count, last - round * 1_000_000, "round {round}: none in between is missing");
    }
    drop(ledger);
    let verification = verify(&place.ledger(), Some(&key())).expect("it can be read");
    assert!(verification.is_whole(), "{verification:?}");
}

fn read(
    reader: &mut Reader,
    afters: &mut BTreeMap<LaneName, u64>,
    begun: &mut BTreeMap<u64, u64>,
    closed: &mut BTreeMap<u64, u64>,
) {
    for lane in reader.lanes().expect("the directory can be read") {
        let after = afters.entry(lane.clone()).or_default();
        let id = |attempt: AttemptId| u64::try_from(attempt.bits()).expect("small");
        let mut each = |_: u64, entry: Entry| match entry {
            Entry::Intent(intent) => *begun.entry(id(intent.report.attempt)).or_default() += 1,
            Entry::Close(report) => *closed.entry(id(report.attempt)).or_default() += 1,
            Entry::Mark(_) => {}
        };
        *after =
            reader.read(&lane, *after, usize::MAX, &mut each).expect("what a living process writes is never damaged");
    }
}
