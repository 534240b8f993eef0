//! Request targets and authorities: the three forms that a gateway accepts (RFC 9112 §3.2, rule H9).
//!
//! The path is taken literally: whatever another server could read differently (dot segments, encoded slashes, controls) is
//! refused instead of normalised, so that the path we route on is the path we send.

use super::{HeadFault, Method, Span};
use crate::http::syntax::hex_value;

/// Where the parts of a target lie, relative to the head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Target {
    pub authority: Option<Span>,
    /// `None` when an absolute target has no path.
    pub path: Option<Span>,
    pub query: Option<Span>,
}

impl Target {
    /// Reads `text`, which starts at offset `at` of the head.
    pub fn parse(text: &[u8], at: usize, method: Method) -> Result<Self, HeadFault> {
        // RFC 3986 §2: printable ASCII. No fragment: it never crosses the wire (RFC 9110 §7.1).
        if text.iter().any(|byte| !matches!(byte, 0x21..=0x7e) || *byte == b'#') {
            return Err(HeadFault::Target);
        }
        match text {
            b"*" if method == Method::Options => {
                Ok(Self { path: Some(Span::new(at, at.saturating_add(1))), ..Self::default() })
            }
            [b'/', ..] => Self::origin(text, at),
            _ => Self::absolute(text, at),
        }
    }

    /// A path of letters, digits and the marks that need no second look, and nothing behind it: what nearly all requests have.
    #[inline]
    pub fn plain(text: &[u8], at: usize) -> Option<Self> {
        let is_plain = |byte: &u8| PLAIN.get(usize::from(*byte)).is_some_and(|plain| *plain);
        let is_path = text.first() == Some(&b'/') && text.iter().all(is_plain);
        is_path.then(|| Self { path: Some(Span::new(at, at.saturating_add(text.len()))), ..Self::default() })
    }

    fn origin(text: &[u8], at: usize) -> Result<Self, HeadFault> {
        let (path, query) = split_query(text);
        check_path(path)?;
        let path_end = at.saturating_add(path.len());
        let query_start = path_end.saturating_add(1);
        Ok(Self {
            authority: None,
            path: (!path.is_empty()).then(|| Span::new(at, path_end)),
            query: query.map(|query| Span::new(query_start, query_start.saturating_add(query.len()))),
        })
    }

    fn absolute(text: &[u8], at: usize) -> Result<Self, HeadFault> {
        let scheme = ["http://", "https://"]
            .into_iter()
            .find(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme.as_bytes())))
            .ok_or(HeadFault::Target)?;
        let rest = text.get(scheme.len()..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(length).unwrap_or_default();
        if !is_authority(authority) {
            return Err(HeadFault::Target);
        }
        let start = at.saturating_add(scheme.len());
        let end = start.saturating_add(length);
        Ok(Self { authority: Some(Span::new(start, end)), ..Self::origin(tail, end)? })
    }
}

/// Path characters without the dot and the percent sign, which may make a path ambiguous.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // Evaluated by the compiler; a mistake is a build error.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        plain[byte] = c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_' | b':' | b'~' | b'@');
        byte += 1;
    }
    plain
};

fn split_query(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'?') {
        Some(mark) => (text.get(..mark).unwrap_or_default(), text.get(mark.saturating_add(1)..)),
        None => (text, None),
    }
}

/// Path characters of RFC 3986 §3.3, without the encodings and segments that readers disagree about.
fn check_path(path: &[u8]) -> Result<(), HeadFault> {
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'%' => {
                let [high, low, tail @ ..] = tail else { return Err(HeadFault::Target) };
                check_encoded(*high, *low)?;
                rest = tail;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {}
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' => {}
            b',' | b';' | b'=' | b':' | b'@' | b'/' => {}
            _ => return Err(HeadFault::Target),
        }
    }
    let dotted = path.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."));
    if dotted { Err(HeadFault::AmbiguousPath) } else { Ok(()) }
}

fn check_encoded(high: u8, low: u8) -> Result<(), HeadFault> {
    let (Some(high), Some(low)) = (hex_value(high), hex_value(low)) else { return Err(HeadFault::Target) };
    match high.wrapping_shl(4) | low {
        0..=0x1f | 0x7f | b'/' | b'\\' | b'.' => Err(HeadFault::AmbiguousPath),
        _ => Ok(()),
    }
}

/// `host [":" port]` without user information (RFC 9110 §4.2.4): a name or IPv4 address of unreserved characters, or an IPv6
/// address in brackets.
pub(super) fn is_authority(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = rest.get(..end).and_then(|address| std::str::from_utf8(address).ok());
        let is_address = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        return is_address && is_port_part(rest.get(end.saturating_add(1)..).unwrap_or_default());
    }
    let length = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let (name, port) = text.split_at_checked(length).unwrap_or_default();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !name.is_empty() && name.iter().all(is_name) && is_port_part(port)
}

/// Nothing, or a colon and a port of 1 to 5 digits up to 65535.
fn is_port_part(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => {
            let port = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
            // `str::parse` would take a sign.
            digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) && port.is_some()
        }
        _ => false,
    }
}
