//! Messages on their way: taken from the store when they are due, signed, sent, and noted.
//!
//! ```text
//! waiting --2xx--> delivered
//!    ^  \--otherwise--> waiting, after a pause that grows; about a day later, or on 410, dead
//! ```
//! At least once: whoever is killed between sending and noting sends again under the same id. Each receiver gets one message at a time, and
//! those of one tenant a few, so that one that is slow delays nobody else. The lock is held to take and to note, never while sending.

use super::raise::Raised;
use crate::control_plane::post::Post;
use crate::control_plane::resolve::Resolver;
use crate::control_plane::{Control, every, lock};
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{MessageId, TenantId};
use crate::limits::alerts::{
    WEBHOOK_DEADLINE, WEBHOOK_PAUSES, WEBHOOK_SENDS_MAX, WEBHOOK_SENDS_PER_TENANT_MAX, WEBHOOK_TICK,
};
use crate::store::{DeliveryRow, DeliveryState};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// Whose receiver: one message at a time goes to each.
type Lane = (TenantId, String);

/// A message with all that sending takes.
struct Parcel {
    row: DeliveryRow,
    post: Post,
}

/// Delivers what is due, for as long as it is polled. Needs a tokio runtime with time and I/O.
pub async fn deliver_always(control: Arc<Mutex<Control>>, resolver: Option<Resolver>) {
    let mut tick = every(WEBHOOK_TICK);
    let mut busy: HashSet<Lane> = HashSet::new();
    let mut sends: JoinSet<(DeliveryRow, Result<u16, String>)> = JoinSet::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let parcels = lock(&control).parcels(&busy);
                for Parcel { row, post } in parcels {
                    busy.insert((row.tenant.clone(), row.webhook.clone()));
                    let resolver = resolver.clone();
                    sends.spawn(async move {
                        let outcome = post.deliver(resolver.as_ref(), WEBHOOK_DEADLINE).await;
                        (row, outcome)
                    });
                }
            }
            Some(sent) = sends.join_next(), if !sends.is_empty() => {
                // A send that panicked keeps its lane until the restart; there is none that can.
                let Ok((row, outcome)) = sent else { continue };
                busy.remove(&(row.tenant.clone(), row.webhook.clone()));
                lock(&control).note_sent(&row, outcome);
            }
        }
    }
}

impl Control {
    /// What is due, for receivers that have nothing under way.
    fn parcels(&mut self, busy: &HashSet<Lane>) -> Vec<Parcel> {
        if self.rests || busy.len() >= WEBHOOK_SENDS_MAX {
            return Vec::new();
        }
        let now = self.now();
        // A store that cannot be read is said by the books.
        let most = u32::try_from(WEBHOOK_SENDS_MAX).unwrap_or(u32::MAX);
        let due = self.store.admin().due_deliveries(now, 1, most).unwrap_or_default();
        let mut lanes: HashMap<TenantId, usize> = HashMap::new();
        for (tenant, _) in busy {
            *lanes.entry(tenant.clone()).or_default() += 1;
        }
        let mut parcels = Vec::new();
        for row in due {
            let lane = (row.tenant.clone(), row.webhook.clone());
            let taken = lanes.entry(row.tenant.clone()).or_default();
            // The operator's own receivers stand for themselves, whosever alerts they get.
            let is_full = !row.webhook.starts_with("config:") && *taken >= WEBHOOK_SENDS_PER_TENANT_MAX;
            if busy.contains(&lane) || is_full || busy.len() + parcels.len() >= WEBHOOK_SENDS_MAX {
                continue;
            }
            *taken += 1;
            match self.parcel(&row, now) {
                Ok(post) => parcels.push(Parcel { row, post }),
                Err(why) => self.note_sent(&row, Err(why)),
            }
        }
        parcels
    }

    /// Signs a message with every secret of its webhook, as of now.
    fn parcel(&mut self, row: &DeliveryRow, now: UnixMillis) -> Result<Post, String> {
        let receiver = self.receiver(&row.tenant, &row.webhook, now).ok_or("there is no such webhook any more")?;
        let trust = self.trusts.client(None).map_err(|error| error.to_string())?;
        let (id, timestamp) = (row.message.to_string(), now.0 / 1_000);
        let sign = |secret: &Arc<crate::vault::WebhookSecret>| secret.sign(&id, timestamp, row.body.as_bytes());
        let signatures: Vec<String> = receiver.secrets.iter().map(sign).collect();
        Ok(Post {
            url: receiver.url,
            allow_private: receiver.allow_private,
            trust,
            content_type: "application/json",
            fields: vec![
                ("user-agent", format!("igris/{}", env!("CARGO_PKG_VERSION"))),
                ("webhook-id", id),
                ("webhook-timestamp", timestamp.to_string()),
                ("webhook-signature", signatures.join(" ")),
            ],
            body: Zeroizing::new(row.body.clone().into_bytes()),
        })
    }

    /// Notes what came of a try.
    fn note_sent(&mut self, row: &DeliveryRow, outcome: Result<u16, String>) {
        if self.rests {
            // Another process has the store, and sends it again.
            return;
        }
        let (now, attempts) = (self.now(), row.attempts.saturating_add(1));
        let gone = matches!(outcome, Ok(410)) || self.receiver(&row.tenant, &row.webhook, now).is_none();
        let (is_taken, said) = match outcome {
            Ok(status) => ((200..300).contains(&status), format!("it answered {status}")),
            Err(why) => (false, why),
        };
        let pause = pause(row.message, attempts).filter(|_| !gone);
        let (state, due) = match pause {
            _ if is_taken => (DeliveryState::Delivered, now),
            Some(pause) => (DeliveryState::Waiting, later(now, pause)),
            None => (DeliveryState::Dead, now),
        };
        let noted = self.store.admin().note_delivery(row.message, state, attempts, due, &said);
        if noted.is_ok() && state == DeliveryState::Dead {
            self.tell_of_dead(row, attempts, &said, now);
        }
    }

    fn tell_of_dead(&mut self, row: &DeliveryRow, attempts: u32, said: &str, now: UnixMillis) {
        let DeliveryRow { message, webhook, tenant, event, .. } = row;
        let sentence = format!(
            "{message} to the webhook {webhook} of tenant {tenant} was given up after {attempts} tries: {said}; repair the receiver, \
             and look at what it missed with GET …/alerts"
        );
        let data = json!({ "message": message.to_string(), "webhook": webhook, "event": event, "attempts": attempts, "outcome": said });
        let (tenant, subject) = (tenant.clone(), webhook.clone());
        let raised = Raised { kind: AlertKind::Webhook, tenant, subject, sentence, data, lasts: false };
        // The message is dead all the same; an alert that cannot be written is said by the books.
        let _ = self.raise(raised, now, |_| Ok(()));
    }
}

/// How long to wait after so many tries failed; `None`: it is given up. The jitter is of the message, so that many that failed at once do
/// not come again at once.
fn pause(message: MessageId, attempts: u32) -> Option<Duration> {
    let place = usize::try_from(attempts.max(1) - 1).unwrap_or(usize::MAX);
    let pause = WEBHOOK_PAUSES.get(place)?;
    let part = (message.bits() >> (place * 8)) % 401;
    let permille = 800 + u64::try_from(part).unwrap_or(0);
    Some(Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_mul(permille) / 1_000))
}

fn later(now: UnixMillis, pause: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_about_a_day_and_end() {
        for bits in [0, 1, 0x1234_5678_9abc_def0_1234_5678_9abc_def0, u128::MAX] {
            let pauses: Vec<Duration> =
                (1..).map_while(|attempts| pause(MessageId::from_bits(bits), attempts)).collect();
            assert_eq!(pauses.len(), WEBHOOK_PAUSES.len(), "{bits:x}");
            assert!(pauses.is_sorted(), "{pauses:?}");
            let hours = pauses.iter().sum::<Duration>().as_secs() / 3_600;
            assert!((18..=30).contains(&hours), "{hours} h");
            for (usual, pause) in WEBHOOK_PAUSES.iter().zip(&pauses) {
                let share = pause.as_secs_f64() / usual.as_secs_f64();
                assert!((0.8..=1.2).contains(&share), "{share}");
            }
        }
    }
}
