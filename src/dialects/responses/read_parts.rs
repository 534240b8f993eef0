//! Parts of a message or of a tool's result: texts, pictures, documents, sound.

use super::fields::{Dropped, Fields, Path};
use crate::chat::request::{Block, Body, CacheHint, Maker, Media, Refusal, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The user, or a tool.
    User,
    /// The model.
    Assistant,
    /// Whoever instructs the model: text alone.
    System,
}

/// A text, or a list of parts.
pub(super) fn content(value: Value, path: &Path<'_>, side: Side, dropped: &mut Dropped) -> Result<Vec<Block>, Refusal> {
    let parts = match value {
        Value::String(text) => return Ok(vec![Block::text(text)]),
        Value::Array(parts) => parts,
        _ => return Err(path.wrong("a text or a list of parts")),
    };
    let mut blocks = Vec::with_capacity(parts.len());
    for (index, value) in parts.into_iter().enumerate() {
        let path = Path::Index(path, index);
        blocks.push(part(Fields::of(value, &path)?, side, dropped)?);
    }
    Ok(blocks)
}

fn part(mut fields: Fields<'_>, side: Side, dropped: &mut Dropped) -> Result<Block, Refusal> {
    let kind = fields.required("type")?;
    let body = match (kind.as_str(), side) {
        ("input_text" | "output_text" | "text" | "summary_text", _) => Body::Text(fields.required("text")?),
        ("refusal", Side::Assistant) => Body::Refusal(fields.required("refusal")?),
        ("input_image", Side::User) => image(&mut fields)?,
        ("input_file", Side::User) => file(&mut fields)?,
        ("input_audio", Side::User) => audio(&mut fields)?,
        _ => {
            let place = fields.at("type");
            return Err(place.refuse(format!("A part of type `{kind}` cannot stand here; send text, or leave it out.")));
        }
    };
    let cache = cache_hint(&mut fields)?;
    // What the model noted on its own text has no bearing on what comes next.
    fields.ignore(&["annotations", "logprobs"]);
    fields.rest().for_each(|name| dropped.note(format!("input.content.{name}")));
    Ok(Block { body, cache })
}

fn cache_hint(fields: &mut Fields<'_>) -> Result<Option<CacheHint>, Refusal> {
    let Some(value) = fields.value("prompt_cache_breakpoint") else { return Ok(None) };
    let ttl = Fields::of(value, &fields.at("prompt_cache_breakpoint"))?.string("ttl")?;
    Ok(Some(if ttl.as_deref() == Some("12h") { CacheHint::Long } else { CacheHint::Short }))
}

fn image(fields: &mut Fields<'_>) -> Result<Body, Refusal> {
    let detail = fields.string("detail")?;
    let stored = fields.string("file_id")?;
    let source = match (fields.value("image_url"), stored) {
        (Some(Value::String(url)), _) => address(url, &fields.at("image_url"))?,
        // Chat's form of the same, which some clients send here too.
        (Some(object @ Value::Object(_)), _) => {
            let path = fields.at("image_url");
            let url = Fields::of(object, &path)?.required("url")?;
            address(url, &path)?
        }
        (Some(_), _) => return Err(fields.at("image_url").wrong("a string")),
        (None, Some(id)) => Source::File { maker: Maker::OpenAi, id },
        (None, None) => return Err(fields.at("image_url").missing("a URL or a data URL")),
    };
    Ok(Body::Image(Media { source, name: None, detail }))
}

fn file(fields: &mut Fields<'_>) -> Result<Body, Refusal> {
    let name = fields.string("filename")?;
    let detail = fields.string("detail")?;
    let (data, url, stored) = (fields.string("file_data")?, fields.string("file_url")?, fields.string("file_id")?);
    let source = match (data, url, stored) {
        (Some(data), ..) if data.starts_with("data:") => address(data, &fields.at("file_data"))?,
        // Bare base64: only the name tells what it is.
        (Some(data), ..) => embedded(media_type_of(name.as_deref()).to_owned(), data),
        (None, Some(url), _) => Source::Url { url, media_type: None },
        (None, None, Some(id)) => Source::File { maker: Maker::OpenAi, id },
        (None, None, None) => return Err(fields.at("file_data").missing("a data URL, or use `file_url`")),
    };
    let picture = matches!(&source, Source::Base64 { media_type, .. } if media_type.starts_with("image/"));
    let media = Media { source, name, detail };
    Ok(if picture { Body::Image(media) } else { Body::Document(media) })
}

fn audio(fields: &mut Fields<'_>) -> Result<Body, Refusal> {
    let missing = fields.at("input_audio").missing("`data` and `format`");
    let value = fields.value("input_audio").ok_or(missing)?;
    let path = fields.at("input_audio");
    let mut inner = Fields::of(value, &path)?;
    let data = inner.required("data")?;
    let media_type = match inner.required("format")?.as_str() {
        "wav" => "audio/wav",
        "mp3" => "audio/mp3",
        _ => return Err(inner.at("format").wrong("`wav` or `mp3`")),
    };
    let source = Source::Base64 { media_type: media_type.to_owned(), data };
    Ok(Body::Audio(Media { source, name: None, detail: None }))
}

/// What an address points to: what a data URL holds, or what the provider fetches.
fn address(url: String, path: &Path<'_>) -> Result<Source, Refusal> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(Source::Url { url, media_type: None }) };
    let Some((head, data)) = rest.split_once(',') else { return Err(path.wrong("a data URL with base64")) };
    let Some(media_type) = head.strip_suffix(";base64") else { return Err(path.wrong("a data URL with base64")) };
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type.is_empty() {
        return Err(path.wrong("a data URL that names its media type"));
    }
    Ok(embedded(media_type, data.to_owned()))
}

/// Plain text is kept as text, which every provider takes.
fn embedded(media_type: String, data: String) -> Source {
    if media_type == "text/plain"
        && let Some(text) = STANDARD.decode(&data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    {
        return Source::Text(text);
    }
    Source::Base64 { media_type, data }
}

fn media_type_of(name: Option<&str>) -> &'static str {
    let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("txt" | "md") => "text/plain",
        _ => "application/pdf",
    }
}
