//! Which machines live, and how far each may use the limits that all share.
//!
//! A pool is one limit in one period, a lease is one machine's part in it. `holder` is an access key or a tenant as the machines' own
//! files write it; `kind` is [`crate::fleet::Quantity`]; `epoch` and `ends` are the period's, in milliseconds since the Unix epoch.
//! All other times are the database's own.

pub(super) const STEP: &str = "
    CREATE TABLE igris.machines (
        id bytea PRIMARY KEY CHECK (length(id) = 16),
        incarnation bytea NOT NULL,
        name text NOT NULL,
        turn bigint NOT NULL,
        seen bigint NOT NULL,
        knows bigint NOT NULL,
        peers bigint NOT NULL,
        is_bound boolean NOT NULL
    );
    CREATE TABLE igris.pools (
        holder bytea NOT NULL,
        kind smallint NOT NULL,
        epoch bigint NOT NULL,
        ends bigint NOT NULL,
        used bigint NOT NULL,
        closed bigint NOT NULL,
        spilled bigint NOT NULL,
        moved bigint NOT NULL,
        PRIMARY KEY (holder, kind, epoch)
    );
    CREATE INDEX pools_by_moved ON igris.pools (moved);
    CREATE INDEX pools_by_ends ON igris.pools (ends);
    CREATE TABLE igris.leases (
        holder bytea NOT NULL,
        kind smallint NOT NULL,
        epoch bigint NOT NULL,
        machine bytea NOT NULL,
        ends bigint NOT NULL,
        used bigint NOT NULL,
        granted bigint NOT NULL,
        want bigint NOT NULL,
        PRIMARY KEY (holder, kind, epoch, machine)
    );
    CREATE INDEX leases_by_ends ON igris.leases (ends)";
