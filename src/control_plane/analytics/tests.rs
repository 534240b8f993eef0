//! Questions over a control plane in a directory of its own.

use super::*;
use crate::control_plane::tests::{CONFIG, House};
use std::time::Duration;

impl Control {
    /// What a tenant used, as a page would say it.
    pub(in crate::control_plane) fn usage(
        &mut self,
        tenant: &TenantId,
        period: UsagePeriod,
        now: UnixMillis,
    ) -> Result<UsageAnswer, ControlError> {
        self.ingest()?;
        let reader = RollupReader::open(&self.place.store, || false)?;
        usage(&Books::open(reader, Asker::Tenant(tenant.clone()), now)?, Window::Last(period))
    }
}

fn everything() -> SumQuestion {
    SumQuestion { hours: 0..u64::from(u32::MAX), group_by: Vec::new(), bucket: None, skip: 0, most: 1 }
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "that it is held is the point")]
async fn a_question_needs_no_control_lock() {
    let house = House::new("analyst");
    let control = Arc::new(std::sync::Mutex::new(house.open(CONFIG)));
    let analyst = crate::control_plane::lock(&control).analyst().expect("somebody to ask");
    let held = crate::control_plane::lock(&control);
    let asked = analyst.ask(Asker::Operator(None), |books| books.total(everything().hours));
    assert_eq!(asked.await.expect("answered").answer.attempts, 0);
    drop(held);
}

#[tokio::test]
async fn nobody_is_asked_while_another_process_has_the_store() {
    let house = House::new("analyst-rests");
    let mut control = house.open(CONFIG);
    control.rests = true;
    let refused = control.analyst().err().expect("refused");
    assert_eq!((refused.status(), refused.code()), (503, "store_unavailable"));
    control.rests = false;
    let unknown = control.analyst().expect("there").ask(Asker::Tenant(TenantId::new("nobody")), |_| Ok(()));
    assert_eq!(unknown.await.expect_err("rule T1").status(), 404);
}

#[tokio::test]
async fn a_question_ends_when_nobody_waits_for_it_and_leaves_its_seat() {
    let house = House::new("analyst-leaves");
    let mut control = house.open(CONFIG);
    let seats = control.seats.0.clone();
    for _ in 0..QUESTIONS_AT_ONCE + 1 {
        let endless = control.analyst().expect("there").ask(Asker::Operator(None), |books| {
            // As long as SQLite answers: it looks at `stop` every few thousand steps.
            let stopped = loop {
                if let Err(stopped) = books.sums(&everything()) {
                    break stopped;
                }
            };
            Err::<(), _>(stopped)
        });
        let cut = timeout(Duration::from_millis(50), endless).await;
        assert!(cut.is_err(), "it did not end by itself");
    }
    for _ in 0..200 {
        if seats.available_permits() == QUESTIONS_AT_ONCE {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("a question went on without its asker");
}

#[test]
fn the_costliest_thousand_are_named_and_the_others_are_one() {
    let sums = |cost: u64| Sums { cost: Money::from_pico(i128::from(cost)), attempts: 1, ..Sums::default() };
    let all = (1..=2_000).map(|place: u64| (format!("model-{place:04}"), sums(place)));
    let named = usage::bounded(all.collect());
    assert_eq!(named.len(), 1_001);
    assert_eq!((named["(others)"].attempts, named["(others)"].cost.pico()), (1_000, 500_500));
    assert_eq!(named.values().map(|sums| sums.attempts).sum::<u64>(), 2_000);
}
