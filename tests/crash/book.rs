//! What the gateway acknowledged so far, and the one operation whose fate is unknown.

use std::collections::{BTreeMap, BTreeSet};

/// Everything that was acknowledged.
#[derive(Debug, Default)]
pub struct Book {
    /// The tenants, each with a chain of provider keys.
    pub chains: Vec<Chain>,
    /// Access keys whose text we know, by id.
    pub access_keys: BTreeMap<String, AccessKey>,
    /// Access keys that were made and whose text was lost with the answer.
    pub strays: BTreeSet<String>,
    /// Tenants beside those of the chains, and whether each exists.
    pub tenants: BTreeMap<String, bool>,
    /// The configuration that is in force.
    pub config_version: u64,
    /// What was asked and not answered.
    pub under_way: Option<Deed>,
    pub acknowledged: u64,
    pub cut_off: u64,
}

/// An access key and whether it works.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub tenant: String,
    pub text: String,
    pub revoked: bool,
    pub rotated: bool,
}

/// A tenant's provider keys, of which one takes the place of another.
#[derive(Clone, Debug)]
pub struct Chain {
    pub tenant: String,
    /// An access key of that tenant, never revoked.
    pub access_key: String,
    /// The texts of its keys by id, as far as an answer told the id.
    pub texts: BTreeMap<String, String>,
    /// The key that serves when no rotation is open.
    pub active: String,
    /// The rotation that is open.
    pub open: Option<Rotation>,
}

/// A rotation that was begun.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub id: String,
    pub old: String,
    pub new: String,
}

/// An operation.
#[derive(Clone, Debug)]
pub enum Deed {
    MakeAccessKey { tenant: String },
    RevokeAccessKey { id: String },
    RotateAccessKey { id: String },
    MakeTenant { id: String },
    DropTenant { id: String },
    BeginRotation { chain: usize, text: String },
    CompleteRotation { chain: usize },
    CancelRotation { chain: usize },
    Reload { version: u64 },
    RotateMaster,
    RotateRoot,
}
