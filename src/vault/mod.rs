//! The key vault: what is kept secret, what seals it, and how it comes back.
//!
//! Three levels (rule V1): a *root key* wraps versions of the *master key*, a master key wraps one *data key* per tenant, a
//! data key seals that tenant's credentials. Destroying a tenant's data key shreds the tenant. Everything here is values in,
//! values out, apart from reading the root key and asking the kernel for locked memory; rows live in `store`.
//! It refuses anything it does not fully recognise, and none of its errors can hold a secret.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod access_key;
pub mod audit_key;
pub mod entropy;
pub mod error;
pub mod keyring;
pub mod ledger_key;
pub mod locked;
mod root_file;
pub mod root_key;
pub mod rotation;
pub mod scrub;
pub mod seal;
pub mod sign;
pub mod signature;
pub mod token_digest;
pub mod webhook_secret;

pub use access_key::{AccessKeyText, Pepper};
pub use audit_key::AuditKey;
pub use entropy::{Entropy, OsEntropy};
pub use error::{Again, VaultError, Whose};
pub use keyring::{DataKey, Keyring};
pub use ledger_key::{LINK_BYTES, LedgerKey, Link};
pub use locked::harden_process;
pub use root_file::Settled;
#[cfg(test)]
pub(crate) use root_file::cut;
pub use root_key::{RootKey, RootSource};
pub use scrub::Scrubber;
pub use seal::{Place, Purpose, open, seal};
pub use token_digest::TokenDigest;
pub use webhook_secret::{NotAWebhookSecret, WebhookSecret};
