//! What machines of a fleet tell each other of providers: how often and how fast they answered. A machine that has seen little of a model
//! itself leans on it, as it leans on the same model under other credentials; what it sees itself soon weighs more. Without a fleet, without
//! the database, or with `[fleet] share_scores = false`, each learns alone.

use super::Control;
use super::scores::{SharedScores, shared};
use super::ticks::{every, lock};
use crate::domain::id::ProviderId;
use crate::fleet::{Fleet, Hearsay};
use crate::limits::fleet::LEARN_TICK;
use crate::routing::hearsay;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Tells and hears, for as long as it is polled.
pub(super) async fn learn_always(control: Arc<Mutex<Control>>) {
    let mut tick = every(LEARN_TICK);
    let mut after = None;
    loop {
        tick.tick().await;
        let Some((fleet, scores)) = lock(&control).teacher() else { continue };
        after = learn(&fleet, &scores, after).await.or(after);
    }
}

/// Answers until when was heard; `None`: the database did not answer, and what was to be told is old by the next time.
async fn learn(fleet: &Fleet, scores: &SharedScores, after: Option<i64>) -> Option<i64> {
    let untold = shared(scores).take_untold();
    let told = untold.iter().filter(|(_, seen)| seen.attempts() > seen.neutral);
    let told = told.map(|((provider, model), seen)| Hearsay {
        provider: provider.to_string(),
        model: model.to_string(),
        seen: hearsay::write(seen),
    });
    let heard = fleet.learn(told.collect(), after).await.ok()?;
    let (mut scores, now) = (shared(scores), Instant::now());
    for Hearsay { provider, model, seen } in &heard.told {
        if let Some(seen) = hearsay::read(seen) {
            scores.hear(ProviderId::new(provider), Arc::from(model.as_str()), &seen, now);
        }
    }
    Some(heard.until).filter(|until| *until > 0)
}

impl Control {
    /// Who tells and is told, if machines share what they see.
    fn teacher(&self) -> Option<(Fleet, SharedScores)> {
        let fleet = self.shares().filter(|_| self.config.fleet.share_scores && !self.rests)?;
        Some((fleet, self.scores.clone()))
    }
}
