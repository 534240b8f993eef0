//! Facts in, ordered candidates out.
//!
//! Pure: no runtime, no clock, no configuration files; `now` and randomness are arguments. `resolve` says which providers can serve a model
//! name at all, `need` what a request asks of them, `standing` and `score` what is known of each lane, `terms` what the owner wants.

pub mod affinity;
pub mod decision;
pub mod glob;
pub mod lane;
pub mod need;
pub mod observed;
pub mod policy;
pub mod resolve;
pub mod score;
pub mod semantic;
pub mod standing;
pub mod terms;
