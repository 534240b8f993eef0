//! What the simulated provider's clock says of each request: from a simulator in this process, or page by page from another one.

use super::link::Place;
use crate::Simulator;
use crate::simulator::{STAMPS_PATH, Stamp};
use crate::wire::{Body, Framing, Head};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// Where stamps come from.
pub enum Provider<'a> {
    /// A simulator of our own.
    Here(&'a Simulator),
    /// An `igris-load mock` on this machine, asked over HTTP.
    There(Place),
}

/// Stamps by the numbers of their requests.
pub type Stamps = HashMap<u64, Stamp>;

impl Provider<'_> {
    /// How many stamps there have been so far; what comes later begins there.
    ///
    /// # Errors
    /// The other simulator does not answer, or is none.
    pub fn position(&self) -> anyhow::Result<u64> {
        match self {
            Self::Here(simulator) => Ok(simulator.stamps(u64::MAX).1),
            Self::There(place) => Ok(page(place, u64::MAX)?.1),
        }
    }

    /// All stamps from a position on.
    ///
    /// # Errors
    /// As for [`Provider::position`].
    pub fn since(&self, position: u64) -> anyhow::Result<Stamps> {
        // An answer is stamped before its last byte leaves and kept right after: what the client has, is here a moment later.
        std::thread::sleep(Duration::from_millis(50));
        let mut found = Stamps::new();
        match self {
            Self::Here(simulator) => found.extend(simulator.stamps(position).0.into_iter().map(|one| (one.id, one))),
            Self::There(place) => {
                let mut position = position;
                loop {
                    let (stamps, next) = page(place, position)?;
                    if stamps.is_empty() {
                        break;
                    }
                    found.extend(stamps.into_iter().map(|one| (one.id, one)));
                    position = next;
                }
            }
        }
        Ok(found)
    }
}

/// One page of stamps and the number after its last.
fn page(place: &Place, since: u64) -> anyhow::Result<(Vec<Stamp>, u64)> {
    let body = fetch(place, &format!("{STAMPS_PATH}?since={since}"))?;
    let page: Value = serde_json::from_slice(&body).context("the provider's stamps are no JSON")?;
    ensure!(page["clock"] == "CLOCK_MONOTONIC", "the provider keeps no stamps; start it with igris-load mock");
    let next = page["next"].as_u64().context("the provider's stamps have no position")?;
    let rows = page["stamps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let stamp = |row: &Value| {
        let number = |at: usize| row.get(at).and_then(Value::as_u64);
        Some(Stamp { id: number(0)?, received: number(1)?, first: number(2)?, last: number(3)? })
    };
    let stamps: Option<Vec<Stamp>> = rows.iter().map(stamp).collect();
    Ok((stamps.context("a stamp of the provider is not four numbers")?, next))
}

/// The body of a GET that must answer 200.
fn fetch(place: &Place, target: &str) -> anyhow::Result<Vec<u8>> {
    let mut pipe = place.connect(PATIENCE)?;
    write!(pipe, "GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", place.host())?;
    pipe.flush()?;
    let mut input = Vec::new();
    let mut room = [0; 16 * 1024];
    let mut body: Option<Body> = None;
    let mut content = Vec::new();
    loop {
        let count = pipe.read(&mut room)?;
        ensure!(count > 0, "the provider closed before its stamps had come");
        input.extend_from_slice(&room[..count]);
        if body.is_none() {
            let Some((framing, used)) = framing(&input)? else { continue };
            input.drain(..used);
            body = Some(Body::new(framing));
        }
        let Some(body) = &mut body else { continue };
        let used = body.push(&input, |bytes| content.extend_from_slice(bytes));
        input.drain(..used.map_err(|wrong| anyhow::anyhow!("no HTTP answer: {}", wrong.0))?);
        if body.is_ended() {
            return Ok(content);
        }
    }
}

/// How the body of an answer with status 200 ends, and where it begins; `None` while the head is not whole.
fn framing(input: &[u8]) -> anyhow::Result<Option<(Framing, usize)>> {
    let parsed = Head::parse(input).map_err(|wrong| anyhow::anyhow!("no HTTP answer: {}", wrong.0))?;
    let Some((head, used)) = parsed else { return Ok(None) };
    ensure!(head.status == 200, "no stamps there (status {}); start it with igris-load mock", head.status);
    Ok(Some((head.framing, used)))
}

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(10);
