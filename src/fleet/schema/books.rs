//! The books of all machines: each attempt once, by its id, and their sums by hour and by day.
//!
//! Attempts and hours are partitioned by day, so that a day that is no longer kept goes in one step; its partitions are made ahead, or by
//! whoever first writes to that day (`books/days.rs`). An engine without partitions has plain tables ([`super::take`]). Days are never let
//! go: they are few. Money is whole picodollars; `numeric` adds it up exactly. Names of columns are those of the books of one machine
//! (`store/schema/books.rs`); `failed` and `unpriced` say how an attempt counts there, so that the sums follow from the attempts alone.

pub(super) const STEP: &str = "
    CREATE TABLE igris.attempts (
        day integer NOT NULL,
        attempt bytea NOT NULL,
        exchange bytea NOT NULL,
        started bigint NOT NULL,
        tenant text NOT NULL,
        access_key bytea NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        policy text NOT NULL,
        credential bytea NOT NULL,
        outcome text NOT NULL,
        status integer NOT NULL,
        last boolean NOT NULL,
        failed boolean NOT NULL,
        unpriced boolean NOT NULL,
        source text NOT NULL,
        input_tokens bigint NOT NULL,
        output_tokens bigint NOT NULL,
        cached_tokens bigint NOT NULL,
        cost_pico numeric,
        PRIMARY KEY (day, attempt)
    ) PARTITION BY RANGE (day);
    CREATE TABLE igris.usage_hours (
        tenant text NOT NULL,
        hour bigint NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        policy text NOT NULL,
        credential bytea NOT NULL,
        access_key bytea NOT NULL,
        requests bigint NOT NULL,
        attempts bigint NOT NULL,
        failed bigint NOT NULL,
        estimated bigint NOT NULL,
        unpriced bigint NOT NULL,
        input_tokens bigint NOT NULL,
        output_tokens bigint NOT NULL,
        cached_tokens bigint NOT NULL,
        cost_pico numeric NOT NULL,
        PRIMARY KEY (tenant, hour, provider, model, policy, credential, access_key)
    ) PARTITION BY RANGE (hour);
    CREATE INDEX usage_hours_by_hour ON igris.usage_hours (hour);
    CREATE TABLE igris.usage_days (
        tenant text NOT NULL,
        day bigint NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        policy text NOT NULL,
        credential bytea NOT NULL,
        access_key bytea NOT NULL,
        requests bigint NOT NULL,
        attempts bigint NOT NULL,
        failed bigint NOT NULL,
        estimated bigint NOT NULL,
        unpriced bigint NOT NULL,
        input_tokens bigint NOT NULL,
        output_tokens bigint NOT NULL,
        cached_tokens bigint NOT NULL,
        cost_pico numeric NOT NULL,
        PRIMARY KEY (tenant, day, provider, model, policy, credential, access_key)
    );
    CREATE INDEX usage_days_by_day ON igris.usage_days (day);
    CREATE TABLE igris.lanes (
        lane text PRIMARY KEY,
        number bigint NOT NULL,
        closes bigint NOT NULL,
        told bigint NOT NULL
    );
    CREATE TABLE igris.books (
        one integer PRIMARY KEY CHECK (one = 1),
        tended bigint NOT NULL
    );
    INSERT INTO igris.books VALUES (1, 0)";
