//! `igris admin tenants`.

use super::{Call, Shown};
use crate::cli::{name, print};
use crate::domain::secret::Secret;
use clap::Subcommand;
use serde_json::json;

/// `igris admin tenants`.
#[derive(Debug, Subcommand)]
pub enum Tenants {
    /// List them
    List,
    /// Make one
    Add {
        /// Its id
        #[arg(value_parser = name)]
        id: String,
    },
    /// Destroy one with all its keys, for good
    Remove {
        /// Its id
        #[arg(value_parser = name)]
        id: String,
    },
}

/// The verb as a request.
pub(super) fn call(tenants: &Tenants) -> Call {
    match tenants {
        Tenants::List => {
            Call { method: "GET", target: "/tenants".to_owned(), body: None, shown: Shown::Table(print::TENANTS) }
        }
        Tenants::Add { id } => {
            let body = Some(("application/json", Secret::take(json!({ "id": id }).to_string().into_bytes())));
            Call { method: "POST", target: "/tenants".to_owned(), body, shown: Shown::Fields }
        }
        Tenants::Remove { id } => {
            let shown = Shown::Done(format!("{id} and its keys are destroyed"));
            Call { method: "DELETE", target: format!("/tenants/{id}"), body: None, shown }
        }
    }
}
