//! Requests for the control plane: authenticated here, answered there, over an internal Unix socket. The control plane is one more
//! upstream, and the data plane goes on without it.
//!
//! Who asks goes along in `x-igris-principal-…` fields that no client can set: a client's own fields are not forwarded at all.

use super::attempt::unless_gone;
use super::downstream::Downstream;
use super::exchange::{Exchange, Next, Received};
use super::fault::Fault;
use super::reply;
use crate::http::body::{BodyReader, Step};
use crate::http::head::{HeadLimits, KnownField, Progress, RequestHead, ResponseHead};
use crate::http::write::{RequestWriter, WriteFault};
use crate::limits;
use crate::rt::{self, Conn};
use crate::snapshot::AccessKey;
use std::io;
use std::time::Instant;

/// What the control plane answered.
struct Answer {
    status: u16,
    content_type: Vec<u8>,
    body: Vec<u8>,
}

/// Whether a path is the control plane's.
pub fn is_control(path: &str) -> bool {
    let stats = path.strip_prefix("/v1/providers/").is_some_and(|rest| rest.ends_with("/stats"));
    stats || ["/v1/tenants/", "/v1/admin/", "/v1/routing/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Forwards a request and relays the answer.
pub async fn run(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    key: &AccessKey,
    head: &RequestHead,
    received: &Received,
) -> Result<Next, Fault> {
    if received.body().len() > limits::ADMIN_BODY_BYTES_MAX {
        return Err(Fault::RequestTooLarge { max: limits::ADMIN_BODY_BYTES_MAX as u64 });
    }
    let socket = exchange.snapshot.settings.control_socket.clone();
    let deadline = Instant::now() + limits::CONTROL_DEADLINE;
    let work = rt::with_deadline(deadline, async {
        let mut conn = Conn::connect_unix(&socket).await?;
        conn.output().secret();
        conn.output().reserve(received.body().len() + received.head().len() + 1024);
        let written = write_request(conn.output().vec_mut(), key, head, received);
        written.map_err(|fault| io::Error::new(io::ErrorKind::InvalidInput, fault))?;
        conn.flush().await?;
        read_answer(&mut conn, head).await
    });
    let waiting = Instant::now();
    let outcome = unless_gone(down, work).await;
    exchange.waited += waiting.elapsed();
    match outcome {
        Err(_gone) => Ok(Next::Abort),
        Ok(Ok(Ok(answer))) => Ok(pass_on(exchange, down, &answer).await),
        Ok(_) => Err(Fault::ControlUnavailable),
    }
}

fn write_request(
    out: &mut Vec<u8>,
    key: &AccessKey,
    head: &RequestHead,
    received: &Received,
) -> Result<(), WriteFault> {
    let bytes = received.head();
    let mut target = head.path(bytes).to_owned();
    if let Some(query) = head.query(bytes) {
        target.push('?');
        target.push_str(query);
    }
    let scopes: Vec<&str> = key.scopes.names().collect();
    RequestWriter::new(out, head.method(), &target)?
        .field("host", b"control")?
        .field("x-igris-principal-tenant", key.tenant.as_str().as_bytes())?
        .field("x-igris-principal-key", key.id.to_string().as_bytes())?
        .field("x-igris-principal-scopes", scopes.join(",").as_bytes())?
        .field("content-type", head.find(bytes, KnownField::ContentType).unwrap_or(b"application/json"))?
        .field("connection", b"close")?
        .end_with_length(received.body().len() as u64);
    out.extend_from_slice(received.body());
    Ok(())
}

async fn read_answer(conn: &mut Conn, request: &RequestHead) -> io::Result<Answer> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = ResponseHead::default();
    let head_bytes = loop {
        if !conn.input().is_empty() {
            match head.parse(conn.input().bytes(), &HeadLimits::UPSTREAM).map_err(|_| broken())? {
                Progress::Complete { consumed } => break consumed,
                Progress::Partial => {}
            }
        }
        if conn.fill().await? == 0 {
            return Err(broken());
        }
    };
    let content_type = head.find(conn.input().bytes(), KnownField::ContentType).unwrap_or(b"application/json").to_vec();
    let mut reader = BodyReader::from(head.framing(request.method()));
    conn.input().consume(head_bytes);
    let mut body = Vec::new();
    while !reader.is_end() {
        let input = conn.input();
        let step = reader.feed(input.bytes()).map_err(|_| broken())?;
        if let Step::Data { data, .. } = &step {
            body.extend_from_slice(&input.bytes()[data.clone()]);
        }
        input.consume(step.consumed());
        let starved = matches!(step, Step::NeedMore { .. });
        if starved && conn.fill().await? == 0 {
            reader.close().map_err(|_| broken())?;
        }
    }
    Ok(Answer { status: head.status(), content_type, body })
}

async fn pass_on(exchange: &mut Exchange<'_>, down: &mut Downstream, answer: &Answer) -> Next {
    let mut out = Vec::with_capacity(answer.body.len() + 512);
    reply::begin_head(&mut out, answer.status, exchange.stamp());
    reply::field(&mut out, "content-type", &answer.content_type);
    reply::field(&mut out, "cache-control", b"no-store");
    if answer.status != 204 {
        reply::number_field(&mut out, "content-length", answer.body.len());
    }
    reply::end_head(&mut out);
    out.extend_from_slice(&answer.body);
    down.output().extend(&out);
    exchange.finish(down).await
}
