//! An error answer in its surface's own words and shape, before it has a connection.

use super::Site;
use super::surface::Surface;
use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

/// Where the id of the request goes in the body of an error.
pub(super) const REQUEST_ID: &str = "{request-id}";

/// An error answer in its surface's own shape.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) status: u16,
    /// A JSON text; see [`REQUEST_ID`].
    pub(super) body: String,
    /// Fields of the head that belong to this error, each a whole line without its end.
    pub(super) fields: Vec<String>,
}

impl Denial {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), fields: Vec::new() }
    }

    /// The body of this request's answer.
    pub(super) fn body_for(&self, surface: Surface, site: &Site, sequence: u64) -> Cow<'_, str> {
        if !self.body.contains(REQUEST_ID) {
            return Cow::Borrowed(&self.body);
        }
        Cow::Owned(self.body.replace(REQUEST_ID, &surface.request_id(site, sequence)))
    }

    /// The same with `retry-after` in whole seconds, if there is a wait.
    pub(super) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.fields.extend(wait.map(|wait| format!("retry-after: {}", wait.as_secs_f64().ceil())));
        self
    }

    pub(super) fn write_fields(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            let _ = write!(out, "{field}\r\n");
        }
    }
}
