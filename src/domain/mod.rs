//! The nouns of the house: ids, money, tokens, secrets, time.
//!
//! Values only: no I/O, no clock reads, no configuration. Everything here may be named by every other module.

pub mod clock;
pub mod id;
pub mod money;
pub mod pressure;
pub mod scope;
pub mod secret;
pub mod text;
pub mod token;
