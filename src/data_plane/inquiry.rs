//! A request, read and understood: what every attempt of an exchange is made from.

use super::ask::Ask;
use super::draft;
use super::exchange::Received;
use super::surface::Task;
use super::upload::Upload;
use crate::chat::request;
use crate::http::head::{KnownField, Method, RequestHead};
use crate::limits;
use crate::snapshot::AccessKey;
use std::cell::{Cell, OnceCell, RefCell};

/// A request, read and understood.
pub struct Inquiry<'a> {
    /// Who asks.
    pub key: &'a AccessKey,
    /// For what.
    pub ask: &'a Ask,
    /// The request's head.
    pub head: &'a RequestHead,
    /// Its bytes.
    pub received: &'a Received,
    /// Digest of the beginning that a provider's cache would keep; `None` where it is too short, or nobody looked.
    pub prefix: Option<u64>,
    /// The request in the inner language, read when the first candidate of another dialect needs it.
    inner: OnceCell<Box<Result<request::Request, request::Refusal>>>,
    /// The rest of a body that is longer than what is kept; taken by the one attempt that can send it.
    pub(super) upload: RefCell<Option<Box<Upload>>>,
    /// Bytes of that rest, if the client said how many.
    rest: Option<Rest>,
    /// Whether bytes of the body are still on the wire.
    pub(super) unread: Cell<bool>,
}

/// How much of a body is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// So many bytes.
    Length(u64),
    /// Until its last chunk.
    Chunked,
}

/// Whether a body is sent once only: it is longer than what is kept for another attempt, or its end is still to come (rule Q6).
pub fn is_sent_once(body: &[u8], streams: bool) -> bool {
    streams || body.len() > limits::REPLAY_BYTES_MAX
}

impl<'a> Inquiry<'a> {
    /// An inquiry whose body has not been read into the inner language.
    pub fn new(key: &'a AccessKey, ask: &'a Ask, head: &'a RequestHead, received: &'a Received) -> Self {
        let (upload, unread) = (RefCell::new(None), Cell::new(false));
        Self { key, ask, head, received, prefix: None, inner: OnceCell::new(), upload, rest: None, unread }
    }

    /// The same with a rest that streams.
    pub fn with_upload(mut self, upload: Option<Upload>) -> Self {
        self.rest = upload.as_ref().map(|upload| upload.remaining().map_or(Rest::Chunked, Rest::Length));
        self.unread = Cell::new(upload.is_some());
        self.upload = RefCell::new(upload.map(Box::new));
        self
    }

    /// How much of the body is not in memory, if any is not.
    pub fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// Whether bytes of the body are still on the wire: then the connection is not at a message border.
    pub fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// The request's method towards the provider.
    pub fn method(&self) -> Method {
        match &self.ask.task {
            Task::Raw(call) | Task::Object(call) => call.method,
            Task::Realtime => Method::Get,
            _ => Method::Post,
        }
    }

    /// The client's body.
    pub fn body(&self) -> &'a [u8] {
        self.received.body()
    }

    /// What the body is, for the provider: JSON, unless it was not read as such.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        match self.ask.object {
            Some(_) => Some(b"application/json"),
            None => self.head.find(self.received.head(), KnownField::ContentType),
        }
    }

    /// The request in the inner language.
    ///
    /// # Errors
    /// When it is malformed, or means something that the inner language has no word for.
    pub fn request(&self) -> Result<&request::Request, request::Refusal> {
        let read = self.inner.get_or_init(|| Box::new(draft::read_request(self)));
        Result::as_ref(read).map_err(Clone::clone)
    }
}
