//! `igris admin audit` and `igris admin backup`.

use super::{Call, Shown};
use crate::cli::{name, print};
use crate::domain::secret::Secret;
use crate::limits::AUDIT_PAGE_ROWS;
use clap::Subcommand;
use serde_json::json;
use std::path::Path;

/// `igris admin audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// The newest changes, or those from a row on
    List {
        /// Only rows after this one, oldest first
        #[arg(long, value_name = "ROW")]
        after: Option<u64>,
        /// Rows at most
        #[arg(long, value_name = "N", default_value_t = AUDIT_PAGE_ROWS)]
        limit: u32,
        /// Only this tenant's
        #[arg(long, value_parser = name)]
        tenant: Option<String>,
    },
    /// Whether every row follows from the one before; exit code 1 if not
    Verify {
        /// An anchor from an earlier verification, which must still stand: ROW:DIGITS
        #[arg(long, value_name = "ANCHOR", value_parser = anchor)]
        expect: Option<String>,
    },
}

/// The verb as a request.
pub(super) fn call(audit: &Audit) -> Call {
    match audit {
        Audit::List { after, limit, tenant } => {
            let mut target = format!("/audit?limit={limit}");
            after.iter().for_each(|after| target.push_str(&format!("&after={after}")));
            tenant.iter().for_each(|tenant| target.push_str(&format!("&tenant={tenant}")));
            Call { method: "GET", target, body: None, shown: Shown::Table(print::AUDIT) }
        }
        Audit::Verify { expect } => Call {
            method: "POST",
            target: "/audit/verify".to_owned(),
            body: Some(("application/json", Secret::take(json!({ "expect": expect }).to_string().into_bytes()))),
            shown: Shown::Proof,
        },
    }
}

/// `igris admin backup FILE`, which the gateway writes: it has another working directory.
pub(super) fn backup(file: &Path) -> anyhow::Result<Call> {
    let body = json!({ "path": std::path::absolute(file)? }).to_string().into_bytes();
    let body = Some(("application/json", Secret::take(body)));
    Ok(Call { method: "POST", target: "/backup".to_owned(), body, shown: Shown::Slow })
}

/// An anchor as typed.
pub(in crate::cli) fn anchor(text: &str) -> Result<String, String> {
    match crate::store::AuditHead::parse(text) {
        Some(anchor) => Ok(anchor.to_string()),
        None => Err("write an anchor as a verification printed it, such as 12:0123456789abcdef".to_owned()),
    }
}
