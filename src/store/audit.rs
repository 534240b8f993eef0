//! The audit log: who changed what, each row bound to the one before by a key that hangs below the master key (rule A4).
//!
//! `bond = HMAC(audit key, bond before | sequence | at | tenant | who | what | target | before | after)`. Rows from before the log had a
//! key are bound by SHA-256 alone; the first bound row follows from the last of them. The head says where the log ends and from where it
//! is bound, and is bound itself, so that a log cut at its end shows. Whoever can write the whole file and has no key can do no more than
//! put an older copy of everything in its place: an anchor kept elsewhere ([`AuditHead`]) shows that.

use super::error::{StoreError, damaged, from_sql, to_sql};
use super::{Admin, Store};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::vault::{AuditKey, VaultError};
use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, params};
use std::fmt;

/// A change to be noted. No secret belongs in any field.
#[derive(Clone, Copy, Debug)]
pub struct AuditEntry<'a> {
    /// When.
    pub at: UnixMillis,
    /// Whose things changed; `None` for the whole gateway's.
    pub tenant: Option<&'a TenantId>,
    /// Who did it: `uid:1000`, an access key's id, `start`.
    pub who: &'a str,
    /// What was done: `credential.add`, `config.put`.
    pub what: &'a str,
    /// To which object, by id.
    pub target: &'a str,
    /// Version or digest before, or empty.
    pub before: &'a str,
    /// Version or digest after, or empty.
    pub after: &'a str,
}

/// A noted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// From 1, without gaps.
    pub sequence: u64,
    /// When.
    pub at: UnixMillis,
    /// Whose things changed.
    pub tenant: Option<String>,
    /// Who did it.
    pub who: String,
    /// What was done.
    pub what: String,
    /// To which object.
    pub target: String,
    /// Version or digest before.
    pub before: String,
    /// Version or digest after.
    pub after: String,
    /// What binds it to all rows before it.
    pub bond: [u8; 32],
}

/// Which rows to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditFilter<'a> {
    /// Only rows after this one.
    pub after: u64,
    /// Only rows of this tenant.
    pub tenant: Option<&'a TenantId>,
}

/// An anchor: how many rows there are and what binds the last of them. Kept elsewhere, it shows later whether those rows still stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last row; 0 for an empty log.
    pub sequence: u64,
    /// The first bytes of its bond.
    pub bond: [u8; ANCHOR_BYTES],
}

/// 64 bits: an anchor is typed by people, and nobody without the key can choose a bond.
const ANCHOR_BYTES: usize = 8;

/// The stored head.
struct Head {
    sequence: u64,
    /// First row that is bound by the key.
    keyed_from: u64,
    /// First row that was appended to a log that did not hold together; 0: none. It stays.
    broken_at: u64,
    bond: Vec<u8>,
}

// === impl AuditHead ===

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.sequence)?;
        self.bond.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl AuditHead {
    /// Reads an anchor as it prints: a number, a colon, 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, bond) = text.split_once(':')?;
        let digits = |text: &str, radix| text.chars().all(|digit| char::is_digit(digit, radix));
        if !digits(sequence, 10) || !digits(bond, 16) || bond.len() != 2 * ANCHOR_BYTES {
            return None;
        }
        let bond = u64::from_str_radix(bond, 16).ok()?.to_be_bytes();
        Some(Self { sequence: sequence.parse().ok()?, bond })
    }

    fn of(sequence: u64, bond: &[u8; 32]) -> Self {
        let mut short = [0; ANCHOR_BYTES];
        short.iter_mut().zip(bond).for_each(|(slot, byte)| *slot = *byte);
        Self { sequence, bond: short }
    }
}

// === impl Head ===

impl Head {
    fn read(connection: &Connection) -> Result<Option<Self>, StoreError> {
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Self {
                sequence: from_sql(row.get(0)?),
                keyed_from: from_sql(row.get(1)?),
                broken_at: from_sql(row.get(2)?),
                bond: row.get(3)?,
            })
        };
        let sql = "SELECT sequence, keyed_from, broken_at, bond FROM audit_head";
        Ok(connection.prepare_cached(sql)?.query_row([], row).optional()?)
    }

    /// Writes a head that follows from the last row's bond.
    fn write(mut self, connection: &Connection, key: &AuditKey, last: &[u8; 32]) -> Result<(), StoreError> {
        self.bond = self.with_fields(last, |fields| key.bind(HEAD, fields).to_vec());
        let sql = "INSERT INTO audit_head VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT (one) DO UPDATE
                   SET sequence = excluded.sequence, keyed_from = excluded.keyed_from, broken_at = excluded.broken_at,
                       bond = excluded.bond";
        let values = params![to_sql(self.sequence), to_sql(self.keyed_from), to_sql(self.broken_at), self.bond];
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Whether this head was written over exactly this last row.
    fn fits(&self, key: &AuditKey, sequence: u64, last: &[u8; 32]) -> bool {
        self.sequence == sequence && self.with_fields(last, |fields| key.binds(HEAD, fields, &self.bond))
    }

    fn with_fields<T>(&self, last: &[u8; 32], with: impl FnOnce(&[&[u8]]) -> T) -> T {
        let numbers = [self.sequence, self.keyed_from, self.broken_at].map(u64::to_be_bytes);
        with(&[&numbers[0], &numbers[1], &numbers[2], last])
    }
}

impl Store {
    /// Begins the head of a log when its key is made: of a new store, or of one from before the log had a key, whose rows it takes as they
    /// are.
    pub(super) fn begin_audit_head(&mut self) -> Result<(), StoreError> {
        let key = self.audit_key()?;
        let transaction = self.write()?;
        let (sequence, bond) = last(&transaction)?;
        let next = sequence.saturating_add(1);
        Head { sequence, keyed_from: next, broken_at: 0, bond: Vec::new() }.write(&transaction, &key, &bond)?;
        transaction.commit()
    }

    fn audit_key(&self) -> Result<std::sync::Arc<AuditKey>, StoreError> {
        Ok(self.audit_key.clone().ok_or(VaultError::AuditKeyMissing)?)
    }
}

impl Admin<'_> {
    /// Notes a change, with the name of this machine where several share the log; answers its sequence number. A log that does not hold together is appended to all the same, since a change
    /// without a note would be worse; its head then says for good from which row on.
    ///
    /// # Errors
    /// [`StoreError::Database`]; [`VaultError::AuditKeyMissing`] before the hierarchy was opened.
    pub fn append_audit(&mut self, entry: &AuditEntry<'_>) -> Result<u64, StoreError> {
        let key = self.store.audit_key()?;
        let who = self.store.machine().map(|machine| format!("{} host:{machine}", entry.who));
        let entry = &AuditEntry { who: who.as_deref().unwrap_or(entry.who), ..*entry };
        let transaction = self.store.write()?;
        let (last_sequence, before) = last(&transaction)?;
        let head = Head::read(&transaction)?;
        let whole = head.as_ref().is_some_and(|head| head.fits(&key, last_sequence, &before));
        // After a cut the numbers go on behind what was cut, so that the gap stays to be seen.
        let highest = head.as_ref().map_or(0, |head| head.sequence).max(last_sequence);
        let sequence = highest.saturating_add(1);
        let bond = bound(&key, &before, sequence, entry);
        transaction.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
            params![
                to_sql(sequence),
                to_sql(entry.at.0),
                entry.tenant.map(TenantId::as_str),
                entry.who,
                entry.what,
                entry.target,
                entry.before,
                entry.after,
                bond,
            ],
        )?;
        let keyed_from = head.as_ref().map_or(sequence, |head| head.keyed_from);
        let broken_before = head.as_ref().map_or(0, |head| head.broken_at);
        let broken_at = if whole || broken_before > 0 { broken_before } else { sequence };
        Head { sequence, keyed_from, broken_at, bond: Vec::new() }.write(&transaction, &key, &bond)?;
        transaction.commit()?;
        Ok(sequence)
    }

    /// The newest changes, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn audit_tail(&mut self, most: u32) -> Result<Vec<AuditRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY sequence DESC LIMIT ?1");
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([most], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Changes from a row on, oldest first, `most` of them.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn audit_page(&mut self, filter: AuditFilter<'_>, most: u32) -> Result<Vec<AuditRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM audit WHERE sequence > ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY sequence LIMIT ?3"
        );
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        let tenant = filter.tenant.map(TenantId::as_str);
        let rows = statement.query_map(params![to_sql(filter.after), tenant, most], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Where the log ends, as an anchor. Its head is checked, its rows are not.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the end of the log is not where its head says.
    pub fn audit_head(&mut self) -> Result<AuditHead, StoreError> {
        let key = self.store.audit_key()?;
        let (sequence, bond) = last(&self.store.connection)?;
        let head = Head::read(&self.store.connection)?.ok_or_else(|| damaged("the audit log's head is missing"))?;
        let head = checked(head, &key, sequence, &bond)?;
        Ok(AuditHead::of(head.sequence, &bond))
    }

    /// Walks the whole log; answers how many rows it holds.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] naming the first row that does not follow from the one before, or the end when it is not where the head
    /// says.
    pub fn verify_audit(&mut self) -> Result<u64, StoreError> {
        self.verify_audit_to(None).map(|head| head.sequence)
    }

    /// The same; with an anchor also whether the row it names still stands. Answers where the log ends.
    ///
    /// # Errors
    /// As [`Admin::verify_audit`].
    pub fn verify_audit_to(&mut self, anchor: Option<AuditHead>) -> Result<AuditHead, StoreError> {
        let key = self.store.audit_key()?;
        let head = Head::read(&self.store.connection)?.ok_or_else(|| damaged("the audit log's head is missing"))?;
        let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY sequence");
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let (mut count, mut before) = (0_u64, [0; 32]);
        let mut anchored = anchor.is_none_or(|anchor| anchor == AuditHead::default());
        while let Some(row) = rows.next()? {
            let noted = read(row)?;
            let tenant = noted.tenant.as_deref().map(TenantId::new);
            count = count.saturating_add(1);
            let entry = entry_of(&noted, tenant.as_ref());
            let follows = match count >= head.keyed_from {
                true => bound(&key, &before, count, &entry),
                false => linked(&before, count, &entry),
            };
            if noted.sequence != count || follows != noted.bond {
                return Err(StoreError::Damaged(format!("audit row {count} does not follow from the one before")));
            }
            before = noted.bond;
            anchored |= anchor == Some(AuditHead::of(count, &before));
        }
        let head = checked(head, &key, count, &before)?;
        if !anchored {
            return Err(damaged("the audit row that was expected is not there, or is another one"));
        }
        Ok(AuditHead::of(head.sequence, &before))
    }
}

/// The head, if the log ends where it says and was never found altered.
fn checked(head: Head, key: &AuditKey, sequence: u64, last: &[u8; 32]) -> Result<Head, StoreError> {
    if !head.fits(key, sequence, last) {
        let (ends, said) = (sequence, head.sequence);
        return Err(StoreError::Damaged(format!("the audit log ends with row {ends} and its head says {said}")));
    }
    match head.broken_at {
        0 => Ok(head),
        row => Err(StoreError::Damaged(format!("the audit log was altered before row {row}"))),
    }
}

/// Number and bond of the last row.
fn last(connection: &Connection) -> Result<(u64, [u8; 32]), StoreError> {
    let sql = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";
    let row = |row: &rusqlite::Row<'_>| Ok((from_sql(row.get(0)?), row.get(1)?));
    Ok(connection.prepare_cached(sql)?.query_row([], row).optional()?.unwrap_or((0, [0; 32])))
}

fn entry_of<'a>(row: &'a AuditRow, tenant: Option<&'a TenantId>) -> AuditEntry<'a> {
    AuditEntry {
        at: row.at,
        tenant,
        who: &row.who,
        what: &row.what,
        target: &row.target,
        before: &row.before,
        after: &row.after,
    }
}

/// What binds a row to all before it.
fn bound(key: &AuditKey, before: &[u8; 32], sequence: u64, entry: &AuditEntry<'_>) -> [u8; 32] {
    let (sequence, at) = (sequence.to_be_bytes(), entry.at.0.to_be_bytes());
    // No tenant is not the tenant without a name.
    let has_tenant = [u8::from(entry.tenant.is_some())];
    let [tenant, who, what, target, from, to] = texts(entry);
    key.bind(ROW, &[before, &sequence, &at, &has_tenant, tenant, who, what, target, from, to])
}

/// What links a row of a log without a key.
fn linked(before: &[u8; 32], sequence: u64, entry: &AuditEntry<'_>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(before);
    let named: [&[u8]; 2] = [&sequence.to_be_bytes(), &entry.at.0.to_be_bytes()];
    for field in named.into_iter().chain(texts(entry)) {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn texts<'a>(entry: &AuditEntry<'a>) -> [&'a [u8]; 6] {
    let tenant = entry.tenant.map_or("", TenantId::as_str);
    [tenant, entry.who, entry.what, entry.target, entry.before, entry.after].map(str::as_bytes)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        sequence: from_sql(row.get(0)?),
        at: UnixMillis(from_sql(row.get(1)?)),
        tenant: row.get(2)?,
        who: row.get(3)?,
        what: row.get(4)?,
        target: row.get(5)?,
        before: row.get(6)?,
        after: row.get(7)?,
        bond: row.get(8)?,
    })
}

const COLUMNS: &str = "sequence, at, tenant, who, what, target, before, after, hash";
const ROW: &[u8] = b"igris/audit-row/v1";
const HEAD: &[u8] = b"igris/audit-head/v1";

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
