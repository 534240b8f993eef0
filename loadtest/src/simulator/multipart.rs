//! Multipart forms (RFC 7578) as a suspicious provider reads them: exact delimiters, named parts, nothing after the end.

/// One part of a form.
#[derive(Debug, PartialEq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) data: &'a [u8],
}

/// Reads a form.
///
/// # Errors
/// Returns a sentence that names the rule that was broken.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, String> {
    let (kind, rest) = content_type.split_once(';').ok_or("the content type has no boundary")?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(format!("the content type is {kind:?} and not multipart/form-data"));
    }
    let boundary = rest.split(';').find_map(|field| field.trim().strip_prefix("boundary="));
    let boundary = boundary.ok_or("the content type has no boundary")?.trim_matches('"');
    if boundary.is_empty() || boundary.len() > 70 {
        return Err("a boundary has between 1 and 70 characters".into());
    }
    let first = format!("--{boundary}\r\n");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or("the body does not begin with its boundary")?;
    let mut found = Vec::new();
    loop {
        let end = position(rest, between.as_bytes()).ok_or("a part has no end")?;
        found.push(part(&rest[..end])?);
        rest = &rest[end + between.len()..];
        if let Some(more) = rest.strip_prefix(b"\r\n") {
            rest = more;
            continue;
        }
        return match rest {
            b"--" | b"--\r\n" => Ok(found),
            _ => Err("something follows the last boundary".into()),
        };
    }
}

fn part(bytes: &[u8]) -> Result<Part<'_>, String> {
    let split = position(bytes, b"\r\n\r\n").ok_or("a part has no end of its head")?;
    let head = std::str::from_utf8(&bytes[..split]).map_err(|_| "the head of a part is not UTF-8")?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    });
    let disposition = disposition.ok_or("a part has no content-disposition")?;
    if !disposition.starts_with("form-data") {
        return Err(format!("a part's disposition is {disposition:?} and not form-data"));
    }
    let value = |wanted: &str| {
        let quoted = disposition.split(';').filter_map(|field| field.trim().split_once('='));
        quoted.filter(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"').to_owned()).next()
    };
    let name = value("name").ok_or("a part has no name")?;
    Ok(Part { name, filename: value("filename"), data: &bytes[split + 4..] })
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_and_a_broken_one_refused() {
        let kind = "multipart/form-data; boundary=xx";
        let body = b"--xx\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--xx\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\0\r\n1\r\n--xx--\r\n";
        let read = parts(kind, body).expect("a good form");
        assert_eq!(read[0], Part { name: "model".into(), filename: None, data: b"whisper-1" });
        assert_eq!(read[1], Part { name: "file".into(), filename: Some("a.wav".into()), data: b"\0\r\n1" });
        for broken in [&body[1..], &body[..body.len() - 5], &b"--xx\r\n\r\n\r\n--xx--"[..]] {
            assert!(parts(kind, broken).is_err());
        }
        assert!(parts("multipart/form-data", body).is_err() && parts("application/json", body).is_err());
    }
}
