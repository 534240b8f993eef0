//! The nouns of the house: ids, money, tokens, secrets, time.
//!
//! Values only: no I/O, no clock reads, no configuration. Everything here may be named by every other module.

pub mod alert;
pub mod budget;
pub mod cidr;
pub mod clock;
pub mod endpoint;
pub mod id;
pub mod id_hash;
pub mod limit;
pub mod map;
pub mod money;
pub mod pressure;
pub mod protocol;
pub mod role;
pub mod scope;
pub mod secret;
pub mod text;
pub mod token;
pub mod trace;
