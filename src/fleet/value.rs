//! Columns of rows as arrays for a statement, and rows as they come back.

use super::text::kind;
use crate::store::{Kind, RowChange, Table, Value};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// One parameter that owns what it is.
pub(super) type Parameter = Box<dyn ToSql + Sync + Send>;

/// A column of many rows as one array. A value of another kind than its column counts as none: the store never has one.
pub(super) fn array(kind: Kind, place: usize, rows: &[&[Value]]) -> Parameter {
    let values = rows.iter().map(|row| row.get(place));
    match kind {
        Kind::Integer => Box::new(values.map(|value| integer(value)).collect::<Vec<_>>()),
        Kind::Text => Box::new(values.map(|value| text(value)).collect::<Vec<_>>()),
        Kind::Blob => Box::new(values.map(|value| blob(value)).collect::<Vec<_>>()),
    }
}

/// The columns of a key, one parameter each.
pub(super) fn key(table: &Table, values: &[Value]) -> Vec<Parameter> {
    let parameter = |(place, column): (usize, &'static crate::store::Column)| -> Parameter {
        match column.kind {
            Kind::Integer => Box::new(integer(values.get(place))),
            Kind::Text => Box::new(text(values.get(place))),
            Kind::Blob => Box::new(blob(values.get(place))),
        }
    };
    table.keys().enumerate().map(parameter).collect()
}

fn integer(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    match value {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn blob(value: Option<&Value>) -> Option<Vec<u8>> {
    match value {
        Some(Value::Blob(bytes)) => Some(bytes.clone()),
        _ => None,
    }
}

/// A row with the columns of its table, in their order.
pub(super) fn read(table: &'static Table, row: &Row) -> Result<RowChange, tokio_postgres::Error> {
    let mut values = Vec::with_capacity(table.columns.len());
    for (place, column) in table.columns.iter().enumerate() {
        values.push(match column.kind {
            Kind::Integer => row.try_get::<_, Option<i64>>(place)?.map_or(Value::Null, Value::Integer),
            Kind::Text => row.try_get::<_, Option<String>>(place)?.map_or(Value::Null, Value::Text),
            Kind::Blob => row.try_get::<_, Option<Vec<u8>>>(place)?.map_or(Value::Null, Value::Blob),
        });
    }
    let key = table.columns.iter().zip(&values).filter(|(column, _)| column.is_key).map(|(_, value)| value.clone());
    Ok(RowChange { table, key: key.collect(), row: Some(values) })
}

/// The first text with a zero byte in it, which the engine cannot hold: its table and column.
pub(super) fn unstorable(changes: &[RowChange]) -> Option<String> {
    changes.iter().find_map(|change| {
        let row = change.row.as_deref()?;
        let found = change.table.columns.iter().zip(row).find(|(_, value)| match value {
            Value::Text(text) => text.contains('\0'),
            _ => false,
        });
        found.map(|(column, _)| format!("{}.{} ({})", change.table.name, column.name, kind(column.kind)))
    })
}
