//! Where a tenant's alerts go, and what is still to be sent there.
//!
//! No secret is in here: a webhook's is made from the vault's keys, its id and a version. A message is written in the transaction that
//! writes its alert, and stays until it was delivered or given up, so that a kill between the two sends it again under the same id.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{MessageId, TenantId, WebhookId};
use rusqlite::{Row, params};

/// A webhook that a tenant named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub id: WebhookId,
    /// Where it is.
    pub url: String,
    /// Sorts of alerts; empty for all.
    pub events: Vec<String>,
    /// Which of its secrets signs, from 1.
    pub secret_version: u32,
    /// Until when the one before signs too.
    pub former_until: Option<UnixMillis>,
    /// When it was made.
    pub created: UnixMillis,
}

/// A message to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its name, the same at every try.
    pub message: MessageId,
    /// Whose alert it tells of.
    pub tenant: TenantId,
    /// Which webhook: `wh_…`, or `config:` and a name.
    pub webhook: String,
    /// The sort of alert.
    pub event: String,
    /// What is sent, JSON.
    pub body: String,
    /// When.
    pub created: UnixMillis,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is sent when it is due.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Dead,
}

/// A message as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// From 1; later ones have greater numbers.
    pub sequence: u64,
    /// Its name.
    pub message: MessageId,
    /// Whose alert it tells of.
    pub tenant: TenantId,
    /// Which webhook.
    pub webhook: String,
    /// The sort of alert.
    pub event: String,
    /// What is sent.
    pub body: String,
    /// When it was written.
    pub created: UnixMillis,
    /// How far it is.
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: u32,
    /// When the next one is due.
    pub due: UnixMillis,
    /// What came of the last one, in a few words of ours.
    pub outcome: String,
}

const COLUMNS: &str = "sequence, message, tenant, webhook, event, body, created, state, attempts, due, outcome";

// === impl DeliveryState ===

impl DeliveryState {
    /// The name in answers and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Waiting, Self::Delivered, Self::Dead].into_iter().find(|state| state.name() == name)
    }
}

// === impl Store ===

impl Store {
    /// Writes a webhook down, in place of the one with its id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_webhook(&mut self, tenant: &TenantId, row: &WebhookRow) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO webhooks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.change(
            sql,
            params![
                tenant.as_str(),
                row.id.bits().to_be_bytes(),
                row.url,
                row.events.join(","),
                row.secret_version,
                row.former_until.map(|until| to_sql(until.0)),
                to_sql(row.created.0),
            ],
        )?;
        Ok(())
    }

    /// Takes a webhook away, with what is still to be sent there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has none of this id (rule T1).
    pub fn remove_webhook(&mut self, tenant: &TenantId, id: WebhookId) -> Result<(), StoreError> {
        let transaction = self.write()?;
        let sql = "DELETE FROM webhooks WHERE tenant = ?1 AND id = ?2";
        if transaction.execute(sql, params![tenant.as_str(), id.bits().to_be_bytes()])? == 0 {
            return Err(StoreError::NotFound("webhook"));
        }
        let sql = "DELETE FROM deliveries WHERE tenant = ?1 AND webhook = ?2";
        transaction.execute(sql, params![tenant.as_str(), id.to_string()])?;
        transaction.commit()?;
        Ok(())
    }

    /// Writes a message down, due at once.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn add_delivery(&mut self, tenant: &TenantId, new: &NewDelivery) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO deliveries (message, tenant, webhook, event, body, created, state, attempts, due, outcome)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting', 0, ?6, '')";
        self.connection.execute(
            sql,
            params![
                new.message.bits().to_be_bytes(),
                tenant.as_str(),
                new.webhook,
                new.event,
                new.body,
                to_sql(new.created.0),
            ],
        )?;
        Ok(())
    }

    /// Messages to a webhook for a tenant's alerts, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn deliveries(&self, tenant: &TenantId, webhook: &str, most: u32) -> Result<Vec<DeliveryRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE tenant = ?1 AND webhook = ?2 ORDER BY sequence DESC LIMIT ?3"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![tenant.as_str(), webhook, most])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// Every tenant's webhooks.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn webhooks(&mut self) -> Result<Vec<WebhookRow>, StoreError> {
        let mut statement = self.store.connection.prepare_cached("SELECT * FROM webhooks ORDER BY created, id")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let events: String = row.get(3)?;
            found.push(WebhookRow {
                tenant: TenantId::new(row.get_ref(0)?.as_str().map_err(|_| damaged("a tenant's name"))?),
                id: WebhookId::from_bits(u128::from_be_bytes(row.get(1)?)),
                url: row.get(2)?,
                events: events.split(',').filter(|event| !event.is_empty()).map(str::to_owned).collect(),
                secret_version: row.get(4)?,
                former_until: row.get::<_, Option<i64>>(5)?.map(|until| UnixMillis(from_sql(until))),
                created: UnixMillis(from_sql(row.get(6)?)),
            });
        }
        Ok(found)
    }

    /// Messages that are due by `now`, the longest due first, at most so many for each webhook and in all.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn due_deliveries(&mut self, now: UnixMillis, each: u32, most: u32) -> Result<Vec<DeliveryRow>, StoreError> {
        // Asked twice a second, and nearly always there is nothing: the question that says so is a small one.
        let first = "SELECT min(due) FROM deliveries WHERE state = 'waiting'";
        let first: Option<i64> = self.store.connection.prepare_cached(first)?.query_row([], |row| row.get(0))?;
        if first.is_none_or(|due| from_sql(due) > now.0) {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM (
                 SELECT *, row_number() OVER (PARTITION BY tenant, webhook ORDER BY due, sequence) AS place
                 FROM deliveries WHERE state = 'waiting' AND due <= ?1
             ) WHERE place <= ?2 ORDER BY due, sequence LIMIT ?3"
        );
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![to_sql(now.0), each, most])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Notes what came of a try. A message that is not there any more is none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn note_delivery(
        &mut self,
        message: MessageId,
        state: DeliveryState,
        attempts: u32,
        due: UnixMillis,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET state = ?2, attempts = ?3, due = ?4, outcome = ?5 WHERE message = ?1";
        let values = params![message.bits().to_be_bytes(), state.name(), attempts, to_sql(due.0), outcome];
        self.store.connection.execute(sql, values)?;
        Ok(())
    }

    /// How many messages wait, over all tenants.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn waiting_deliveries(&mut self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM deliveries WHERE state = 'waiting'";
        Ok(self.store.connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(from_sql))?)
    }

    /// Forgets messages that were delivered or given up and were written before an instant.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn forget_deliveries(&mut self, before: UnixMillis) -> Result<usize, StoreError> {
        let sql = "DELETE FROM deliveries WHERE state <> 'waiting' AND created < ?1";
        Ok(self.store.connection.execute(sql, [to_sql(before.0)])?)
    }
}

fn read(row: &Row<'_>) -> Result<DeliveryRow, StoreError> {
    let state = row.get_ref(7)?.as_str().ok().and_then(DeliveryState::parse);
    Ok(DeliveryRow {
        sequence: from_sql(row.get(0)?),
        message: MessageId::from_bits(u128::from_be_bytes(row.get(1)?)),
        tenant: TenantId::new(row.get_ref(2)?.as_str().map_err(|_| damaged("a tenant's name"))?),
        webhook: row.get(3)?,
        event: row.get(4)?,
        body: row.get(5)?,
        created: UnixMillis(from_sql(row.get(6)?)),
        state: state.ok_or_else(|| damaged("a delivery's state"))?,
        attempts: row.get(8)?,
        due: UnixMillis(from_sql(row.get(9)?)),
        outcome: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Place;

    #[test]
    fn one_webhook_with_many_messages_leaves_room_for_others() {
        let place = Place::new("deliveries");
        let (mut store, _) = place.open();
        store.connection.execute("PRAGMA foreign_keys = OFF", []).expect("set");
        let tenant = TenantId::new("one");
        let new = |bits, webhook: &str| NewDelivery {
            message: MessageId::from_bits(bits),
            tenant: tenant.clone(),
            webhook: webhook.to_owned(),
            event: "budget_alert".to_owned(),
            body: "{}".to_owned(),
            created: UnixMillis(1),
        };
        for bits in 0..10 {
            store.add_delivery(&tenant, &new(bits, "config:slow")).expect("written");
        }
        store.add_delivery(&tenant, &new(10, "config:other")).expect("written");
        let due = |store: &mut Store, now| {
            let rows = store.admin().due_deliveries(UnixMillis(now), 2, 100).expect("read");
            rows.iter().map(|row| row.message.bits()).collect::<Vec<_>>()
        };
        assert_eq!(due(&mut store, 0), [], "nothing is due before it is written");
        assert_eq!(due(&mut store, 1), [0, 1, 10]);
        let note = |store: &mut Store, bits, state, due| {
            store.admin().note_delivery(MessageId::from_bits(bits), state, 1, UnixMillis(due), "503").expect("noted");
        };
        note(&mut store, 0, DeliveryState::Delivered, 1);
        note(&mut store, 1, DeliveryState::Waiting, 9);
        assert_eq!(due(&mut store, 1), [2, 3, 10]);
        assert_eq!(store.admin().waiting_deliveries().expect("read"), 10);
        assert_eq!(store.admin().forget_deliveries(UnixMillis(2)).expect("done"), 1);
        let kept = store.deliveries(&tenant, "config:other", 9).expect("read");
        assert_eq!((kept.len(), kept.first().map(|row| row.state)), (1, Some(DeliveryState::Waiting)));
    }
}
