//! The stand of the fleet's tests: several gateways, each on a machine of its own, one real PostgreSQL, one simulated provider, and every
//! way to take one from another.
//!
//! ```ignore
//! let Some(ground) = or_skip(Ground::builder(3).namespaces().postgres().wires().start()) else { return };
//! let mut machines = ground.machines(|_, builder| builder);
//! let load = Load::on(&[&machines[0], &machines[1]], 4);
//! ground.net().partition(1);             // no database for machine 1, its providers stay
//! ground.wire(2).delay(Duration::from_millis(500));
//! ground.postgres().kill();              // SIGKILL, all its processes
//! machines[0].restart();
//! ground.postgres().start();
//! ground.net().heal(1);
//! assert_eq!(load.end().failures, [""; 0]);
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`Postgres`] | a cluster: `database`, `sql`, `kill`, `stop`, `start`, `pause`, `resume`; with TLS if asked |
//! | [`Wire`] | a TCP proxy: `delay`, `cut`, `hole`, `heal` |
//! | [`Net`] | namespaces with two networks: `partition`, `drop_on`, `heal` |
//! | [`Ground`] | these together, with a provider, and what machine `n` reaches them by |
//! | [`Machine`] | a gateway on it: everything that [`crate::support::Gateway`] can, `kill` and `restart`, `cpu` |
//! | [`Load`] | clients that never pause: `answered`, `failures`, `moved`, latencies |
//!
//! Declare the ground before its machines, so that they end first. Whatever is made is removed on drop, and what a killed test process
//! left is removed by the next one.

// Each test file uses a part of the stand.
#![allow(dead_code)]

mod ground;
mod load;
mod machine;
mod net;
mod postgres;
mod wire;

#[allow(unused_imports)]
pub use ground::{Builder as GroundBuilder, Ground, ROOT_KEY};
#[allow(unused_imports)]
pub use load::{Load, Served};
#[allow(unused_imports)]
pub use machine::{Machine, seen_by_all};
#[allow(unused_imports)]
pub use net::{Link, Net};
#[allow(unused_imports)]
pub use postgres::{Builder as PostgresBuilder, Database, Postgres};
#[allow(unused_imports)]
pub use wire::Wire;

/// What was asked for; or says why this test is skipped.
pub fn or_skip<T>(asked: Result<T, String>) -> Option<T> {
    asked.map_err(|why| println!("skipped: {why}")).ok()
}
