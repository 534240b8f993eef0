//! Which machine this is among those that share a database, and what it had leased when it was last asked: so that it goes on with that
//! when it is started while the database is gone.

use super::Admin;
use super::allowances::HolderName;
use super::error::{StoreError, damaged, from_sql, to_sql};
use rusqlite::{OptionalExtension, params};

/// This machine, as the others know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineRow {
    /// Its name among machines, random bytes.
    pub id: [u8; 16],
    /// The process that has the store, or had it last.
    pub incarnation: [u8; 16],
    /// How many machines there were.
    pub peers: u64,
}

/// What this machine had leased of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineLease {
    /// Whose limit it is.
    pub holder: HolderName,
    /// Of what, as the database of all machines writes it.
    pub kind: i16,
    /// When its period began, milliseconds since the Unix epoch.
    pub epoch: i64,
    /// When it ends.
    pub ends: i64,
    /// How far it may be used on this machine.
    pub most: u64,
    /// What others had used.
    pub elsewhere: u64,
}

impl Admin<'_> {
    /// This machine; `None`: it was never one of several.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn machine(&mut self) -> Result<Option<MachineRow>, StoreError> {
        let sql = "SELECT id, incarnation, peers FROM machine";
        let found = self.store.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let found = found.optional()?;
        let row = |(id, incarnation, peers): (Vec<u8>, Vec<u8>, i64)| {
            let bytes = |bytes: Vec<u8>| <[u8; 16]>::try_from(bytes).map_err(|_| damaged("this machine's name"));
            Ok(MachineRow { id: bytes(id)?, incarnation: bytes(incarnation)?, peers: from_sql(peers) })
        };
        found.map(row).transpose()
    }

    /// Writes down which machine this is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn set_machine(&mut self, machine: &MachineRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO machine VALUES (1, ?1, ?2, ?3) ON CONFLICT (one) DO UPDATE SET
            id = excluded.id, incarnation = excluded.incarnation, peers = excluded.peers";
        let MachineRow { id, incarnation, peers } = machine;
        self.store.connection.execute(sql, params![id.as_slice(), incarnation.as_slice(), to_sql(*peers)])?;
        Ok(())
    }

    /// What this machine had leased, of periods that have not ended by `now`, milliseconds since the Unix epoch; the others are
    /// forgotten.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn machine_leases(&mut self, now: i64) -> Result<Vec<MachineLease>, StoreError> {
        let connection = &self.store.connection;
        connection.execute("DELETE FROM machine_leases WHERE ends <= ?1", [now])?;
        let sql = "SELECT holder, kind, epoch, ends, most, elsewhere FROM machine_leases";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut leases = Vec::new();
        while let Some(row) = rows.next()? {
            let holder = row.get_ref(0)?.as_blob().ok().and_then(HolderName::from_sql);
            leases.push(MachineLease {
                holder: holder.ok_or_else(|| damaged("the holder of a lease"))?,
                kind: row.get(1)?,
                epoch: row.get(2)?,
                ends: row.get(3)?,
                most: from_sql(row.get(4)?),
                elsewhere: from_sql(row.get(5)?),
            });
        }
        Ok(leases)
    }

    /// Writes down what this machine leased, all or none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn keep_machine_leases(&mut self, leases: &[MachineLease]) -> Result<(), StoreError> {
        let transaction = self.store.connection.savepoint()?;
        {
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO machine_leases VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (holder, kind) DO UPDATE SET
                     epoch = excluded.epoch, ends = excluded.ends, most = excluded.most, elsewhere = excluded.elsewhere",
            )?;
            for lease in leases {
                let MachineLease { holder, kind, epoch, ends, most, elsewhere } = lease;
                upsert.execute(params![holder.to_sql(), kind, epoch, ends, to_sql(*most), to_sql(*elsewhere)])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TenantId;
    use crate::store::tests::Place;

    #[test]
    fn a_machine_keeps_its_name_and_its_leases() {
        let place = Place::new("machine");
        let (mut store, _) = place.open();
        assert_eq!(store.admin().machine().expect("read"), None);
        let row = MachineRow { id: [1; 16], incarnation: [2; 16], peers: 3 };
        store.admin().set_machine(&row).expect("kept");
        store.admin().set_machine(&MachineRow { peers: 4, ..row }).expect("kept");
        assert_eq!(store.admin().machine().expect("read"), Some(MachineRow { peers: 4, ..row }));
        let holder = HolderName::Tenant(TenantId::new("acme"));
        let lease =
            |kind, ends, most| MachineLease { holder: holder.clone(), kind, epoch: 5, ends, most, elsewhere: 9 };
        store.admin().keep_machine_leases(&[lease(0, 10, 1), lease(1, 20, 2)]).expect("kept");
        store.admin().keep_machine_leases(&[lease(1, 20, 3)]).expect("kept");
        assert_eq!(store.admin().machine_leases(10).expect("read"), [lease(1, 20, 3)]);
    }
}
