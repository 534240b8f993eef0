//! Calls that are carried to one provider as they are: multipart forms, stored objects, and a provider's own API.
//!
//! Authenticated like any other; the credential goes in, the client's own does not go on. The body may stream (see `upload`). What a passthrough
//! says is its own; stored objects keep to the provider that made them by the mark in their ids (see `object_ids`).

use super::account;
use super::ask::{Ask, named};
use super::downstream::Downstream;
use super::exchange::{Exchange, Next, Received};
use super::explain;
use super::failover;
use super::fairness::Seat;
use super::fault::Fault;
use super::inquiry::{Inquiry, is_sent_once};
use super::object_ids;
use super::realtime;
use super::surface::{Asked, RawCall, Task};
use super::timing::Lap;
use super::upload::{self, model_of_form};
use crate::domain::id::TenantId;
use crate::http::head::{KnownField, RequestHead};
use crate::rt;

/// Whether a body is a multipart form, for a task that takes one; elsewhere it is broken JSON and is told so.
pub fn is_form(task: &Task, head: &RequestHead, bytes: &[u8]) -> bool {
    if !matches!(task, Task::Images(_) | Task::Audio(_)) {
        return false;
    }
    const FORM: &[u8] = b"multipart/form-data";
    let content_type = head.find(bytes, KnownField::ContentType).unwrap_or_default();
    content_type.get(..FORM.len()).is_some_and(|media| media.eq_ignore_ascii_case(FORM))
}

/// Serves such a call, phase by phase.
pub async fn run(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    head_bytes: usize,
    mut asked: Asked,
) -> Next {
    if let Err(reason) = exchange.core.admit() {
        return exchange.shed(down, reason).await;
    }
    let snapshot = exchange.snapshot.clone();
    let key = match exchange.authenticate_task(&snapshot, head, down.input().bytes(), &asked.task) {
        Ok(key) => key,
        Err(fault) => return exchange.refuse_unread(down, head, head_bytes, &fault).await,
    };
    exchange.clock.mark(Lap::Auth, rt::now());
    if let Err(fault) = exchange.enter(key, &asked.task)
        && let Err(fault) = exchange.enter_later(key, &asked.task, fault).await
    {
        return exchange.refuse_unread(down, head, head_bytes, &fault).await;
    }
    let _seat = match Seat::take(exchange.core, &key.tenant) {
        Ok(seat) => seat,
        Err(reason) => return exchange.shed(down, reason).await,
    };
    let (received, upload) = match upload::begin(exchange, down, head, head_bytes).await {
        Ok(begun) => begun,
        Err(trouble) => return exchange.refuse_trouble(down, trouble).await,
    };
    exchange.clock.mark(Lap::Read, rt::coarse_now());
    let unread = upload.is_some();
    let ask = match understand(exchange, &key.tenant, &mut asked, head, &received) {
        Ok(ask) => Ask { once: is_sent_once(received.body(), unread), ..ask },
        Err(fault) => return exchange.refuse(down, &fault, unread).await,
    };
    exchange.clock.mark(Lap::Parse, rt::now());
    let mut plan = match super::plan::plan(exchange.core, &exchange.snapshot, key, &ask, received.body()) {
        Ok(plan) => plan,
        Err(fault) => return exchange.refuse(down, &fault, unread).await,
    };
    exchange.clock.mark(Lap::Plan, rt::now());
    if let Err(fault) = exchange.reserve_for(&ask, &plan)
        && let Err(fault) = exchange.reserve_later(&ask, &plan, fault).await
    {
        return exchange.refuse(down, &fault, unread).await;
    }
    let inquiry = Inquiry::new(key, &ask, head, &received).with_upload(upload);
    let next = match failover::run(exchange, down, &inquiry, &plan).await {
        Ok(next) => next,
        Err(fault) => exchange.refuse(down, &fault, inquiry.is_unread()).await,
    };
    explain::record(exchange, down, &inquiry, &mut plan);
    next
}

/// What the call asks for: the model of a form, the provider of an object or of the path.
fn understand(
    exchange: &Exchange<'_>,
    tenant: &TenantId,
    asked: &mut Asked,
    head: &RequestHead,
    received: &Received,
) -> Result<Ask, Fault> {
    let marked = match &mut asked.task {
        Task::Object(call) => marked_provider(exchange, tenant, call, received.body()),
        _ => None,
    };
    let form = head
        .find(received.head(), KnownField::ContentType)
        .filter(|_| !matches!(asked.task, Task::Raw(_) | Task::Object(_) | Task::Realtime))
        .and_then(|content_type| model_of_form(content_type, received.body()));
    let mut ask = Ask::of_other_body(form, head, received.head(), asked)?;
    match &asked.task {
        Task::Realtime => {
            realtime::check_handshake(head, received.head())?;
            let model = asked.model.as_deref().filter(|model| !model.is_empty());
            ask.model_name = model.map(named).ok_or_else(|| {
                Fault::invalid("The query names no model; connect to /v1/realtime?model=….", Some("model"))
            })?;
        }
        Task::Raw(RawCall { provider, .. }) => ask.provider = provider.clone(),
        Task::Object(_) => ask.provider = marked.or(ask.provider),
        Task::Images(_) => {}
        _ if ask.model_name.is_empty() => {
            return Err(Fault::invalid("The form has no field `model` before its file; name a model.", Some("model")));
        }
        _ => {}
    }
    Ok(ask)
}

/// The provider that the ids of an object call are marked with; the marks are taken out of its path and query.
fn marked_provider(exchange: &Exchange<'_>, tenant: &TenantId, call: &mut RawCall, body: &[u8]) -> Option<String> {
    let snapshot = &exchange.snapshot;
    let is_known = |name: &str| {
        let provider = snapshot.provider_named(name).and_then(|ix| snapshot.provider(ix));
        provider.is_some_and(|provider| account::is_visible(snapshot, tenant, provider))
    };
    let in_path = object_ids::unmark_path(&mut call.target, is_known);
    let in_query = object_ids::unmark_query(&mut call.target, is_known);
    in_path.or(in_query).or_else(|| object_ids::provider_in_body(body, is_known))
}
