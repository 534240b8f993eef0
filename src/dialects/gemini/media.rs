//! Pictures, documents, sound and video as parts, and what kind a MIME type is.
//!
//! The gateway fetches nothing: an address goes on as it is, with the MIME type that the interface wants of everything
//! but video pages and its own file store. What no one says is told from the address's ending, or refused.

use super::parts::{FileData, Part};
use crate::chat::request::{Body, Maker, Media, Refusal, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The part that a block of media is; nothing for other blocks.
pub(super) fn part(body: &Body) -> Result<Option<Part<'_>>, Refusal> {
    match body {
        Body::Image(media) | Body::Document(media) | Body::Audio(media) | Body::Video(media) => of(media).map(Some),
        _ => Ok(None),
    }
}

fn of(media: &Media) -> Result<Part<'_>, Refusal> {
    match &media.source {
        Source::Base64 { media_type, data } => Ok(Part::inline(media_type, data.as_str())),
        Source::Text(text) => Ok(Part::inline("text/plain", STANDARD.encode(text))),
        Source::Url { url, media_type } => by_url(url, media_type.as_deref()),
        Source::File { maker: Maker::Google, id } => Ok(file(id, media_type_of(id))),
        Source::File { .. } => {
            let message = "A file in another provider's store cannot be sent to Google: send its content.";
            Err(Refusal::new("messages", message))
        }
    }
}

fn by_url<'a>(url: &'a str, media_type: Option<&'a str>) -> Result<Part<'a>, Refusal> {
    let known = media_type.or_else(|| media_type_of(url));
    if known.is_none() && !may_lack_media_type(url) {
        let shown: String = url.chars().take(SHOWN_CHARACTERS_MAX).collect();
        let message = format!(
            "Gemini wants the MIME type of what stands at {shown:?}, and the gateway does not fetch: send the \
             content as a data URL, or an address that ends in .png, .jpg, .webp, .pdf or the like."
        );
        return Err(Refusal::new("messages", message));
    }
    Ok(file(url, known))
}

fn file<'a>(file_uri: &'a str, mime_type: Option<&'a str>) -> Part<'a> {
    Part { file_data: Some(FileData { mime_type, file_uri }), ..Part::default() }
}

/// Video pages that the provider knows itself.
fn may_lack_media_type(url: &str) -> bool {
    is_video_page(url) || url.starts_with("gs://")
}

/// Whether it is a page of the one video service that the interface takes addresses of.
pub(super) fn is_video_page(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    matches!(host, "youtube.com" | "www.youtube.com" | "m.youtube.com" | "youtu.be")
}

/// The MIME type that the ending of an address tells, query and fragment aside.
pub(super) fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    let (_, ending) = file.rsplit_once('.')?;
    ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, media_type)| *media_type)
}

/// The block that holds media of this MIME type.
pub(super) fn block(media_type: &str, media: Media) -> Body {
    match media_type.split('/').next().unwrap_or_default() {
        "image" => Body::Image(media),
        "audio" => Body::Audio(media),
        "video" => Body::Video(media),
        _ => Body::Document(media),
    }
}

/// Characters of an address that a refusal shows: enough to find it.
const SHOWN_CHARACTERS_MAX: usize = 80;

/// What the interface takes, by ending (ai.google.dev, read 2026-11-23).
const ENDINGS: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("html", "text/html"),
    ("csv", "text/csv"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("aiff", "audio/aiff"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("mov", "video/mov"),
    ("avi", "video/avi"),
    ("webm", "video/webm"),
    ("wmv", "video/wmv"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_the_type() {
        let rows = [
            ("https://a.example/b.PNG?x=1.pdf#y", Some("image/png")),
            ("gs://bucket/dir.v2/file.pdf", Some("application/pdf")),
            ("https://a.example/b", None),
            ("https://a.png/b", None),
            ("", None),
        ];
        for (url, media_type) in rows {
            assert_eq!(media_type_of(url), media_type, "{url}");
        }
    }

    #[test]
    fn an_address_of_unknown_type_is_refused() {
        assert!(by_url("https://a.example/b", None).is_err());
        assert!(by_url("https://a.example/b", Some("image/png")).is_ok());
        assert!(by_url("https://www.youtube.com/watch?v=1", None).is_ok());
        assert!(by_url("https://www.youtube.com.example/watch", None).is_err());
    }
}
