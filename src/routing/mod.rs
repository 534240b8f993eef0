//! Facts in, ordered candidates out.
//!
//! Pure: no runtime, no clock, no configuration files. `resolve` says which providers can serve a model name at all.

pub mod glob;
pub mod policy;
pub mod resolve;
