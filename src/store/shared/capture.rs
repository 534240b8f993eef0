//! Which rows a transaction touched, found by triggers, so that no call of the store can forget to say so.
//!
//! Tables and triggers are temporary: they belong to the connection and are not in the file. Outside of a change the triggers refuse:
//! what was written past [`super::Write`] would never reach the other machines.

use super::super::error::StoreError;
use super::tables::{ESTATE, Table};
use super::{RowChange, Value, text};
use rusqlite::{Connection, OptionalExtension};

/// Nothing may be written.
pub(super) const SHUT: i64 = 0;
/// What is written is noted.
pub(super) const NOTED: i64 = 1;
/// What is written came from the others.
const ADOPTED: i64 = 2;

/// Makes the tables and triggers of a connection.
pub(super) fn install(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.execute_batch(&text::triggers())?)
}

fn set_mode(connection: &Connection, mode: i64) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE temp.igris_mode SET mode = ?1")?.execute([mode])?;
    Ok(())
}

/// From here on what is written is noted. Undone with the transaction.
pub(super) fn begin(connection: &Connection) -> Result<(), StoreError> {
    set_mode(connection, NOTED)
}

/// From here on what is written counts as the others'. Undone with the transaction.
pub(super) fn adopt(connection: &Connection) -> Result<(), StoreError> {
    set_mode(connection, ADOPTED)
}

/// Ends either; what was not read by [`end`] is forgotten.
pub(super) fn shut(connection: &Connection) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM temp.igris_touched")?.execute([])?;
    set_mode(connection, SHUT)
}

/// What was touched since [`begin`], as it is now: rows that came or stayed in the order of the tables, then rows that went.
pub(super) fn end(connection: &Connection) -> Result<Vec<RowChange>, StoreError> {
    let mut touched: Vec<(usize, Vec<Value>)> = Vec::new();
    {
        let sql = "SELECT DISTINCT place, k0, k1, k2, k3, k4 FROM temp.igris_touched ORDER BY place";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let place = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
            let Some(table) = ESTATE.get(place) else { continue };
            let key = (1..=table.keys().count()).map(|column| Value::of(row.get_ref(column)?));
            touched.push((place, key.collect::<Result<_, StoreError>>()?));
        }
    }
    let (mut changes, mut gone) = (Vec::with_capacity(touched.len()), Vec::new());
    for (place, key) in touched {
        let table = &ESTATE[place];
        match read(connection, table, &key)? {
            Some(row) => changes.push(RowChange { table, key, row: Some(row) }),
            None => gone.push(RowChange { table, key, row: None }),
        }
    }
    changes.extend(gone);
    shut(connection)?;
    Ok(changes)
}

/// The row with this key, if there is one.
fn read(connection: &Connection, table: &Table, key: &[Value]) -> Result<Option<Vec<Value>>, StoreError> {
    let mut statement = connection.prepare_cached(&text::row(table))?;
    let row = statement.query_row(rusqlite::params_from_iter(key), |row| {
        Ok((0..table.columns.len())
            .map(|column| Value::of(row.get_ref(column)?))
            .collect::<Result<Vec<_>, StoreError>>())
    });
    row.optional()?.transpose()
}

/// Every row of every shared table, as changes: a whole estate, to be carried elsewhere.
pub(super) fn everything(connection: &Connection) -> Result<Vec<RowChange>, StoreError> {
    let mut all = Vec::new();
    for table in ESTATE {
        let mut statement = connection.prepare_cached(&text::rows(table))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..table.columns.len()).map(|column| Value::of(row.get_ref(column)?));
            let row = values.collect::<Result<Vec<_>, StoreError>>()?;
            all.push(RowChange { table, key: key_of(table, &row), row: Some(row) });
        }
    }
    Ok(all)
}

/// The values of the primary key among those of a row.
pub(super) fn key_of(table: &Table, row: &[Value]) -> Vec<Value> {
    table.columns.iter().zip(row).filter(|(column, _)| column.is_key).map(|(_, value)| value.clone()).collect()
}
