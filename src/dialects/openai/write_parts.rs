//! Content of one message as an OpenAI-shaped vendor takes it: a string wherever there are words only, else a list of parts.
//!
//! A string is what every vendor takes, and old ones take nothing else. What the model cannot take is refused, never left out: the caller
//! would get an answer about something it did not show.

use super::write_messages::knows_file;
use super::write_request::Draft;
use crate::chat::request::{Block, Body, Media, Refusal, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Blocks as content. Words alone are one string, joined by `joint`, unless a prompt-cache mark needs its part.
pub(super) fn parts_or_text(blocks: &[Block], draft: &Draft<'_>, joint: &str) -> Result<Value, Refusal> {
    let marked = draft.ways.cache_marks && blocks.iter().any(|block| block.cache.is_some());
    if !marked && blocks.iter().all(|block| words(&block.body).is_some()) {
        return Ok(Value::from(joined(blocks, joint)));
    }
    let mut parts = Vec::with_capacity(blocks.len());
    for block in blocks {
        let mut part = part(&block.body, draft)?;
        if block.cache.is_some() && marked {
            part["cache_control"] = json!({"type": "ephemeral"});
        }
        parts.push(part);
    }
    Ok(Value::Array(parts))
}

/// The words of blocks, joined.
pub(super) fn joined(blocks: &[Block], joint: &str) -> String {
    blocks.iter().filter_map(|block| words(&block.body)).collect::<Vec<_>>().join(joint)
}

/// What is nothing but words.
fn words(body: &Body) -> Option<&str> {
    match body {
        Body::Text(text) | Body::Refusal(text) => Some(text),
        Body::Document(Media { source: Source::Text(text), .. }) => Some(text),
        _ => None,
    }
}

fn part(body: &Body, draft: &Draft<'_>) -> Result<Value, Refusal> {
    if let Some(text) = words(body) {
        return Ok(json!({"type": "text", "text": text}));
    }
    match body {
        Body::Image(media) => picture(media, draft),
        Body::Document(media) => document(media, draft),
        Body::Audio(media) => sound(media, draft),
        Body::Video(media) if draft.ways.video => {
            let url = address(&media.source).ok_or_else(|| no("This provider takes videos at an address only."))?;
            Ok(json!({"type": "video_url", "video_url": {"url": url}}))
        }
        Body::Video(_) => Err(no("This model takes no video: leave it out, or choose another model.")),
        _ => Err(no("A message of the user holds text, pictures, sound and documents only.")),
    }
}

fn picture(media: &Media, draft: &Draft<'_>) -> Result<Value, Refusal> {
    if draft.aim.abilities.vision == Some(false) {
        return Err(no("This model takes no pictures: leave them out, or choose a model with vision."));
    }
    let remedy = "This provider knows no such file: send the picture itself, or its address.";
    let mut inside = json!({"url": address(&media.source).ok_or_else(|| no(remedy))?});
    if let Some(detail) = &media.detail {
        inside["detail"] = Value::from(detail.as_str());
    }
    Ok(json!({"type": "image_url", "image_url": inside}))
}

fn document(media: &Media, draft: &Draft<'_>) -> Result<Value, Refusal> {
    let Source::Base64 { media_type, data } = &media.source else {
        return match &media.source {
            Source::File { maker, id } if knows_file(*maker, draft.ways) => {
                Ok(json!({"type": "file", "file": {"file_id": id}}))
            }
            _ => Err(no("This provider takes documents in place only: send the document itself.")),
        };
    };
    if media_type.starts_with("text/") {
        let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| no("A text document must be UTF-8 in base64."))?;
        return Ok(json!({"type": "text", "text": text}));
    }
    if !draft.ways.files || draft.aim.abilities.pdf_input == Some(false) {
        return Err(no("This model takes no such documents: send their text."));
    }
    let name = media.name.as_deref().unwrap_or("document.pdf");
    Ok(json!({"type": "file", "file": {"filename": name, "file_data": data_url(media_type, data)}}))
}

fn sound(media: &Media, draft: &Draft<'_>) -> Result<Value, Refusal> {
    if draft.aim.abilities.audio_input == Some(false) {
        return Err(no("This model takes no sound: send a transcript, or choose another model."));
    }
    let Source::Base64 { media_type, data } = &media.source else {
        return Err(no("This provider takes sound in place only: send it as base64."));
    };
    let format = match media_type.strip_prefix("audio/").unwrap_or(media_type) {
        "wav" | "x-wav" | "wave" => "wav",
        "mpeg" | "mp3" => "mp3",
        other => other,
    };
    Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
}

/// An address that the vendor can take: as given, or with the data in it.
fn address(source: &Source) -> Option<String> {
    match source {
        Source::Url { url, .. } => Some(url.clone()),
        Source::Base64 { media_type, data } => Some(data_url(media_type, data)),
        Source::Text(_) | Source::File { .. } => None,
    }
}

fn data_url(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}

fn no(message: &'static str) -> Refusal {
    Refusal::new("messages", message)
}
