//! What other machines changed, taken into this copy.

use super::super::error::StoreError;
use super::super::{Admin, HolderName, Store};
use super::capture;
use super::{News, RowChange, Share, Shared, Value, Write, text};
use crate::domain::id::{AccessKeyId, TenantId};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Which database a copy is of, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The database's 16 bytes.
    pub fleet: [u8; 16],
    /// The generation that was taken in last.
    pub generation: u64,
}

/// What news touched, so that no more than that is rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Rows that came, changed or went.
    pub rows: usize,
    /// Access keys.
    pub access_keys: BTreeSet<AccessKeyId>,
    /// Tenants, of whom anything but access keys changed.
    pub tenants: BTreeSet<TenantId>,
    /// The key hierarchy.
    pub hierarchy: bool,
    /// Rotations.
    pub rotations: bool,
    /// Whose budgets, each holder with its tenant.
    pub budgets: BTreeSet<(TenantId, HolderName)>,
    /// Webhooks.
    pub webhooks: bool,
    /// What somebody was told.
    pub alerts: bool,
    /// The configuration of the fleet.
    pub config: bool,
}

/// The copy's position; `None`: this store was never a copy.
pub fn position(connection: &Connection) -> Result<Option<Position>, StoreError> {
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Position { fleet: row.get(0)?, generation: super::super::error::from_sql(row.get(1)?) })
    };
    Ok(connection.query_row("SELECT fleet, generation FROM shared_position", [], row).optional()?)
}

pub(super) fn set_generation(connection: &Connection, generation: u64) -> Result<(), StoreError> {
    let sql = "UPDATE shared_position SET generation = ?1";
    connection.prepare_cached(sql)?.execute([super::super::error::to_sql(generation)])?;
    Ok(())
}

impl Store {
    /// From now on this store is a copy of what machines share. Its file must be a copy already, or have nothing in it that is shared.
    ///
    /// # Errors
    /// [`StoreError::OtherFleet`] when it is the copy of another database, or has an estate of its own; [`StoreError::Database`].
    pub fn share(&mut self, fleet: [u8; 16], link: Box<dyn Shared>) -> Result<(), StoreError> {
        let generation = match position(&self.connection)? {
            Some(position) if position.fleet == fleet => position.generation,
            Some(_) => return Err(StoreError::OtherFleet),
            None if self.has_hierarchy()? => return Err(StoreError::OtherFleet),
            None => {
                self.connection.execute("INSERT INTO shared_position VALUES (1, ?1, 0)", params![fleet])?;
                0
            }
        };
        capture::install(&self.connection)?;
        self.share = Some(Share { link, generation, machine: String::new() });
        Ok(())
    }

    /// What this machine is called; `None` where nothing is shared, or nobody gave it a name.
    pub(in super::super) fn machine(&self) -> Option<&str> {
        self.share.as_ref().map(|share| share.machine.as_str()).filter(|name| !name.is_empty())
    }

    /// This store, whose estate a database has by now, is the copy of it from here on. It must be opened anew to be shared.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn become_copy(&mut self, fleet: [u8; 16], generation: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO shared_position VALUES (1, ?1, ?2)";
        self.connection.execute(sql, params![fleet, super::super::error::to_sql(generation)])?;
        Ok(())
    }

    /// This copy is a store of its own from here on. It must be opened anew.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn stand_alone(self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM shared_position", [])?;
        Ok(())
    }

    /// Goes on as the copy that this store was before it was let go.
    pub(in super::super) fn share_again(&mut self, share: Share) -> Result<(), StoreError> {
        capture::install(&self.connection)?;
        let generation = position(&self.connection)?.map_or(share.generation, |position| position.generation);
        self.share = Some(Share { generation, ..share });
        Ok(())
    }

    /// Which database this file is a copy of.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn copy_of(&self) -> Result<Option<[u8; 16]>, StoreError> {
        Ok(position(&self.connection)?.map(|position| position.fleet))
    }

    /// How far this copy is; `None` where nothing is shared.
    pub fn shared_generation(&self) -> Option<u64> {
        self.share.as_ref().map(|share| share.generation)
    }

    /// Takes in what others changed, in one transaction. News that begins before what is here is taken in too: rows are whole, and what
    /// they say is newer or the same.
    ///
    /// # Errors
    /// [`StoreError::OtherFleet`]; [`StoreError::Share`] with `Behind` when there is a gap between this copy and the news;
    /// [`StoreError::Database`]. Then nothing was taken in.
    pub fn adopt(&mut self, news: &News) -> Result<Adopted, StoreError> {
        let (Some(share), Some(position)) = (&self.share, position(&self.connection)?) else {
            return Err(StoreError::OtherFleet);
        };
        if position.fleet != news.fleet {
            return Err(StoreError::OtherFleet);
        }
        if news.since > share.generation {
            return Err(super::ShareError::Behind.into());
        }
        if news.generation <= share.generation {
            return Ok(Adopted::default());
        }
        let adopted = Adopted::of(&news.rows);
        let connection = &self.connection;
        connection.execute_batch("BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON")?;
        let taken = take_in(connection, news).and_then(|()| Ok(connection.execute_batch("COMMIT")?));
        if let Err(error) = taken {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            return Err(error);
        }
        if let Some(share) = &mut self.share {
            share.generation = news.generation;
        }
        // Whatever was erased elsewhere is erased here. What hinders that now is met again at the next tick, which says so; the news is in
        // either way, and whoever asked must hear what it touched.
        let _ = self.flush_log();
        Ok(adopted)
    }

    /// Every row that machines would share, of a store that is not shared.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn estate(&self) -> Result<Vec<RowChange>, StoreError> {
        capture::everything(&self.connection)
    }

    /// Fills an empty store with an estate from elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it has one; [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn fill(&mut self, rows: &[RowChange]) -> Result<(), StoreError> {
        if self.has_hierarchy()? {
            return Err(StoreError::Exists("estate in this store"));
        }
        let write = self.write()?;
        write.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        put_all(&write, rows)?;
        write.commit()
    }

    /// Begins a change: see [`Write`].
    pub(in super::super) fn write(&mut self) -> Result<Write<'_>, StoreError> {
        Write::begin(self)
    }

    /// A change of one statement; answers how many rows it changed.
    pub(in super::super) fn change(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
        if !self.connection.is_autocommit() {
            // One statement is all or nothing by itself.
            return Ok(self.connection.prepare_cached(sql)?.execute(values)?);
        }
        let write = self.write()?;
        let changed = write.prepare_cached(sql)?.execute(values)?;
        write.commit()?;
        Ok(changed)
    }
}

impl Admin<'_> {
    /// Gives this machine a name among those that share the store; the audit log says it with who did something.
    pub fn call_machine(&mut self, name: &str) {
        if let Some(share) = &mut self.store.share {
            name.clone_into(&mut share.machine);
        }
    }
}

fn take_in(connection: &Connection, news: &News) -> Result<(), StoreError> {
    capture::adopt(connection)?;
    put_all(connection, &news.rows)?;
    set_generation(connection, news.generation)?;
    capture::shut(connection)
}

/// Rows go before rows come: what is unique may have wandered from one row to another.
fn put_all(connection: &Connection, rows: &[RowChange]) -> Result<(), StoreError> {
    for change in rows {
        connection.prepare_cached(&text::delete(change.table))?.execute(rusqlite::params_from_iter(&change.key))?;
    }
    for change in rows {
        let Some(row) = &change.row else { continue };
        if row.len() != change.table.columns.len() {
            return Err(StoreError::Damaged(format!("a row of {}", change.table.name)));
        }
        connection.prepare_cached(&text::insert(change.table))?.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(())
}

// === impl Adopted ===

impl Adopted {
    /// Whether nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// What more was touched.
    pub fn extend(&mut self, more: Self) {
        self.rows += more.rows;
        self.access_keys.extend(more.access_keys);
        self.tenants.extend(more.tenants);
        self.budgets.extend(more.budgets);
        self.hierarchy |= more.hierarchy;
        self.rotations |= more.rotations;
        self.webhooks |= more.webhooks;
        self.alerts |= more.alerts;
        self.config |= more.config;
    }

    fn of(rows: &[RowChange]) -> Self {
        let mut adopted = Self { rows: rows.len(), ..Self::default() };
        for change in rows {
            match change.table.name {
                "access_keys" => adopted.access_keys.extend(access_key(&change.key)),
                "vault" | "kek_versions" | "peppers" | "audit_key" => adopted.hierarchy = true,
                "audit" | "audit_head" => {}
                "alerts" | "budget_marks" => adopted.alerts = true,
                "fleet_config" => adopted.config = true,
                name => {
                    let tenant = tenant(change);
                    adopted.rotations |= name == "rotations";
                    adopted.webhooks |= name == "webhooks";
                    if name == "budgets" {
                        adopted.budgets.extend(tenant.clone().zip(holder(change)));
                    }
                    adopted.tenants.extend(tenant);
                }
            }
        }
        adopted
    }
}

fn access_key(key: &[Value]) -> Option<AccessKeyId> {
    match key {
        [Value::Blob(id)] => Some(AccessKeyId::from_bits(u128::from_be_bytes(id.as_slice().try_into().ok()?))),
        _ => None,
    }
}

/// Whose budget it is.
fn holder(change: &RowChange) -> Option<HolderName> {
    let mut key = change.table.keys().zip(&change.key);
    match key.find(|(column, _)| column.name == "holder")?.1 {
        Value::Blob(bytes) => HolderName::from_sql(bytes),
        _ => None,
    }
}

/// Whose row it is. A row that is gone says so only where its key does.
fn tenant(change: &RowChange) -> Option<TenantId> {
    let named = |column: &super::Column, name| column.name == name;
    let columns = &change.table.columns;
    let text = |value: &Value| match value {
        Value::Text(text) => Some(TenantId::new(text)),
        _ => None,
    };
    let wanted = if change.table.name == "tenants" { "id" } else { "tenant" };
    match &change.row {
        Some(row) => {
            columns.iter().zip(row).find(|(column, _)| named(column, wanted)).and_then(|(_, value)| text(value))
        }
        None => {
            let mut keys = change.table.keys().zip(&change.key);
            keys.find(|(column, _)| named(column, wanted)).and_then(|(_, value)| text(value))
        }
    }
}
