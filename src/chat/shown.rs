//! A failure ready to be shown to a client: what each dialect's error body is written from.

/// The parts of an error body. Texts have passed the scrubber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// HTTP status of the answer; in a stream that began with 200, the status it would have had.
    pub status: u16,
    /// The stable code (`rate_limit_exceeded`).
    pub code: &'a str,
    /// OpenAI's `type` (`invalid_request_error`).
    pub kind: &'a str,
    /// One sentence with its remedy.
    pub message: &'a str,
    /// The member of the request to blame.
    pub param: Option<&'a str>,
    /// The exchange's id.
    pub request_id: &'a str,
}
