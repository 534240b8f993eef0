//! The request a provider gets: our head before the drafted body.
//!
//! The head is an allow-list written from values (rules H1, H11): what the provider's API needs, what we make, and trace context. How a
//! credential is shown is the row's business; where it signs the request, the signature covers exactly the bytes that are sent.

use super::draft::{Carriage, Draft, is_openai_shaped};
use super::inquiry::{Inquiry, Rest};
use super::plan::Target;
use super::realtime;
use super::surface::{Delivery, RawCall, Task};
use crate::dialects::Wire;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{self, RequestId};
use crate::domain::trace::TRACEPARENT_BYTES;
use crate::http::head::{KnownField, Method};
use crate::http::write::{CHUNK_END, Opening, RequestWriter, WriteFault};
use crate::providers::endpoint::{self, Operation};
use crate::providers::{Dialect, signing};
use crate::snapshot::{Credential, Provider};
use zeroize::Zeroize;

/// Fields of the client's head that go on to the provider.
const PASSED_ON: [(KnownField, &str); 2] =
    [(KnownField::Traceparent, "traceparent"), (KnownField::Tracestate, "tracestate")];
/// Further ones where the client speaks Anthropic's dialect to Anthropic.
const PASSED_ON_TO_ANTHROPIC: [(KnownField, &str); 2] =
    [(KnownField::AnthropicVersion, "anthropic-version"), (KnownField::AnthropicBeta, "anthropic-beta")];
/// The version in which this gateway writes Messages itself: it still takes sampling parameters where the model does.
const ANTHROPIC_VERSION: &[u8] = b"2023-06-01";
/// Where OpenAI's clients name the beta features that they use.
const OPENAI_BETA: &str = "openai-beta";
/// Bytes of a head beside what is counted one by one: its fixed fields take some 400.
const HEAD_BYTES_ROOM: usize = 640;

/// One request to one provider.
pub struct Outbound<'a> {
    /// Who gets it.
    pub provider: &'a Provider,
    /// The key to show.
    pub credential: Option<&'a Credential>,
    /// The model there.
    pub target: &'a Target,
    /// What the client asks for, and its bytes.
    pub inquiry: &'a Inquiry<'a>,
    /// The body.
    pub draft: &'a Draft,
    /// The exchange, told to the provider as `x-request-id`.
    pub request: RequestId,
    /// The `traceparent` with our own span, where spans are made here.
    pub traceparent: Option<[u8; TRACEPARENT_BYTES]>,
}

/// A request ready to be written.
pub struct Addressed<'a> {
    outbound: &'a Outbound<'a>,
    beginning: Beginning<'a>,
    /// What shows the credential, where the row's own field does not.
    signature: Vec<signing::HeaderLine>,
}

/// The lines before a credential.
enum Beginning<'a> {
    /// Those that stand in every request to this provider's chat.
    Standing(&'a Opening),
    /// Those of a request to this target.
    At(String),
}

/// The request cannot be addressed: the configuration lacks what its path or its signature needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaddressed;

impl<'a> Outbound<'a> {
    /// Fixes the path and, where the provider wants one, the signature.
    ///
    /// # Errors
    /// [`Unaddressed`]: no project, no region, or a credential that cannot sign.
    pub fn address(&'a self) -> Result<Addressed<'a>, Unaddressed> {
        if let Some(opening) = &self.provider.head.chat
            && self.draft.wire == Wire::Chat
            && matches!(self.inquiry.ask.task, Task::Generate)
            && self.inquiry.method() == Method::Post
        {
            return Ok(Addressed { outbound: self, beginning: Beginning::Standing(opening), signature: Vec::new() });
        }
        self.address_own()
    }

    /// Fixes the path of a request that has no standing one.
    #[inline(never)]
    fn address_own(&'a self) -> Result<Addressed<'a>, Unaddressed> {
        let mut target = String::with_capacity(64);
        target.push_str(&self.provider.base_path);
        match &self.inquiry.ask.task {
            Task::Raw(call) => target.push_str(&call.target),
            Task::Object(call) => self.object_target(call, &mut target)?,
            Task::Realtime => self.realtime_target(&mut target)?,
            task => self.task_target(task, &mut target)?,
        }
        if target.is_empty() || target.starts_with('?') {
            target.insert(0, '/');
        }
        let signature = match (self.provider.spec.dialect, self.credential) {
            (Dialect::Bedrock, Some(credential)) => self.sign(credential, &target)?,
            _ => Vec::new(),
        };
        Ok(Addressed { outbound: self, beginning: Beginning::At(target), signature })
    }

    fn task_target(&self, task: &Task, target: &mut String) -> Result<(), Unaddressed> {
        let Draft { wire, carriage, .. } = *self.draft;
        let stream = self.inquiry.ask.delivery != Delivery::Whole;
        let operation = operation(task).ok_or(Unaddressed)?;
        let written = endpoint::target(&self.provider.spec, wire, operation, &self.target.model, stream, target);
        written.map_err(|_| Unaddressed)?;
        // The newer SDKs mark calls with beta features so; what Anthropic's own client says goes on to Anthropic.
        let query = self.inquiry.head.query(self.inquiry.received.head());
        if (wire, carriage, query) == (Wire::Messages, Carriage::Pass, Some("beta=true")) {
            target.push_str("?beta=true");
        }
        Ok(())
    }

    /// Files and batches stand at another path in Anthropic's API.
    fn object_target(&self, call: &RawCall, target: &mut String) -> Result<(), Unaddressed> {
        let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
        let operation = match (path.strip_prefix("/files"), path.strip_prefix("/batches")) {
            (Some(rest), _) => Operation::Files(rest.trim_start_matches('/')),
            (_, Some(rest)) => Operation::Batches(rest.trim_start_matches('/')),
            _ => return Err(Unaddressed),
        };
        let written = endpoint::target(&self.provider.spec, self.draft.wire, operation, "", false, target);
        written.map_err(|_| Unaddressed)?;
        if !query.is_empty() {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        Ok(())
    }

    /// The model stands in the query (<https://platform.openai.com/docs/guides/realtime-websocket>, read 2026-11-23).
    fn realtime_target(&self, target: &mut String) -> Result<(), Unaddressed> {
        let operation = Operation::Realtime;
        let spec = &self.provider.spec;
        endpoint::target(spec, self.draft.wire, operation, &self.target.model, true, target).map_err(|_| Unaddressed)
    }

    /// A signature covers a whole body, and we sign POSTs: a stream that is still to come, or another method, can show a bearer key alone.
    fn sign(&self, credential: &Credential, target: &str) -> Result<Vec<signing::HeaderLine>, Unaddressed> {
        let keys = signing::AwsCredential::parse(credential.secret.expose()).map_err(|_| Unaddressed)?;
        let is_whole_post = self.inquiry.rest().is_none() && self.inquiry.method() == Method::Post;
        if !is_whole_post && !matches!(keys, signing::AwsCredential::Bearer(_)) {
            return Err(Unaddressed);
        }
        let mut body = Vec::with_capacity(self.draft.body_len(self.inquiry.body()));
        self.draft.write_body(self.inquiry.body(), &mut body);
        let host = &self.provider.origin.authority;
        let region = self.provider.spec.platform.region.as_deref().or_else(|| signing::region_of(host));
        signing::sign(keys, region, host, target, &body, UnixMillis::now()).map_err(|_| Unaddressed)
    }

    fn accept(&self) -> &'static str {
        match (self.inquiry.ask.stream, self.draft.wire, &self.inquiry.ask.task) {
            (_, _, Task::Audio(_) | Task::Object(_) | Task::Raw(_)) => "accept: */*\r\n",
            (true, Wire::Converse, _) => "accept: application/vnd.amazon.eventstream\r\n",
            (true, ..) => "accept: text/event-stream\r\n",
            (false, ..) => "accept: application/json\r\n",
        }
    }

    fn passed_on(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let (head, bytes) = (self.inquiry.head, self.inquiry.received.head());
        let to_anthropic = self.speaks_anthropic() && self.draft.carriage == Carriage::Pass;
        let more = if to_anthropic { PASSED_ON_TO_ANTHROPIC.as_slice() } else { &[] };
        let known = PASSED_ON.iter().chain(more);
        let own = self.traceparent.as_ref().map(|field| ("traceparent", field.as_slice()));
        let passes = move |known: &KnownField| *known != KnownField::Traceparent || self.traceparent.is_none();
        let known = known.filter(move |(known, _)| passes(known));
        let known = known.filter_map(move |(known, name)| head.find(bytes, *known).map(|value| (*name, value)));
        let known = own.into_iter().chain(known);
        let beta = Some(OPENAI_BETA).filter(|_| self.speaks_own_openai());
        known.chain(beta.and_then(|name| {
            head.fields(bytes).find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| (name, field.value))
        }))
    }

    /// What tells a provider that two attempts are one request (rule Q5): the same on every attempt of an exchange for one model there,
    /// since another model makes another body.
    fn idempotency(&self) -> Option<(&'static str, [u8; MODEL_MARK_BYTES])> {
        let name = self.provider.spec.quirks.idempotency_field.filter(|_| self.inquiry.method() == Method::Post)?;
        Some((name, model_mark(&self.target.model)))
    }

    /// Whether a client of OpenAI's own API, beside the model calls, speaks to a provider of that shape: some of it answers to its beta name alone.
    fn speaks_own_openai(&self) -> bool {
        let carried = matches!(self.inquiry.ask.task, Task::Raw(_) | Task::Object(_) | Task::Realtime);
        carried && is_openai_shaped(&self.provider.spec)
    }

    fn speaks_anthropic(&self) -> bool {
        let carried = matches!(self.inquiry.ask.task, Task::Raw(_) | Task::Object(_));
        self.provider.spec.dialect == Dialect::Anthropic && (carried || self.draft.wire == Wire::Messages)
    }
}

const MODEL_MARK_BYTES: usize = 16;

/// Sixteen digits that tell the models of one exchange apart (64-bit FNV-1a). Nobody outside chooses among enough of them to make two alike.
fn model_mark(model: &str) -> [u8; MODEL_MARK_BYTES] {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut rest = model.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let mut mark = [b'0'; MODEL_MARK_BYTES];
    for digit in mark.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((rest & 15) as usize).copied().unwrap_or(b'0');
        rest >>= 4;
    }
    mark
}

/// The provider's operation for a task; none for calls that bring their own path.
fn operation(task: &Task) -> Option<Operation<'static>> {
    Some(match task {
        Task::Generate => Operation::Generate,
        Task::CountTokens => Operation::CountTokens,
        Task::Completions => Operation::Completions,
        Task::Embeddings => Operation::Embeddings,
        Task::EmbedContent(method) => Operation::EmbedContent(method),
        Task::Moderations => Operation::Moderations,
        Task::Images(what) => Operation::Images(what),
        Task::Audio(what) => Operation::Audio(what),
        Task::Rerank => Operation::Rerank,
        Task::Object(_) | Task::Raw(_) | Task::Realtime => return None,
    })
}

impl Addressed<'_> {
    /// Bytes that [`Addressed::write`] takes at most.
    pub fn size_hint(&self) -> usize {
        let Outbound { provider, credential, inquiry, draft, .. } = self.outbound;
        let secret = credential.map_or(0, |credential| credential.secret.len());
        let signed: usize = self.signature.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let standing = provider.head.lines.len();
        let passed: usize = self.outbound.passed_on().map(|(name, value)| name.len() + value.len() + 4).sum();
        let content_type = inquiry.content_type().map_or(0, <[u8]>::len);
        let place = match &self.beginning {
            Beginning::Standing(opening) => opening.len() + content_type,
            Beginning::At(target) => target.len() + provider.origin.authority.len() + content_type,
        };
        HEAD_BYTES_ROOM + place + secret + signed + standing + passed + draft.body_len(inquiry.body())
    }

    /// Writes head and body. A value that cannot stand in a head is left out with all that follows: configured values were checked when they
    /// were read, and the client's were checked by the parser.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.try_write(out).is_err() {
            // The credential may stand in it already (rule V12).
            out.get_mut(start..).unwrap_or_default().zeroize();
            out.truncate(start);
        }
    }

    fn try_write(&self, out: &mut Vec<u8>) -> Result<(), WriteFault> {
        let Outbound { provider, credential, inquiry, draft, request, .. } = self.outbound;
        let (spec, body) = (&provider.spec, inquiry.body());
        let mut head = match &self.beginning {
            Beginning::Standing(opening) => RequestWriter::opened(out, opening),
            Beginning::At(target) => {
                let head = RequestWriter::new(out, inquiry.method(), target)?;
                head.own_field("host", &[provider.origin.authority.as_bytes()])?
            }
        };
        match credential {
            Some(_) if !self.signature.is_empty() => {
                for (name, value) in &self.signature {
                    head = head.field(name, value.as_bytes())?;
                }
            }
            Some(credential) => {
                let auth = spec.auth_for(credential.secret.expose());
                let parts = [auth.prefix().as_bytes(), credential.secret.expose()];
                head = head.own_field(auth.field(), &parts)?;
            }
            None => {}
        }
        if inquiry.ask.task == Task::Realtime {
            for (name, value) in self.outbound.passed_on() {
                head = head.field(name, value)?;
            }
            return realtime::write_handshake(head, inquiry, *request);
        }
        head = match inquiry.content_type() {
            Some(b"application/json") => head.own_line("content-type: application/json\r\n"),
            Some(content_type) => head.own_field("content-type", &[content_type])?,
            None => head,
        };
        let text = id::encode(request.bits());
        let (mark, id) = (RequestId::PREFIX.as_bytes(), text.as_slice());
        head = head.own_line(self.outbound.accept()).own_value("x-request-id", &[mark, id]);
        if let Some((name, model)) = self.outbound.idempotency() {
            head = head.own_value(name, &[mark, id, b"-", &model]);
        }
        if let Beginning::At(_) = self.beginning {
            head = head.lines(&provider.head.lines);
        }
        let mut versioned = false;
        for (name, value) in self.outbound.passed_on() {
            versioned |= name == "anthropic-version";
            head = head.own_field(name, &[value])?;
        }
        if self.outbound.speaks_anthropic() && !versioned {
            head = head.field("anthropic-version", ANTHROPIC_VERSION)?;
        }
        let length = draft.body_len(body);
        match inquiry.rest() {
            None if length == 0 && inquiry.method() != Method::Post => head.end_unframed(),
            None => head.end_with_length(length as u64),
            Some(Rest::Length(rest)) => head.end_with_length(length as u64 + rest),
            Some(Rest::Chunked) => {
                head.end_chunked();
                out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                draft.write_body(body, out);
                out.extend_from_slice(CHUNK_END);
                return Ok(());
            }
        }
        draft.write_body(body, out);
        Ok(())
    }
}
