//! How much room the cores have, for people: an event when it changes, a part of the state, figures for metrics.
//!
//! The cores judge themselves; this reads off what they show.

use super::Control;
use crate::domain::limit::LimitKind;
use crate::domain::pressure::{Pressure, ShedReason, Stage};
use crate::report::CoreReports;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the cores show at one moment.
pub(super) struct Room {
    /// By core.
    pub(super) pressures: Vec<Pressure>,
    /// Requests turned away, in the order of [`ShedReason::ALL`].
    pub(super) shed: [u64; ShedReason::ALL.len()],
    /// Requests that limits refused, in the order of [`LimitKind::ALL`].
    pub(super) limited: [u64; LimitKind::ALL.len()],
}

impl Room {
    pub(super) fn read(reports: &[Arc<CoreReports>]) -> Self {
        let pressure = |core: &Arc<CoreReports>| Pressure::unpack(core.gauges.overload.load(Ordering::Relaxed));
        let shed = |reason: ShedReason| {
            reports.iter().map(|core| core.gauges.shed[reason.place()].load(Ordering::Relaxed)).sum()
        };
        let limited = |kind: LimitKind| {
            reports.iter().map(|core| core.gauges.limited[kind.place()].load(Ordering::Relaxed)).sum()
        };
        Self {
            pressures: reports.iter().map(pressure).collect(),
            shed: ShedReason::ALL.map(shed),
            limited: LimitKind::ALL.map(limited),
        }
    }

    /// The core with the least room.
    pub(super) fn worst(&self) -> Pressure {
        self.pressures.iter().copied().max_by_key(|pressure| (pressure.stage, pressure.percent)).unwrap_or_default()
    }

    /// As a part of the state.
    pub(super) fn to_json(&self) -> Value {
        let core = |pressure: &Pressure| json!({ "stage": pressure.stage.name(), "worst": pressure.strain.name(), "percent": pressure.percent });
        let cores: Vec<Value> = self.pressures.iter().map(core).collect();
        let shed: Map<String, Value> = ShedReason::ALL
            .iter()
            .zip(self.shed)
            .map(|(reason, count)| (reason.name().to_owned(), count.into()))
            .collect();
        json!({ "stage": self.worst().stage.name(), "cores": cores, "shed": shed })
    }
}

impl Control {
    /// Notes when the stage of any core has changed since the last look.
    pub(super) fn watch_room(&mut self) {
        let room = Room::read(&self.reports);
        let stages: Vec<Stage> = room.pressures.iter().map(|pressure| pressure.stage).collect();
        self.stages.resize(stages.len(), Stage::Calm);
        let changes = room.pressures.iter().zip(&self.stages).enumerate().filter(|(_, (now, was))| now.stage != **was);
        let sentence = |(core, (now, was)): (usize, (&Pressure, &Stage))| {
            let (was, now, strain, percent) = (was.name(), now.stage.name(), now.strain.name(), now.percent);
            format!("core {core} went from {was} to {now}: {strain} is at {percent} percent, and nothing is above that")
        };
        let sentences = changes.map(sentence).collect();
        self.stages = stages;
        self.note_all("overload", sentences);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pressure::Strain;

    #[test]
    fn the_core_with_the_least_room_speaks_for_all() {
        let reports: Vec<Arc<CoreReports>> = (0..3).map(|_| Arc::new(CoreReports::new(1))).collect();
        let show = |core: usize, stage, strain, percent| {
            let word = Pressure { stage, strain, percent }.pack();
            reports[core].gauges.overload.store(word, Ordering::Relaxed);
        };
        show(0, Stage::Calm, Strain::Memory, 79);
        show(1, Stage::Shedding, Strain::Lag, 91);
        show(2, Stage::Tight, Strain::InFlight, 89);
        for core in &reports {
            core.gauges.shed[ShedReason::Share.place()].fetch_add(2, Ordering::Relaxed);
        }
        let room = Room::read(&reports);
        assert_eq!(room.worst(), Pressure { stage: Stage::Shedding, strain: Strain::Lag, percent: 91 });
        let shown = room.to_json();
        assert_eq!(shown["stage"], "shedding");
        assert_eq!(shown["cores"][2], json!({ "stage": "tight", "worst": "in_flight", "percent": 89 }));
        assert_eq!((&shown["shed"]["tenant_share"], &shown["shed"]["memory"]), (&json!(6), &json!(0)));
    }
}
