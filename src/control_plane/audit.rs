//! The audit log as the control plane writes and shows it: what a change was about, in digests, and pages of it for people.
//!
//! A digest is of an object as the API shows it, which has no secret in it. The same object has the same digest, so that a chain of
//! changes to one object can be followed: what one row leaves, the next one finds.

use super::{Control, ControlError};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::text::bounded;
use crate::limits::LOG_TEXT_BYTES_MAX;
use crate::snapshot::ConfigStamp;
use crate::store::{AuditEntry, AuditFilter, AuditRow};
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::Value;

/// What a change was to: the id of the object, and the object before and after as digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) target: String,
    pub(super) before: String,
    pub(super) after: String,
}

/// A noted change as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditView {
    /// From 1, without gaps.
    pub sequence: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// Whose things changed; `null` for the whole gateway's.
    pub tenant: Option<String>,
    /// Who did it.
    pub who: String,
    /// What was done.
    pub what: String,
    /// To which object.
    pub target: String,
    /// Version, state or digest before; empty where there was none.
    pub before: String,
    /// Version, state or digest after; empty where nothing is left.
    pub after: String,
    /// What binds the row to all before it, in its first 16 digits.
    pub bond: String,
}

// === impl Changed ===

impl Changed {
    /// A change to the object of this id.
    pub(super) fn of(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// As it was.
    pub(super) fn before(self, object: &impl Serialize) -> Self {
        Self { before: digest_of(object), ..self }
    }

    /// As it is now.
    pub(super) fn after(self, object: &impl Serialize) -> Self {
        Self { after: digest_of(object), ..self }
    }
}

/// A change of which only the object's id is known.
impl From<String> for Changed {
    fn from(target: String) -> Self {
        Self::of(target)
    }
}

/// The first 32 hexadecimal digits of the SHA-256 of an object's canonical JSON: members by name, no spaces.
pub(super) fn digest_of(object: &impl Serialize) -> String {
    let mut text = String::new();
    canonical(&serde_json::to_value(object).unwrap_or_default(), &mut text);
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// 128 bits: nobody finds another object of ours with the same.
const DIGEST_BYTES: usize = 16;

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_unstable();
            text.push('{');
            for name in names {
                canonical(&Value::from(name.as_str()), text);
                text.push(':');
                canonical(members.get(name).unwrap_or(&Value::Null), text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

/// A configuration as the log names it: its version and the first digits of its digest.
pub(super) fn config_mark(stamp: &ConfigStamp) -> String {
    let digits: String = stamp.digest.chars().take(2 * DIGEST_BYTES).collect();
    format!("{}:{digits}", stamp.version)
}

// === impl AuditView ===

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        let shown = |text: &str| bounded(text, LOG_TEXT_BYTES_MAX);
        Self {
            sequence: row.sequence,
            at: row.at.to_rfc3339(),
            tenant: row.tenant,
            who: shown(&row.who),
            what: shown(&row.what),
            target: shown(&row.target),
            before: shown(&row.before),
            after: shown(&row.after),
            bond: row.bond.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Control {
    /// Noted changes from a row on, oldest first; of one tenant where one is named.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn audit(&mut self, after: u64, most: u32, tenant: Option<&TenantId>) -> Result<Vec<AuditView>, ControlError> {
        let rows = self.store.admin().audit_page(AuditFilter { after, tenant }, most)?;
        Ok(rows.into_iter().map(AuditView::from).collect())
    }

    /// The newest changes, in the order they were made.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn audit_latest(&mut self, most: u32) -> Result<Vec<AuditView>, ControlError> {
        let mut rows = self.store.admin().audit_tail(most)?;
        rows.reverse();
        Ok(rows.into_iter().map(AuditView::from).collect())
    }

    /// Notes that the process was told to drain: what is told to a process, and not kept, is noted before it is done.
    ///
    /// # Errors
    /// The store refuses.
    pub fn note_drain(&mut self, who: &str) -> Result<(), ControlError> {
        let deed = |at: UnixMillis| AuditEntry {
            at,
            tenant: None,
            who,
            what: "process.drain",
            target: "",
            before: "serving",
            after: "draining",
        };
        let entry = deed(self.now());
        self.store.admin().append_audit(&entry)?;
        self.note("start", format!("drains, by {who}"));
        Ok(())
    }

    /// Says in the log where the audit log stands, so that a line kept elsewhere shows later if it was rewritten; or that it does not hold
    /// together.
    pub(super) fn note_audit_head(&mut self) {
        let text = match self.store.admin().audit_head() {
            Ok(head) => format!("the audit log stands at {head}"),
            Err(error) => format!("the audit log does not hold together: {error}; see igris admin audit verify"),
        };
        self.note("audit", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_digest_is_of_what_is_there_and_not_of_its_order() {
        let one = digest_of(&json!({ "a": [1, 2], "b": { "c": null, "d": "x" } }));
        assert_eq!(one, digest_of(&json!({ "b": { "d": "x", "c": null }, "a": [1, 2] })));
        assert_eq!((one.len(), one.chars().all(|digit| digit.is_ascii_hexdigit())), (32, true));
        for other in [
            json!({ "a": [2, 1], "b": { "c": null, "d": "x" } }),
            json!({ "a": [1, 2], "b": { "c": null, "d": "y" } }),
            json!({ "a": [1, 2], "b": { "d": "x" } }),
            json!({ "a": [1, 2, { "c": null, "d": "x" }] }),
            json!(["{\"a\":[1,2,],"]),
        ] {
            assert_ne!(one, digest_of(&other), "{other}");
        }
        assert_eq!(Changed::from("key_1".to_owned()), Changed::of("key_1"));
    }
}
