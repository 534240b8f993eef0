//! The data plane: one thread per core, nothing shared but the snapshot and the core's own report queue.
//!
//! Requests fall straight down: `worker` accepts, `session` reads heads off one client connection, `exchange` names the phases of one
//! request in order, `failover` lets one provider after another have a `tryout`, `draft` and `outbound` say what it is sent, `attempt` makes the try over a
//! connection from `upstream`, `unary` and `events` pass the answer on, and `reply` is the only file that turns a fault into bytes. No lock, no database, no name resolution, no configuration here.

pub mod account;
pub mod allowance;
pub mod ask;
pub mod attempt;
pub mod authenticate;
pub mod budget;
pub mod client_address;
pub mod continuation;
pub mod council;
pub mod count;
pub mod courier;
pub mod downstream;
pub mod draft;
pub mod events;
pub mod exchange;
pub mod explain;
pub mod facts;
pub mod failover;
pub mod fairness;
pub mod fault;
pub mod features;
pub mod forward;
pub mod heat;
pub mod hedge;
pub mod idempotency;
pub mod inquiry;
pub mod limit_fields;
pub mod local;
pub mod meter;
pub mod native_stream;
pub mod need;
pub mod object_ids;
pub mod outbound;
pub mod overload;
pub mod per_core;
pub mod plan;
pub mod preview;
pub mod prime;
pub mod probes;
pub mod race;
pub mod realtime;
pub mod relay;
pub mod reply;
pub mod rota;
pub mod session;
pub mod splice_metadata;
pub mod steer;
pub mod stream;
pub mod surface;
pub mod timing;
pub mod together;
pub mod told;
pub mod trail;
pub mod translate_stream;
pub mod tryout;
pub mod turns;
pub mod unary;
pub mod upload;
pub mod upstream;
pub mod vitals;
pub mod wishes;
pub mod worker;
