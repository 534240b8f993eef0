//! What is told of an exchange that is over, whether anybody was asked for it or not: for traces and the access log.
//!
//! Filled only where somebody wants it. Names, ids and figures (rule R1): of the path its template, of the client's words the model's name
//! alone.

use super::AttemptReport;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, RequestId, TenantId};
use crate::domain::trace::Trace;
use crate::routing::policy::Policy;
use std::net::IpAddr;
use std::sync::Arc;

/// An exchange that is over.
#[derive(Clone, Debug)]
pub struct ExchangeReport {
    /// Its id.
    pub id: RequestId,
    /// Where it stands in its trace.
    pub trace: Trace,
    /// When its head was complete.
    pub began: UnixMillis,
    /// The client, as far as its proxies are believed.
    pub client: Option<IpAddr>,
    /// The request's method.
    pub method: &'static str,
    /// What was asked for.
    pub surface: Surface,
    /// Who asked; `None` where no known key was shown.
    pub asker: Option<Asker>,
    /// The model's name as asked for, bounded.
    pub model: Option<Arc<str>>,
    /// What ordered the candidates.
    pub policy: Option<Policy>,
    /// The status that the client got; 0 if it got none.
    pub status: u16,
    /// How it ended.
    pub finish: Finish,
    /// The code of the error that we answered.
    pub error: Option<Box<str>>,
    /// Attempts, in the order in which they ended.
    pub attempts: Vec<AttemptReport>,
    /// Times of it.
    pub times: Times,
    /// Bytes of the request, as far as they were kept.
    pub bytes_in: u64,
    /// Bytes of the answer, head included.
    pub bytes_out: u64,
}

/// Who asked.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The tenant.
    pub tenant: TenantId,
    /// With which access key.
    pub access_key: AccessKeyId,
}

/// Durations of an exchange, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// What was our own: neither waiting for a provider nor for the client.
    pub overhead_us: u32,
    /// To the first byte of the answer; 0 if there was none.
    pub first_byte_us: u32,
    /// In all.
    pub total_us: u32,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The client has its answer: a model's, a page, or an error that a provider gave.
    Completed,
    /// The client has an error of ours.
    Refused,
    /// The client was turned away for want of room.
    Shed,
    /// The answer broke off.
    Broken,
    /// The client went away first.
    ClientGone,
}

impl Finish {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Completed, Self::Refused, Self::Shed, Self::Broken, Self::ClientGone];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Shed => "shed",
            Self::Broken => "broken",
            Self::ClientGone => "client_gone",
        }
    }
}

/// Declares the surfaces with word and template, so that no list of them can lack one.
macro_rules! surfaces {
    ($($name:ident $word:literal $template:literal,)*) => {
        /// What a path is for, without a word that a client chose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Surface {
            $(#[doc = concat!("`", $template, "`")] $name,)*
        }

        impl Surface {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The path with names in place of what differs.
            pub const fn template(self) -> &'static str {
                match self { $(Self::$name => $template,)* }
            }
        }
    };
}

surfaces! {
    Chat "chat" "/v1/chat/completions",
    Responses "responses" "/v1/responses",
    Messages "messages" "/v1/messages",
    Gemini "gemini" "/v1beta/models/{model}:{operation}",
    CountTokens "count_tokens" "/v1/messages/count_tokens",
    Completions "completions" "/v1/completions",
    Embeddings "embeddings" "/v1/embeddings",
    Moderations "moderations" "/v1/moderations",
    Rerank "rerank" "/v1/rerank",
    Images "images" "/v1/images/{operation}",
    Audio "audio" "/v1/audio/{operation}",
    Files "files" "/v1/files/{file}",
    Batches "batches" "/v1/batches/{batch}",
    Realtime "realtime" "/v1/realtime",
    Passthrough "passthrough" "/v1/passthrough/{provider}/{path}",
    Preview "preview" "/v1/routing/preview",
    Pages "pages" "/{page}",
    Control "control" "/v1/{resource}",
    Unknown "unknown" "/{unknown}",
}

/// The classes of [`class`], by their place.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The place of a status in [`CLASSES`].
pub const fn class(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => class as usize,
        _ => 0,
    }
}
