//! The ledger over HTTP: how it is, what each tenant came to, and every attempt as a file. Reading happens on threads of its own, over
//! files and a connection that nobody else uses: neither the control plane nor a core waits.

use super::answer::{Outcome, Refusal, fine};
use super::query::{Asked, is_name};
use super::{Shared, locked};
use crate::config::unit;
use crate::control_plane::{LedgerView, Wanted};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::export::{Export, Format, Row};
use crate::limits::books::{EXPORT_PIECE_BYTES, EXPORT_PIECES_WAITING_MAX, EXPORTS_MAX};
use crate::report::AttemptReport;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Frame;
use serde_json::json;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{Semaphore, mpsc};

/// How many may be written at a time: each holds some memory and reads much of the disk.
static EXPORTS: Semaphore = Semaphore::const_new(EXPORTS_MAX);

/// The routes, which only look.
pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/ledger", get(show)).route("/ledger/export", get(export))
}

/// The journal's state, and what each tenant came to by the sums of all time.
async fn show(State(control): State<Shared>) -> Outcome {
    let (mut status, view) = {
        let control = locked(&control);
        (control.ledger_status(), control.ledger_view()?)
    };
    if let Some(view) = view {
        let tenants = tokio::task::spawn_blocking(move || view.tenants()).await.map_err(|_| broke_off())??;
        let rows = tenants.into_iter().map(|(tenant, sums)| json!({ "tenant": tenant.as_str(), "sums": sums }));
        status["tenants"] = rows.collect();
    }
    fine(&status)
}

/// `?format=csv|jsonl|parquet&from=&to=&tenant=`: one row for each attempt.
async fn export(State(control): State<Shared>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let format = asked.take("format").as_deref().map_or(Some(Format::Csv), Format::parse);
    let format = format.ok_or_else(|| Refusal::member("format", "`format` must be csv, jsonl or parquet."))?;
    let (from, to, tenant) = (instant(&mut asked, "from")?, instant(&mut asked, "to")?, asked.take("tenant"));
    asked.end("`format`, `from`, `to` and `tenant`")?;
    if tenant.as_deref().is_some_and(|tenant| !is_name(tenant)) {
        return Err(Refusal::member("tenant", "`tenant` must be the id of a tenant; see GET /tenants."));
    }
    let wanted = Wanted { from, to, tenant: tenant.as_deref().map(TenantId::new) };
    let Some(view) = locked(&control).ledger_view()? else {
        return Err(Refusal::new(409, "conflict", "There is no journal: `durability` is \"none\" in [ledger]."));
    };
    let permit = EXPORTS.try_acquire().map_err(|_| {
        Refusal::new(503, "overloaded", format!("{EXPORTS_MAX} exports are being read; try again when one has ended."))
    })?;
    let (sender, pieces) = mpsc::channel(EXPORT_PIECES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let failed = sender.clone();
        if let Err(error) = write(&view, &wanted, format, Pipe { sender, piece: Vec::new() }) {
            // The body breaks off, so that nobody takes a part for the whole.
            let _ = failed.blocking_send(Err(error));
        }
    });
    let name = format!("attachment; filename=\"igris-ledger.{}\"", format.name());
    let fields = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((fields, Body::new(Pieces { pieces })).into_response())
}

fn write(view: &LedgerView, wanted: &Wanted, format: Format, to: Pipe) -> io::Result<()> {
    let reader = to.sender.clone();
    let mut export = Export::begin(format, to)?;
    let mut each = |lane: &str, record, report: &AttemptReport| {
        // Also where nothing is wanted of much that there is.
        if reader.is_closed() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        if wanted.covers(report) { export.row(&Row { report, lane, record }) } else { Ok(()) }
    };
    let scanned = view.each_close(&Wanted::default(), &mut each).map_err(io::Error::other)?;
    match scanned.faults.into_iter().next() {
        None => export.finish(),
        Some(fault) => Err(io::Error::other(fault)),
    }
}

fn instant(asked: &mut Asked, name: &str) -> Result<Option<UnixMillis>, Refusal> {
    let Some(text) = asked.take(name) else { return Ok(None) };
    let whole = if text.len() == "2026-11-01".len() { format!("{text}T00:00:00Z") } else { text };
    let refused =
        |_| Refusal::member(name, format!("`{name}` must be a day or an instant, as in 2026-11-01T08:00:00Z."));
    unit::instant(&whole).map(Some).map_err(refused)
}

fn broke_off() -> Refusal {
    Refusal::new(500, "internal_error", "Reading the books broke off; run igris ledger verify.")
}

/// Where an export is written to: pieces for the body, which wait for each other.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= EXPORT_PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        // Nobody there to take it any more.
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// The body of an export.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.get_mut().pieces.poll_recv(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }
}
