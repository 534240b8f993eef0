//! Facts in, ordered candidates out.
//!
//! Pure: no runtime, no clock, no configuration files; `now` and randomness are arguments. `resolve` says which providers can serve a model
//! name at all, `need` what a request asks of them, `standing` and `score` what is known of each lane, `terms` what the owner wants.

pub mod affinity;
pub mod breaker;
pub mod consensus;
pub mod contest;
pub mod decision;
pub mod glob;
pub mod hearsay;
pub mod hedge;
pub mod key_pause;
pub mod lane;
pub mod need;
pub mod observed;
pub mod order;
pub mod policy;
pub mod quota;
pub mod reason;
pub mod record;
pub mod replay;
pub mod resolve;
pub mod retry_budget;
pub mod reward;
pub mod rolling;
pub mod score;
pub mod scorekeeper;
pub mod semantic;
pub mod spread;
pub mod standing;
pub mod terms;
pub mod window;
