//! Alerts: what somebody was told of, kept until it is old.
//!
//! An alert is never changed but for three marks: resolved, acknowledged, and by whom. Its text and data name places, ids and figures; no
//! secret and no text of a client (rules R1, R5).

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AlertId, TenantId};
use rusqlite::{Row, params};

/// An alert to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlert {
    /// Its name.
    pub id: AlertId,
    /// Who is told.
    pub tenant: TenantId,
    /// `budget_alert`, `anomaly`, `key_age`, …
    pub kind: String,
    /// What it is about, such as an id: the same for the same trouble.
    pub subject: String,
    /// One sentence.
    pub sentence: String,
    /// Figures, a JSON object.
    pub data: String,
    /// When.
    pub created: UnixMillis,
    /// Whether it is a state that ends, rather than something that happened.
    pub lasts: bool,
}

/// An alert as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// From 1 over all tenants; later ones have greater numbers.
    pub sequence: u64,
    /// Its name.
    pub id: AlertId,
    /// Who was told.
    pub tenant: TenantId,
    /// What sort.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// One sentence.
    pub sentence: String,
    /// Figures, a JSON object.
    pub data: String,
    /// When.
    pub created: UnixMillis,
    /// When it was over; what merely happened is over at once.
    pub resolved: Option<UnixMillis>,
    /// When somebody said that it was seen.
    pub acknowledged: Option<UnixMillis>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

/// Which alerts to read: newest first.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// Only those with a smaller number.
    pub before: Option<u64>,
    /// Only of this sort.
    pub kind: Option<String>,
    /// Only those that somebody has acknowledged, or that nobody has.
    pub acknowledged: Option<bool>,
    /// Only those that are over, or that are not.
    pub resolved: Option<bool>,
    /// How many at most.
    pub most: u32,
}

const COLUMNS: &str =
    "sequence, id, tenant, kind, subject, sentence, data, created, resolved, acknowledged, acknowledged_by";

// === impl Store ===

impl Store {
    /// Writes an alert down; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Share`].
    pub fn add_alert(&mut self, tenant: &TenantId, alert: &NewAlert) -> Result<(), StoreError> {
        let sql = "INSERT INTO alerts (id, tenant, kind, subject, sentence, data, created, resolved)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
        self.change(
            sql,
            params![
                alert.id.bits().to_be_bytes(),
                tenant.as_str(),
                alert.kind,
                alert.subject,
                alert.sentence,
                alert.data,
                to_sql(alert.created.0),
                (!alert.lasts).then(|| to_sql(alert.created.0)),
            ],
        )?;
        Ok(())
    }

    /// A tenant's alerts, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn alerts(&self, tenant: &TenantId, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
        page(self, Some(tenant), filter)
    }

    /// One alert of a tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has none of this id (rule T1).
    pub fn alert(&self, tenant: &TenantId, id: AlertId) -> Result<AlertRow, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM alerts WHERE tenant = ?1 AND id = ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![tenant.as_str(), id.bits().to_be_bytes()])?;
        rows.next()?.map(read).ok_or(StoreError::NotFound("alert"))?
    }

    /// Notes who has seen an alert; the first one stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when this tenant has none of this id (rule T1).
    pub fn acknowledge_alert(
        &mut self,
        tenant: &TenantId,
        id: AlertId,
        who: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE alerts SET acknowledged = coalesce(acknowledged, ?3), acknowledged_by = coalesce(acknowledged_by, ?4)
                   WHERE tenant = ?1 AND id = ?2";
        let values = params![tenant.as_str(), id.bits().to_be_bytes(), to_sql(now.0), who];
        if self.change(sql, values)? == 1 { Ok(()) } else { Err(StoreError::NotFound("alert")) }
    }

    /// Notes that what an alert told of is over.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn resolve_alerts(
        &mut self,
        tenant: &TenantId,
        kind: &str,
        subject: &str,
        now: UnixMillis,
    ) -> Result<usize, StoreError> {
        let sql =
            "UPDATE alerts SET resolved = ?4 WHERE tenant = ?1 AND kind = ?2 AND subject = ?3 AND resolved IS NULL";
        self.change(sql, params![tenant.as_str(), kind, subject, to_sql(now.0)])
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// Every tenant's alerts, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn alerts(&mut self, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
        page(self.store, None, filter)
    }

    /// What is not over yet, by sort and subject: who was told, and when.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn open_alerts(&mut self) -> Result<Vec<AlertRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM alerts WHERE resolved IS NULL ORDER BY sequence");
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Forgets what was told before an instant and is over.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn forget_alerts(&mut self, before: UnixMillis) -> Result<usize, StoreError> {
        let sql = "DELETE FROM alerts WHERE resolved IS NOT NULL AND created < ?1";
        self.store.change(sql, [to_sql(before.0)])
    }
}

fn page(store: &Store, tenant: Option<&TenantId>, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM alerts
         WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR sequence < ?2) AND (?3 IS NULL OR kind = ?3)
           AND (?4 IS NULL OR (acknowledged IS NOT NULL) = ?4) AND (?5 IS NULL OR (resolved IS NOT NULL) = ?5)
         ORDER BY sequence DESC LIMIT ?6"
    );
    let mut statement = store.connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        tenant.map(TenantId::as_str),
        filter.before.map(to_sql),
        filter.kind,
        filter.acknowledged,
        filter.resolved,
        filter.most,
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<AlertRow, StoreError> {
    let instant = |column: usize| -> Result<Option<UnixMillis>, StoreError> {
        Ok(row.get::<_, Option<i64>>(column)?.map(|at| UnixMillis(from_sql(at))))
    };
    Ok(AlertRow {
        sequence: from_sql(row.get(0)?),
        id: AlertId::from_bits(u128::from_be_bytes(row.get(1)?)),
        tenant: TenantId::new(row.get_ref(2)?.as_str().map_err(|_| damaged("a tenant's name"))?),
        kind: row.get(3)?,
        subject: row.get(4)?,
        sentence: row.get(5)?,
        data: row.get(6)?,
        created: UnixMillis(from_sql(row.get(7)?)),
        resolved: instant(8)?,
        acknowledged: instant(9)?,
        acknowledged_by: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Place, tenant};

    #[test]
    fn a_tenant_sees_its_own_alerts_alone_and_newest_first() {
        let place = Place::new("alerts");
        let (mut store, keyring) = place.open();
        let (one, other) = (tenant(&mut store, &keyring, "one"), tenant(&mut store, &keyring, "other"));
        let alert = |bits, tenant: &TenantId, lasts| NewAlert {
            id: AlertId::from_bits(bits),
            tenant: tenant.clone(),
            kind: if lasts { "anomaly" } else { "budget_alert" }.to_owned(),
            subject: "ak_1".to_owned(),
            sentence: "It is so.".to_owned(),
            data: "{}".to_owned(),
            created: UnixMillis(5),
            lasts,
        };
        for (bits, tenant, lasts) in [(1, &one, false), (2, &one, true), (3, &other, true)] {
            store.add_alert(tenant, &alert(bits, tenant, lasts)).expect("written");
        }
        let ids = |rows: Vec<AlertRow>| rows.iter().map(|row| row.id.bits()).collect::<Vec<_>>();
        let all = AlertFilter { most: 10, ..AlertFilter::default() };
        assert_eq!(ids(store.alerts(&one, &all).expect("read")), [2, 1]);
        assert_eq!(ids(store.admin().alerts(&all).expect("read")), [3, 2, 1]);
        let open = AlertFilter { resolved: Some(false), ..all.clone() };
        assert_eq!(ids(store.alerts(&one, &open).expect("read")), [2]);
        assert_eq!(store.resolve_alerts(&other, "anomaly", "ak_1", UnixMillis(6)).expect("done"), 1);
        assert_eq!(ids(store.admin().open_alerts().expect("read")), [2]);
        let foreign = store.acknowledge_alert(&other, AlertId::from_bits(1), "ak_9", UnixMillis(7));
        assert!(matches!(foreign, Err(StoreError::NotFound("alert"))), "rule T1");
        for who in ["ak_9", "ak_8"] {
            store.acknowledge_alert(&one, AlertId::from_bits(1), who, UnixMillis(7)).expect("noted");
        }
        let seen = AlertFilter { acknowledged: Some(true), before: Some(9), kind: Some("budget_alert".into()), ..all };
        let seen = store.alerts(&one, &seen).expect("read");
        assert_eq!(seen.first().and_then(|row| row.acknowledged_by.as_deref()), Some("ak_9"));
        assert_eq!(store.admin().forget_alerts(UnixMillis(6)).expect("done"), 2);
    }
}
