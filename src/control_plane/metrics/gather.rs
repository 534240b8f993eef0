//! What of the page only the control plane knows, as plain numbers: taken in one go, under its lock.

use super::super::Control;
use super::super::overload::Room;
use super::super::score_pages::{breaker_state, mean, rounded, summed};
use super::super::stats::{OTHER, OUTCOMES, Stats};
use super::families::*;
use super::page::{Page, Value};
use super::{Format, MetricsSheet};
use crate::domain::limit::LimitKind;
use crate::domain::pressure::ShedReason;
use crate::report::{CoreGauges, CoreReports};
use crate::routing::score::Beta;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A part of what was used.
type Part = fn(&crate::domain::token::Usage) -> u64;

/// The sum of a counter over all cores.
type Sum<'s> = &'s dyn Fn(fn(&CoreGauges) -> &AtomicU64) -> u64;

impl Control {
    /// The figures of this moment.
    pub fn metrics_sheet(&self) -> MetricsSheet {
        let mut page = Page::default();
        let sum = |read: fn(&CoreGauges) -> &AtomicU64| {
            self.reports.iter().map(|core| read(&core.gauges).load(Ordering::Relaxed)).sum()
        };
        self.configuration_figures(&mut page);
        traffic(&mut page, &sum);
        room(&mut page, &Room::read(&self.reports));
        let decisions = self.decisions_by_policy();
        page.each(&DECISIONS, decisions.map(|(policy, count)| (vec![policy.as_str().to_owned()], Value::Count(count))));
        attempts(&mut page, &self.stats);
        self.tenant_figures(&mut page);
        together(&mut page, &sum);
        self.score_figures(&mut page);
        self.key_figures(&mut page);
        self.fleet_figures(&mut page);
        self.book_figures(&mut page, &self.reports);
        self.teller.add_to(&mut page);
        page.one(&UNTOLD, sum(|gauges| &gauges.exchanges_untold));
        MetricsSheet { page, scores: self.scores.clone(), reports: self.reports.clone() }
    }

    /// The same as text, for whoever wants to read it.
    pub fn metrics(&self) -> String {
        String::from_utf8_lossy(&self.metrics_sheet().write(Format::Text)).into_owned()
    }

    fn configuration_figures(&self, page: &mut Page) {
        page.each(&BUILD, [(vec![env!("CARGO_PKG_VERSION").to_owned()], Value::Count(1))]);
        page.one(&UPTIME, self.started.elapsed().as_secs());
        page.each(&CONFIG, [(vec![self.stamp.digest.clone()], Value::Count(1))]);
        page.one(&CONFIG_VERSION, self.stamp.version);
        page.one(&CONFIG_TRIAL, self.trial.is_on());
        page.one(&CONFIG_REVERTS, self.trial.reverts());
        page.one(&CONFIG_REFUSED, self.standing.refused);
        page.one(&CONFIG_EXPIRED, self.has_expired());
        page.one(&CONFIG_EXPIRY, self.config.identity.expires_at.map_or(0, |end| end.0 / 1_000));
        page.one(&GENERATION, self.published.load().generation);
    }

    fn fleet_figures(&self, page: &mut Page) {
        let Some(standing) = self.standing_of_fleet() else { return };
        page.one(&FLEET_REACHABLE, standing.is_reachable);
        let generations = [("copy", self.shared_generation()), ("database", standing.generation)];
        page.one(&FLEET_CONFIG_REFUSED, self.is_fleet_config_refused());
        page.each(&FLEET_GENERATION, generations.map(|(of, count)| (vec![of.to_owned()], Value::Count(count))));
        if let Some((behind, unshipped)) = self.shipping_figures() {
            page.one(&FLEET_BOOKS_BEHIND, behind);
            unshipped.into_iter().for_each(|records| page.one(&FLEET_BOOKS_UNSHIPPED, records));
        }
        let Some(figures) = self.lease_figures() else { return };
        let rounds = ["answered", "lost"].into_iter().zip(figures.rounds);
        page.each(&LEASE_ROUNDS, rounds.map(|(outcome, count)| (vec![outcome.to_owned()], Value::Count(count))));
        page.one(&LEASE_ASKS, figures.asks);
        let sum = |count: fn(&CoreGauges) -> &AtomicU64| {
            self.reports.iter().map(|core| count(&core.gauges).load(Ordering::Relaxed)).sum::<u64>()
        };
        page.one(&LEASE_WAITS, sum(|gauges| &gauges.lease_waits));
        page.one(&UNLEASED, sum(|gauges| &gauges.unleased));
    }

    /// Tenants, where the owner wants them: as many as have room, the rest together.
    fn tenant_figures(&self, page: &mut Page) {
        if !self.config.telemetry.metrics_tenant_label {
            return;
        }
        let tenants = || self.stats.tenants().map(|(name, figures)| (name.to_owned(), figures));
        page.each(&TENANT_ATTEMPTS, tenants().map(|(name, figures)| (vec![name], Value::Count(figures.attempts))));
        let tokens = tenants().flat_map(|(name, figures)| {
            [("input", figures.input_tokens), ("output", figures.output_tokens)]
                .map(|(direction, count)| (vec![name.clone(), direction.to_owned()], Value::Count(count)))
        });
        page.each(&TENANT_TOKENS, tokens);
        page.each(&TENANT_COST, tenants().map(|(name, figures)| (vec![name], Value::Number(figures.cost.to_usd()))));
    }

    fn score_figures(&self, page: &mut Page) {
        let snapshot = self.published.load();
        let mut posteriors: BTreeMap<(&str, &str), Beta> = BTreeMap::new();
        for (lane, score) in &snapshot.scores.lanes {
            let model = if self.lists(lane) { &*lane.model } else { OTHER };
            summed(posteriors.entry((lane.provider.as_str(), model)).or_default(), &score.posterior);
        }
        let score = |((provider, model), posterior): (&(&str, &str), &Beta)| {
            let labels = vec![(*provider).to_owned(), (*model).to_owned()];
            (labels, Value::Number(rounded(mean(posterior), 4)))
        };
        page.each(&THOMPSON, posteriors.iter().map(score));
        let (halts, now) = (self.board.halts(), Instant::now());
        let state = |provider: &crate::snapshot::Provider| {
            let state = match breaker_state(&halts, &snapshot.scores, &provider.id, now) {
                "open" => 2,
                "half_open" => 1,
                _ => 0,
            };
            (vec![provider.id.as_str().to_owned()], Value::Count(state))
        };
        page.each(&BREAKER, snapshot.providers.iter().map(state));
        page.one(&UNSCORED, self.unscored());
    }

    fn key_figures(&self, page: &mut Page) {
        let counts = self.rotations.counts();
        page.each(&ROTATIONS, counts.map(|(state, count)| (vec![state.to_owned()], Value::Count(count as u64))));
        let ages = || self.reminders.key_ages();
        page.each(&KEY_AGE, ages().map(|(name, days, _)| (vec![name.to_owned()], Value::Count(days * 86_400))));
        page.each(&KEYS_DUE, ages().map(|(name, _, due)| (vec![name.to_owned()], Value::Count(due as u64))));
    }

    fn book_figures(&self, page: &mut Page, reports: &[Arc<CoreReports>]) {
        page.one(&REPORTS_WAITING, reports.iter().map(|core| core.waiting() as u64).sum::<u64>());
        page.one(&STORE_TROUBLE, self.trouble.is_some());
    }
}

fn traffic(page: &mut Page, sum: Sum<'_>) {
    page.one(&CONNECTIONS, sum(|gauges| &gauges.connections));
    page.one(&CONNECTIONS_HTTP2, sum(|gauges| &gauges.connections_http2));
    page.one(&ACCEPTED, sum(|gauges| &gauges.connections_accepted));
    page.one(&EXCHANGES, sum(|gauges| &gauges.exchanges));
    page.one(&BEGUN, sum(|gauges| &gauges.exchanges_begun));
    page.one(&STREAMS, sum(|gauges| &gauges.streams));
    page.one(&REFUSED, sum(|gauges| &gauges.refused));
    page.one(&UNSERVED, sum(|gauges| &gauges.unserved));
    page.one(&UPSTREAM_CONNECTIONS, sum(|gauges| &gauges.upstream_connections));
}

fn together(page: &mut Page, sum: Sum<'_>) {
    page.one(&HEDGES, sum(|gauges| &gauges.together.hedges));
    page.one(&HEDGES_WON, sum(|gauges| &gauges.together.hedges_won));
    page.one(&RACES, sum(|gauges| &gauges.together.races));
    page.one(&RACES_WON, sum(|gauges| &gauges.together.races_won));
    page.one(&LOSERS, sum(|gauges| &gauges.together.losers));
    page.one(&WASTE, sum(|gauges| &gauges.together.waste_micro) as f64 / 1e6);
    page.one(&HEDGING_PAUSES, sum(|gauges| &gauges.hedging_pauses));
}

fn room(page: &mut Page, room: &Room) {
    let stages = room.pressures.iter().enumerate();
    page.each(&OVERLOAD, stages.map(|(core, now)| (vec![core.to_string()], Value::Count(now.stage as u64))));
    let shed = ShedReason::ALL.iter().zip(room.shed);
    page.each(&SHED, shed.map(|(reason, count)| (vec![reason.name().to_owned()], Value::Count(count))));
    let limited = LimitKind::ALL.iter().zip(room.limited);
    page.each(&LIMITED, limited.map(|(kind, count)| (vec![kind.name().to_owned()], Value::Count(count))));
}

fn attempts(page: &mut Page, stats: &Stats) {
    let lane = |provider: &str, model: &str| vec![provider.to_owned(), model.to_owned()];
    let outcomes = stats.series().flat_map(|(provider, model, series)| {
        let some = OUTCOMES.iter().zip(series.outcomes).filter(|(_, count)| *count > 0);
        some.map(move |(outcome, count)| {
            (vec![provider.to_owned(), model.to_owned(), outcome.name().to_owned()], Value::Count(count))
        })
    });
    page.each(&ATTEMPTS, outcomes);
    page.each(
        &FAILOVERS,
        stats.series().map(|(provider, model, series)| (lane(provider, model), Value::Count(series.failovers))),
    );
    let tokens = stats.series().flat_map(|(provider, model, series)| {
        let both = [("input", series.usage.input), ("output", series.usage.output)];
        both.map(|(direction, count)| {
            (vec![provider.to_owned(), model.to_owned(), direction.to_owned()], Value::Count(count))
        })
    });
    page.each(&TOKENS, tokens);
    let parts: [(&'static Family, Part); 3] = [
        (&CACHED_TOKENS, |usage| usage.cached_input),
        (&CACHE_WRITE_TOKENS, |usage| usage.cache_write),
        (&REASONING_TOKENS, |usage| usage.reasoning),
    ];
    for (family, part) in parts {
        let count = |(provider, model, series): (&str, &str, &super::super::stats::Series)| {
            (lane(provider, model), Value::Count(part(&series.usage)))
        };
        page.each(family, stats.series().map(count));
    }
    page.each(
        &COST,
        stats.series().map(|(provider, model, series)| (lane(provider, model), Value::Number(series.cost.to_usd()))),
    );
    page.each(&UNPRICED, stats.unpriced().map(|(provider, count)| (vec![provider.to_owned()], Value::Count(count))));
    page.each(&ESTIMATED, stats.estimated().map(|(provider, count)| (vec![provider.to_owned()], Value::Count(count))));
}
