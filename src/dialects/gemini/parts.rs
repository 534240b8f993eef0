//! Parts as this format writes them, in requests and answers alike.
//!
//! Input of tools goes out as the text it came in: nothing is parsed into a tree and printed again, so numbers keep
//! their digits.

use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One part of a content. One of its members is set, beside `thought` and the signature.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_data: Option<FileData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<Cow<'a, str>>,
}

/// Bytes in the request or answer itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob<'a> {
    pub mime_type: &'a str,
    pub data: Cow<'a, str>,
}

/// Bytes elsewhere.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<&'a str>,
    pub file_uri: &'a str,
}

/// A call of a tool.
#[derive(Debug, Serialize)]
pub(super) struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    pub name: &'a str,
    pub args: Args<'a>,
}

/// What a tool gave back.
#[derive(Debug, Serialize)]
pub(super) struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    pub name: &'a str,
    pub response: Args<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part<'a>>,
}

/// A JSON object: as it came, or one member with a text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Args<'a> {
    /// The text of an object.
    Raw(Cow<'a, RawValue>),
    /// `{"input": "…"}` and its like.
    Wrapped(std::collections::BTreeMap<&'static str, Cow<'a, str>>),
}

impl<'a> Args<'a> {
    /// The object that the text is, if it is one. An empty text is an empty object.
    pub(super) fn object(text: &'a str) -> Option<Self> {
        if text.trim().is_empty() {
            return Some(Self::Wrapped(std::collections::BTreeMap::new()));
        }
        let raw = serde_json::from_str::<&RawValue>(text).ok()?;
        raw.get().starts_with('{').then_some(Self::Raw(Cow::Borrowed(raw)))
    }

    /// An object with one member.
    pub(super) fn wrapped(name: &'static str, text: impl Into<Cow<'a, str>>) -> Self {
        Self::Wrapped(std::collections::BTreeMap::from([(name, text.into())]))
    }
}

impl<'a> Part<'a> {
    /// Words.
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// Bytes of a kind.
    pub(super) fn inline(mime_type: &'a str, data: impl Into<Cow<'a, str>>) -> Self {
        Self { inline_data: Some(Blob { mime_type, data: data.into() }), ..Self::default() }
    }
}
