//! Bounds of what is kept in a database that machines share.

use std::time::Duration;

/// Until a database must have taken a connection. A machine that has its copy starts without it after this.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Until a change must be committed. The control plane waits for it, and nobody else does.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(5);
/// Until news must be there. A connection that went silent meanwhile is given up after this.
pub const PULL_DEADLINE: Duration = Duration::from_secs(10);
/// The same for a whole estate, and for the tables of one: a large one takes a while.
pub const FIRST_PULL_DEADLINE: Duration = Duration::from_secs(60);
/// Until a database must say which generation it is at; later it counts as gone.
pub const LOOK_DEADLINE: Duration = Duration::from_secs(2);
/// How often it is asked where it does not say so by itself. A change is everywhere within a second.
pub const LOOK_TICK: Duration = Duration::from_millis(500);
/// How often it is asked where it does: for what was said while nobody listened.
pub const LISTENING_TICK: Duration = Duration::from_secs(5);
/// How often a database that is gone is tried.
pub const RECONNECT_TICK: Duration = Duration::from_secs(1);
/// Connections for changes, news and leases, beside the one that listens.
pub const CONNECTIONS_MAX: usize = 3;
/// How long a connection of these may be unused: a database counts its connections, and there may be many machines.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(30);
/// Rows in one statement.
pub const ROWS_PER_STATEMENT: usize = 1_000;
/// Tries to make the tables, while another machine may be making them.
pub const MIGRATION_TRIES: u32 = 20;
/// Between two looks whether this machine has taken in what a refused change did not know.
pub const CATCH_UP_PAUSE: Duration = Duration::from_millis(5);
/// How often a change is made again because another machine was faster.
pub const CHANGE_TRIES: u32 = 8;
/// Configurations of the fleet of which it is remembered that they are old: more than are made between two starts of a machine.
pub const CONFIGS_KEPT: u64 = 64;
/// The least of `[fleet] keep_attempts` and `keep_hours`: two days, so that no partition goes that is still written to.
pub const KEEP_SHARED_FLOOR: Duration = Duration::from_secs(2 * 86_400);
/// `[fleet] keep_hours` unless set: a year, and the month that it is compared with.
pub const KEEP_HOURS_DEFAULT: Duration = Duration::from_secs(400 * 86_400);
/// How often machines tell each other how providers do.
pub const LEARN_TICK: Duration = Duration::from_secs(10);
/// How long ago others may have told what a machine that starts listens to.
pub const LEARN_FIRST: Duration = Duration::from_secs(60);
/// Until the database must have taken and told it; nobody waits for it.
pub const LEARN_DEADLINE: Duration = Duration::from_secs(5);
/// Models at providers that a machine tells of, and the most of them that it hears of at once: a sample of many machines is as good as all.
pub const LANES_TOLD_MAX: usize = 500;
/// How long what was told is kept.
pub const LEARN_KEPT: Duration = Duration::from_secs(600);

/// Connections for questions about the books of all machines, beside those for changes.
pub const READERS_MAX: usize = super::analytics::QUESTIONS_AT_ONCE;
/// Until a question about the books of all machines must have its connection; later this machine's own books answer. Enough for five round trips
/// of a second each.
pub const SUMS_OPEN_DEADLINE: Duration = Duration::from_secs(6);

// The books of all machines.

/// Records of the journal that are read for one shipment: most attempts are two records, so that it is about 4 096 attempts in one transaction.
pub const SHIP_RECORDS: usize = 8_192;
/// How often what was closed is shipped. What comes meanwhile goes together, which costs the database least.
pub const SHIP_TICK: Duration = Duration::from_secs(1);
/// The least of it: after a shipment that was not taken in time the next one is a quarter, so that a slow database takes smaller ones.
pub const SHIP_RECORDS_FLOOR: usize = 128;
/// Until the database must have taken a shipment; later it counts as gone, and the same is sent again.
pub const SHIP_DEADLINE: Duration = Duration::from_secs(15);
/// How often a shipment is made again at once because two got into each other's way.
pub const SHIP_TRIES: u32 = 5;
/// How long a process that ends waits for the rest to be taken.
pub const SHIP_LAST_DEADLINE: Duration = Duration::from_secs(5);
/// How long a shipment may wait for lines that other machines add to; shorter than its deadline, so that the database is the one to end it.
pub const SHIP_LOCK_TIMEOUT: &str = "10s";
/// How long a partition that comes or goes may wait for whoever reads: others wait behind it.
pub const TEND_LOCK_TIMEOUT: &str = "5s";
/// How long a transaction may stand still before the database ends it: a machine that is cut off in the middle of one must not hold its locks
/// until its connection is missed, which takes hours.
pub const IDLE_TIMEOUT: &str = "10s";
/// Age of what was not shipped from which on that is an alarm.
pub const UNSHIPPED_AGE_ALARM: Duration = Duration::from_secs(3_600);
/// Records not shipped from which on that is an alarm: about 1.5 GB of segments.
pub const UNSHIPPED_RECORDS_ALARM: u64 = 5_000_000;
/// How often it is noted, for the next start, that everything was shipped.
pub const SHIPPED_MARK_TICK: Duration = Duration::from_secs(60);
/// How often a machine asks whether the tables are to be tended.
pub const TEND_ASK_TICK: Duration = Duration::from_secs(600);
/// How soon it asks again when that went wrong.
pub const TEND_AGAIN_TICK: Duration = Duration::from_secs(60);
/// How often they are, by one machine of all.
pub const TEND_TICK: Duration = Duration::from_secs(3_600);
/// Days ahead for which partitions are made.
pub const PARTITIONS_AHEAD: i64 = 2;
/// Rows that one statement deletes where there are no partitions.
pub const DELETE_ROWS: i64 = 10_000;

const _: () = assert!(LEARN_TICK.as_millis() < LEARN_FIRST.as_millis());
const _: () = assert!(SUMS_OPEN_DEADLINE.as_secs() < super::analytics::DEADLINE.as_secs());
const _: () = assert!(TEND_ASK_TICK.as_secs() < TEND_TICK.as_secs());
const _: () = assert!(KEEP_SHARED_FLOOR.as_secs() > 86_400 + TEND_TICK.as_secs());
const _: () = assert!(LOOK_TICK.as_millis() * 2 <= 1_000);
const _: () = assert!(CONNECT_DEADLINE.as_millis() < COMMIT_DEADLINE.as_millis());

// ---- Leases of budgets and rates --------------------------------------------------------------------------------------------

/// Between two rounds of leases while something is used: what one machine used is known to all after one of these on either side.
pub const LEASE_TICK: Duration = Duration::from_millis(500);
/// The same while nothing is: a machine says that it lives.
pub const HEARTBEAT_TICK: Duration = Duration::from_secs(2);
/// Between two rounds that somebody waits for: many that want something at once are one round.
pub const LEASE_PAUSE: Duration = Duration::from_millis(20);
/// Until a round must be answered. Its transaction ends by then on both sides.
pub const ROUND_DEADLINE: Duration = Duration::from_secs(3);
/// How far back a round looks for what moved: longer than between the stamp of a round and its commit, and than a round may last.
pub const ROUND_OVERLAP: Duration = Duration::from_secs(4);
/// For how many ticks of use at the latest pace a machine leases: it goes on that long when the database is gone or slow.
pub const LEASE_HORIZON_TICKS: u64 = 20;
/// One part in so many of a limit is for machines that have no lease yet, and is left when that ends; another one, for all machines
/// together, is what they lease ahead of what requests under way hold.
pub const CREDIT_ONE_IN: u64 = 8;
/// How long an exchange waits for a lease before it is refused.
pub const LEASE_WAIT: Duration = Duration::from_millis(250);
/// Between two looks whether there is one.
pub const LEASE_LOOK: Duration = Duration::from_millis(5);
/// With `without_database = "refuse"`: how long a machine goes on after its last round that was answered, by its monotonic clock.
pub const LEASE_TERM: Duration = Duration::from_secs(10);
/// After so long without a round a machine counts as gone, by the database's clock; longer than a machine's own term.
pub const LEASE_TERM_FLEET: Duration = Duration::from_secs(15);
/// What nobody used for so long is there again wholly: the window of rates.
pub const RATE_WINDOW: Duration = Duration::from_secs(60);
/// How long pools and leases are kept after their period.
pub const POOL_KEPT: Duration = Duration::from_secs(86_400);
/// How long a machine that is not heard of is remembered.
pub const MACHINE_KEPT: Duration = Duration::from_secs(62 * 86_400);
/// How often each machine deletes what is no longer kept.
pub const LEASE_TIDY_TICK: Duration = Duration::from_secs(3_600);
/// Pools in one round; the others are asked for in the next.
pub const ASKS_PER_ROUND: usize = 2_000;

const _: () = assert!(LEASE_TERM.as_millis() + ROUND_DEADLINE.as_millis() < LEASE_TERM_FLEET.as_millis());
const _: () = assert!(ROUND_DEADLINE.as_millis() < ROUND_OVERLAP.as_millis());
const _: () = assert!(HEARTBEAT_TICK.as_millis() * 3 < LEASE_TERM.as_millis());
