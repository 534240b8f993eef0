//! SQL for the shared tables, made once from the list of them; nothing of it comes from input (rule T2).

use crate::store::{ESTATE, Kind, Table};

/// The schema that everything lies in, apart from what else a database holds.
pub(super) const SCHEMA: &str = "igris";

/// The column that every shared table has here beside its own: the generation in which the row was written last.
pub(super) const GENERATION: &str = "fleet_generation";

/// The engine's name of a type.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "bigint",
        Kind::Text => "text",
        Kind::Blob => "bytea",
    }
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

fn keys(table: &Table) -> String {
    table.keys().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// Rows since a generation (`$1`).
pub(super) fn since(table: &Table) -> String {
    format!("SELECT {} FROM {SCHEMA}.{} WHERE {GENERATION} > $1", names(table), table.name)
}

/// How far the estate is, and for each table whether it has rows since a generation (`$1`).
pub(super) fn look() -> String {
    let has = |table: &Table| format!(", EXISTS (SELECT 1 FROM {SCHEMA}.{} WHERE {GENERATION} > $1)", table.name);
    let tables: String = ESTATE.iter().map(has).collect();
    format!("SELECT generation{tables} FROM {SCHEMA}.fleet WHERE one = 1")
}

/// Writes rows: one array a column, then the generation. A row that is there is written over.
pub(super) fn upsert(table: &Table) -> String {
    let count = table.columns.len();
    let arrays: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| format!("${}::{}[]", place + 1, kind(column.kind)))
        .collect();
    let plain = table.columns.iter().filter(|column| !column.is_key).map(|column| column.name);
    let sets: Vec<String> = plain.chain([GENERATION]).map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO {SCHEMA}.{0} ({1}, {GENERATION}) SELECT u.*, ${2}::bigint FROM unnest({3}) AS u ({1})
         ON CONFLICT ({4}) DO UPDATE SET {5}",
        table.name,
        names(table),
        count + 1,
        arrays.join(", "),
        keys(table),
        sets.join(", "),
    )
}

/// Deletes one row, by the columns of its key.
pub(super) fn delete(table: &Table) -> String {
    let terms: Vec<String> =
        table.keys().enumerate().map(|(place, column)| format!("{} = ${}", column.name, place + 1)).collect();
    format!("DELETE FROM {SCHEMA}.{} WHERE {}", table.name, terms.join(" AND "))
}

/// Everything in a table goes.
pub(super) fn clear(table: &Table) -> String {
    format!("DELETE FROM {SCHEMA}.{}", table.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_every_column_once() {
        let table = Table::named("retired_keys").expect("a table");
        assert_eq!(
            since(table),
            "SELECT tenant, provider, pepper_version, digest, retired FROM igris.retired_keys WHERE fleet_generation > $1"
        );
        assert_eq!(delete(table), "DELETE FROM igris.retired_keys WHERE tenant = $1 AND provider = $2 AND digest = $3");
        let upsert = upsert(table);
        assert!(upsert.contains("unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[])"), "{upsert}");
        assert!(upsert.contains("SELECT u.*, $6::bigint"), "{upsert}");
        let sets = "ON CONFLICT (tenant, provider, digest) DO UPDATE SET pepper_version = excluded.pepper_version, \
                    retired = excluded.retired, fleet_generation = excluded.fleet_generation";
        assert!(upsert.ends_with(sets), "{upsert}");
    }
}
