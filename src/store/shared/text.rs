//! SQL for the shared tables, made from the list of them; nothing of it comes from input (rule T2). `tests/tidy` lets this file alone put
//! statements together.

use super::capture::{NOTED, SHUT};
use super::tables::{ESTATE, KEY_COLUMNS_MAX, Table};
use std::fmt::Write as _;

/// The temporary tables and triggers of a connection.
pub(super) fn triggers() -> String {
    let mut sql = format!(
        "CREATE TEMP TABLE igris_mode (mode INTEGER NOT NULL);
         INSERT INTO igris_mode VALUES ({SHUT});
         CREATE TEMP TABLE igris_touched (place INTEGER NOT NULL, k0, k1, k2, k3, k4);\n"
    );
    for (place, table) in ESTATE.iter().enumerate() {
        triggers_of(&mut sql, place, table);
    }
    sql
}

fn triggers_of(sql: &mut String, place: usize, table: &Table) {
    let noted = |side: &str| {
        let mut values = String::new();
        for column in table.keys() {
            let _ = write!(values, ", {side}.{}", column.name);
        }
        for _ in table.keys().count()..KEY_COLUMNS_MAX {
            values.push_str(", NULL");
        }
        format!("INSERT INTO igris_touched SELECT {place}{values} FROM igris_mode WHERE mode = {NOTED};")
    };
    let shut = format!(
        "SELECT RAISE(ABORT, 'a shared table was written outside of a change') FROM igris_mode WHERE mode = {SHUT};"
    );
    let differs: Vec<String> =
        table.columns.iter().map(|column| format!("new.{0} IS NOT old.{0}", column.name)).collect();
    for (event, when, sides) in [
        ("INSERT", String::new(), &["new"][..]),
        ("DELETE", String::new(), &["old"][..]),
        ("UPDATE", format!("WHEN {} ", differs.join(" OR ")), &["old", "new"][..]),
    ] {
        let notes: String = sides.iter().map(|side| noted(side)).collect();
        let _ = writeln!(
            sql,
            "CREATE TEMP TRIGGER igris_{event}_{0} AFTER {event} ON main.{0} {when}BEGIN {shut} {notes} END;",
            table.name
        );
    }
}

/// One row, by its key.
pub(super) fn row(table: &Table) -> String {
    format!("SELECT * FROM main.{} WHERE {}", table.name, by_key(table))
}

/// Every row.
pub(super) fn rows(table: &Table) -> String {
    format!("SELECT * FROM main.{}", table.name)
}

/// Deletes one row, by its key.
pub(super) fn delete(table: &Table) -> String {
    format!("DELETE FROM main.{} WHERE {}", table.name, by_key(table))
}

/// Writes one row.
pub(super) fn insert(table: &Table) -> String {
    let marks: Vec<String> = (1..=table.columns.len()).map(|place| format!("?{place}")).collect();
    format!("INSERT INTO main.{} VALUES ({})", table.name, marks.join(", "))
}

/// `a = ?1 AND b = ?2` over the primary key.
fn by_key(table: &Table) -> String {
    let terms: Vec<String> =
        table.keys().enumerate().map(|(place, column)| format!("{} = ?{}", column.name, place + 1)).collect();
    terms.join(" AND ")
}
