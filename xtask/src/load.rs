//! A measured load: `igris-load run` from the loader's processor, and what its report says came back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::parties::{MODEL, Proxy, Side, pinned};
use crate::place::Place;
use crate::process;

/// How long a load may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    /// The build profile whose loader is run.
    pub(crate) profile: &'a str,
    /// The model that is asked for; the provider answers with the one it has.
    pub(crate) model: &'a str,
    /// The client's format.
    pub(crate) dialect: &'a str,
    /// Keep-alive connections, each with a request under way at all times.
    pub(crate) connections: u64,
    /// Requests in all.
    pub(crate) requests: u64,
    /// Streams instead of whole answers.
    pub(crate) stream: bool,
    /// Words of an answer, and so events of a stream.
    pub(crate) words: u64,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Returned {
    /// Whole good answers.
    pub(crate) answers: f64,
    /// Events of streams.
    pub(crate) events: f64,
    /// Seconds that it took.
    pub(crate) elapsed_s: f64,
}

impl<'a> Load<'a> {
    /// Whole answers of 64 words over 64 connections.
    pub(crate) fn usual(profile: &'a str) -> Load<'a> {
        Load { profile, model: MODEL, dialect: "openai", connections: 64, requests: 20_000, stream: false, words: 64 }
    }

    /// Sends it through a proxy; every byte of every answer is checked where the client speaks the provider's format.
    ///
    /// # Errors
    /// The loader fails, or one answer is not what the provider sent.
    pub(crate) fn send(&self, place: &Place, folder: &Path, proxy: &mut Proxy) -> Result<Returned> {
        let report = folder.join("load.json");
        fs::remove_file(&report).ok();
        let mut command = Command::new(place.built(self.profile, "igris-load"));
        let url = format!("http://127.0.0.1:{}/v1", proxy.port);
        command.args(["run", "--url", &url, "--model", self.model, "--key", proxy.key, "--dialect", self.dialect]);
        command.args(["--connections", &self.connections.to_string(), "--requests", &self.requests.to_string()]);
        command.args(["--tokens", &self.words.to_string(), "--json"]).arg(&report);
        if self.stream {
            command.arg("--stream");
        }
        if self.dialect == "openai" {
            command.arg("--verify");
            if self.model != MODEL {
                command.args(["--verify-model", MODEL]);
            }
        }
        let ran = process::run_still(&mut pinned(command, Side::Load), LIMIT)?;
        ensure!(ran.ok, "the load on {} failed:\n{}", proxy.name, ran.output);
        ensure!(proxy.process.alive(), "{} ended during the load:\n{}", proxy.name, proxy.process.output());
        let text = fs::read_to_string(&report).context("the loader left no report")?;
        returned(&text).context("the loader's report has another form")
    }
}

fn returned(report: &str) -> Option<Returned> {
    let report: Value = serde_json::from_str(report).ok()?;
    let events = report.get("events").and_then(Value::as_f64).unwrap_or_default();
    let answers = report.get("outcomes")?.get("ok")?.as_f64()?;
    Some(Returned { answers, events, elapsed_s: report.get("elapsed_s")?.as_f64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = r#"{"elapsed_s": 2.5, "outcomes": {"ok": 20, "status_5xx": 1}, "events": 4000}"#;
        assert_eq!(returned(text), Some(Returned { answers: 20.0, events: 4_000.0, elapsed_s: 2.5 }));
        assert_eq!(returned("{}"), None);
    }
}
