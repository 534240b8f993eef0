//! A report read back from its JSON.
//!
//! Figures are not read but computed again, from the sums and histograms that lie beside them.

use super::{Report, SCHEMA, decode, instant};
use crate::engine::Health;
use crate::measure::{Measured, Second, Sparse, Sums, Timings};
use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

impl Report {
    /// The report that a file holds.
    ///
    /// # Errors
    /// The file cannot be read, or holds no report.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {shown}; give a file that igris-load run --json wrote"))?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("{shown} is not JSON; give a file that igris-load run --json wrote"))?;
        Self::from_json(&value).with_context(|| format!("{shown} is no result of igris-load run"))
    }

    /// The report that [`Report::to_json`] wrote.
    ///
    /// # Errors
    /// It is none, or one of a newer form.
    pub fn from_json(value: &Value) -> anyhow::Result<Self> {
        ensure!(
            value["tool"] == "igris-load",
            "it was not written by igris-load; measure with igris-load run --json FILE"
        );
        match value["schema"].as_u64() {
            Some(SCHEMA) => {}
            Some(newer) if newer > SCHEMA => {
                bail!("it has form {newer} and this igris-load reads up to {SCHEMA}; use the version that wrote it")
            }
            _ => bail!("it was written by an older igris-load; measure again with this one"),
        }
        let started = value["started"].as_str().and_then(instant).unwrap_or(UNIX_EPOCH);
        Ok(Self {
            plan: field(value, "plan")?,
            measured: measured(value)?,
            stamp: field(value, "stamp")?,
            started,
            machine: field(value, "machine")?,
            version: field(value, "version")?,
            thresholds: field(value, "thresholds")?,
        })
    }
}

fn field<T: DeserializeOwned>(value: &Value, name: &str) -> anyhow::Result<T> {
    T::deserialize(&value[name]).with_context(|| format!("its field {name} is missing or wrong; was it edited?"))
}

fn time(value: &Value, name: &str, per_second: f64) -> anyhow::Result<Duration> {
    let figure: f64 = field(value, name)?;
    // Nanoseconds are rounded to whole ones, since a number of microseconds is not exact in binary.
    let nanos = (figure / per_second * 1e9).round();
    ensure!((0.0..1e19).contains(&nanos), "its field {name} is no time; was it edited?");
    Ok(Duration::from_nanos(nanos as u64))
}

fn measured(value: &Value) -> anyhow::Result<Measured> {
    let list = |name: &str| value[name].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Measured {
        planned: field(value, "planned")?,
        sums: sums(value)?,
        timings: timings(&value["histograms"])?,
        by_share: list("by_share").iter().map(part).collect::<Result<_, _>>()?,
        by_tenant: list("by_tenant").iter().map(part).collect::<Result<_, _>>()?,
        statuses: field(value, "statuses")?,
        seconds: list("seconds").iter().map(second).collect::<Result<_, _>>()?,
        failures: field(value, "failures")?,
        health: value["health"]["threads"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(health)
            .collect::<Result<_, _>>()?,
        elapsed: time(value, "elapsed_s", 1.0)?,
        measured: time(value, "measured_s", 1.0)?,
        stopped: field(value, "stopped")?,
    })
}

fn sums(value: &Value) -> anyhow::Result<Sums> {
    use serde::Deserialize as _;
    Sums::deserialize(value).context("its sums are wrong; was it edited?")
}

fn histogram(value: &Value, name: &str) -> anyhow::Result<Histogram<u64>> {
    decode(value[name].as_str().unwrap_or_default()).with_context(|| format!("its histogram {name} is wrong"))
}

fn timings(value: &Value) -> anyhow::Result<Timings> {
    let mut timings = Timings::default();
    for (name, place) in Timings::NAMES.iter().zip(timings.all_mut()) {
        *place = histogram(value, name)?;
    }
    Ok(timings)
}

fn part(value: &Value) -> anyhow::Result<(Sums, Timings)> {
    Ok((sums(value)?, timings(&value["histograms"])?))
}

fn health(value: &Value) -> anyhow::Result<Health> {
    let histograms = &value["histograms"];
    Ok(Health {
        late: histogram(histograms, "late")?,
        turn: histogram(histograms, "turn")?,
        cpu: time(value, "cpu", 1e6)?,
        queued: field(value, "queued")?,
        unsent: field(value, "unsent")?,
    })
}

fn second(value: &Value) -> anyhow::Result<Second> {
    let packed = |name: &str| histogram(&value["histograms"], name).map(|whole| Sparse::of(&whole));
    let watched = match &value["watched"] {
        Value::Null => None,
        watched => Some((time(watched, "cpu", 1e6)?, field(watched, "rss")?)),
    };
    Ok(Second {
        second: field(value, "second")?,
        span: field(value, "span_s")?,
        warm_up: field(value, "warm_up")?,
        sums: sums(value)?,
        ttft: packed("ttft")?,
        e2e: packed("e2e")?,
        gap: packed("event_gap")?,
        send_delay: packed("send_delay")?,
        late: packed("late")?,
        in_flight: field(value, "in_flight")?,
        cpu: time(value, "cpu", 1e6)?,
        watched,
    })
}
