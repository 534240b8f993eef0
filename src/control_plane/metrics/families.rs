//! Every family of metrics, in the order of the page: the one place from which the exposition, `docs/metrics.md` and the lint are made.
//!
//! A label's values are words and names of ours: surfaces, outcomes, configured providers, listed models. What a client chose is `other`
//! (rule R5), so the number of series has a bound that no client can move.

/// What a family counts or measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; the labels say it. The name ends in `_info`.
    Info,
    /// Durations, in classic and in native buckets.
    Histogram,
}

/// One family as described.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The full name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// Declares the families and the list of them.
macro_rules! families {
    ($($constant:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family = Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them, in the order of the page.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD Info "igris_build_info" ["version"] "What runs.";
    UPTIME Gauge "igris_uptime_seconds" [] "Since the process started.";
    CONFIG Info "igris_config_info" ["digest"] "Digest of the live configuration.";
    CONFIG_VERSION Gauge "igris_config_version" [] "Version of the live configuration.";
    CONFIG_TRIAL Gauge "igris_config_on_trial" [] "Whether a configuration is on trial.";
    CONFIG_REVERTS Counter "igris_config_reverts_total" [] "Configurations taken back after a failed trial.";
    CONFIG_REFUSED Counter "igris_config_refused_total" [] "Configurations refused.";
    CONFIG_EXPIRED Gauge "igris_config_expired" [] "Whether the live signed configuration has expired.";
    CONFIG_EXPIRY Gauge "igris_config_expiry_timestamp_seconds" [] "When the live configuration expires; 0: never.";
    GENERATION Gauge "igris_snapshot_generation" [] "Publications since start.";
    CONNECTIONS Gauge "igris_connections" [] "Downstream connections open.";
    CONNECTIONS_HTTP2 Gauge "igris_connections_http2" [] "Downstream connections open that speak HTTP/2.";
    ACCEPTED Counter "igris_connections_accepted_total" [] "Downstream connections accepted.";
    EXCHANGES Gauge "igris_exchanges" [] "Exchanges under way.";
    BEGUN Counter "igris_exchanges_begun_total" [] "Exchanges begun.";
    STREAMS Gauge "igris_streams" [] "Streamed answers under way.";
    REQUESTS Counter "igris_requests_total" ["surface", "status"] "Exchanges that are over, by what was asked for and the class of the status; `none`: the client went before there was one.";
    FINISHED Counter "igris_requests_finished_total" ["finish"] "Exchanges that are over, by how they ended.";
    REFUSED Counter "igris_requests_refused_total" [] "Requests answered with an error of ours.";
    UNSERVED Counter "igris_requests_unserved_total" [] "Requests of known keys that nobody could be asked for.";
    SHED Counter "igris_shed_total" ["reason"] "Requests turned away before anything was done for them.";
    LIMITED Counter "igris_limited_total" ["limit"] "Requests refused by limits of access keys and tenants.";
    OVERLOAD Gauge "igris_overload_stage" ["core"] "Room of each core: 0 calm, 1 tight, 2 shedding, 3 closed.";
    OVERHEAD Histogram "igris_overhead_seconds" [] "What we added to exchanges that a model answered: neither waiting for a provider nor for the client.";
    REQUEST_FIRST_BYTE Histogram "igris_request_first_byte_seconds" [] "From a request's head to the first byte of its answer, exchanges that a model answered.";
    REQUEST_DURATION Histogram "igris_request_duration_seconds" [] "Whole exchanges that a model answered.";
    DECISIONS Counter "igris_routing_decisions_total" ["policy"] "Plans carried out, by the policy that ordered the candidates.";
    ATTEMPTS Counter "igris_attempts_total" ["provider", "model", "outcome"] "Attempts closed, by how they ended.";
    FAILOVERS Counter "igris_attempt_failovers_total" ["provider", "model"] "Attempts that failed and were followed by another.";
    ATTEMPT_DURATION Histogram "igris_attempt_duration_seconds" ["provider", "model"] "Whole attempts that were answered.";
    FIRST_BYTE Histogram "igris_first_byte_seconds" ["provider", "model"] "Time to the first byte of answered attempts, connecting aside.";
    FIRST_TOKEN Histogram "igris_first_token_seconds" ["provider", "model"] "Time to the first content of answered streams.";
    TOKENS Counter "igris_tokens_total" ["provider", "model", "direction"] "Tokens, by direction.";
    CACHED_TOKENS Counter "igris_cached_tokens_total" ["provider", "model"] "The part of the input tokens that came from the provider's prompt cache.";
    CACHE_WRITE_TOKENS Counter "igris_cache_write_tokens_total" ["provider", "model"] "The part of the input tokens that was written to the provider's prompt cache.";
    REASONING_TOKENS Counter "igris_reasoning_tokens_total" ["provider", "model"] "The part of the output tokens that was spent on reasoning.";
    COST Counter "igris_cost_usd_total" ["provider", "model"] "List price of what was used, US dollars; unknown prices are left out, see igris_unpriced_attempts_total.";
    UNPRICED Counter "igris_unpriced_attempts_total" ["provider"] "Attempts that used tokens without a known price.";
    ESTIMATED Counter "igris_estimated_attempts_total" ["provider"] "Attempts whose tokens are an estimate of ours, because the provider stated none.";
    TENANT_ATTEMPTS Counter "igris_tenant_attempts_total" ["tenant"] "Attempts closed by tenant; only with metrics_tenant_label.";
    TENANT_TOKENS Counter "igris_tenant_tokens_total" ["tenant", "direction"] "Tokens by tenant; only with metrics_tenant_label.";
    TENANT_COST Counter "igris_tenant_cost_usd_total" ["tenant"] "List price by tenant, US dollars; only with metrics_tenant_label.";
    HEDGES Counter "igris_hedges_total" [] "Second attempts that were started because the first was late.";
    HEDGES_WON Counter "igris_hedges_won_total" [] "Second attempts that were first.";
    RACES Counter "igris_races_total" [] "Races that were run.";
    RACES_WON Counter "igris_races_won_total" [] "Races that another candidate won than the one that the plan had first.";
    LOSERS Counter "igris_superseded_attempts_total" [] "Attempts of hedges and races that lost.";
    WASTE Counter "igris_superseded_cost_usd_total" [] "What these cost, US dollars; a dollar a million tokens where no price is known.";
    HEDGING_PAUSES Counter "igris_hedging_pauses_total" [] "Times that a tenant's hedges and races paused for wasting too much.";
    UPSTREAM_CONNECTIONS Counter "igris_upstream_connections_total" [] "Connections opened to providers.";
    THOMPSON Gauge "igris_thompson_sampling_score" ["provider", "model"] "Expected reward of an attempt, 0 to 1: what Thompson sampling draws around.";
    BREAKER Gauge "igris_circuit_breaker_state" ["provider"] "0 closed, 1 half open, 2 open.";
    UNSCORED Counter "igris_unscored_attempts_total" [] "Attempts on lanes beyond those that are scored.";
    ROTATIONS Gauge "igris_rotations" ["state"] "Rotations of provider keys with steps to take, by state.";
    KEY_AGE Gauge "igris_provider_key_age_seconds" ["provider"] "Age of the oldest key in use, in whole days.";
    KEYS_DUE Gauge "igris_provider_keys_due" ["provider"] "Keys in use that are old enough to be rotated.";
    REPORTS_WAITING Gauge "igris_reports_waiting" [] "Closed attempts not yet in the books.";
    BOOKS_AGE Gauge "igris_books_age_seconds" [] "Since the books last took in all that waited.";
    FLEET_REACHABLE Gauge "igris_fleet_reachable" [] "Whether the database that machines share answers; absent where none is shared.";
    FLEET_CONFIG_REFUSED Gauge "igris_fleet_config_refused" [] "Whether the fleet's configuration cannot be served by this machine; absent where none is shared.";
    FLEET_GENERATION Gauge "igris_fleet_generation" ["of"] "Generation of the shared estate: of the copy here, and of the database at the last look.";
    FLEET_BOOKS_BEHIND Gauge "igris_fleet_books_behind_seconds" [] "Since when the books of all machines lack something of this one; a second or two where they lack nothing, absent where nothing is shipped.";
    FLEET_BOOKS_UNSHIPPED Gauge "igris_fleet_books_unshipped" [] "Records of the journal that the books of all machines have not acknowledged; absent until the database has said how far it is.";
    LEASE_ROUNDS Counter "igris_fleet_lease_rounds_total" ["outcome"] "Rounds in which this machine asked the database for its parts of shared limits: `answered`, `lost`.";
    LEASE_ASKS Counter "igris_fleet_lease_asks_total" [] "Leases asked for in these rounds.";
    LEASE_WAITS Counter "igris_fleet_lease_waits_total" [] "Requests that waited a moment for a lease.";
    UNLEASED Counter "igris_fleet_lease_refused_total" [] "Requests refused because this machine's part of a shared limit was used up; counted in `igris_limited_total` too.";
    STORE_TROUBLE Gauge "igris_store_trouble" [] "Whether the books cannot be written just now.";
    LEDGER_RECORDS Counter "igris_ledger_records_total" [] "Records written to the journal.";
    LEDGER_BYTES Counter "igris_ledger_bytes_total" [] "Bytes written to the journal.";
    LEDGER_SYNCS Counter "igris_ledger_syncs_total" [] "Syncs of the journal that succeeded.";
    LEDGER_SYNC_FAILURES Counter "igris_ledger_sync_failures_total" [] "Syncs of the journal that failed.";
    LEDGER_FULL Counter "igris_ledger_segments_refused_total" [] "Segments of the journal that could not be made for want of space.";
    LEDGER_TROUBLE Gauge "igris_ledger_trouble" [] "Whether the journal admits nothing just now.";
    UNTOLD Counter "igris_exchanges_untold_total" [] "Exchanges that are in no trace and no access log because too many waited.";
    LOG_LINES Counter "igris_access_log_lines_total" [] "Lines handed to the access log.";
    LOG_DROPPED Counter "igris_access_log_dropped_total" [] "Lines of the access log that were dropped: its place is slow or gone.";
    SPANS Counter "igris_spans_exported_total" [] "Spans that a collector has taken.";
    SPANS_DROPPED Counter "igris_spans_dropped_total" [] "Spans that were dropped: the collector is slow, gone or refuses them.";
    EXPORT_FAILURES Counter "igris_export_failures_total" ["signal"] "Exports that a collector did not take, each try counted.";
    PROCESS_CPU Counter "process_cpu_seconds_total" [] "User and system CPU time spent.";
    PROCESS_RSS Gauge "process_resident_memory_bytes" [] "Resident memory.";
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" [] "Virtual memory.";
    PROCESS_FDS Gauge "process_open_fds" [] "Open file descriptors.";
    PROCESS_FDS_MAX Gauge "process_max_fds" [] "File descriptors that may be open.";
    PROCESS_START Gauge "process_start_time_seconds" [] "When the process started, since the Unix epoch.";
}

/// Upper ends of the classic buckets of an answer's durations, seconds: a cached short answer to a long reasoning one.
pub const ANSWER_SECONDS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Upper ends of the classic buckets of what we add ourselves, seconds.
pub const OVERHEAD_SECONDS: &[f64] =
    &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0];

impl Family {
    /// Upper ends of its classic buckets, ascending, without the last one.
    pub fn bounds(&self) -> &'static [f64] {
        match *self == OVERHEAD {
            true => OVERHEAD_SECONDS,
            false => ANSWER_SECONDS,
        }
    }

    /// The name without the suffix of its kind, as OpenMetrics has it.
    pub fn base(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }

    /// The unit that the name ends in, if it is one of the base units.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.base().rsplit('_').next() == Some(*unit))
    }
}
