//! Content of a client's message: a string, or parts of many kinds, and the marks on them.

use super::member::{self, Path};
use crate::chat::request::{Block, Body, CacheHint, Maker, Media, Refusal, Source, Thinking};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// A message's `content` as blocks. A string is one block, even an empty one; `null` is none.
pub(super) fn content(value: Option<Value>, at: &Path<'_>) -> Result<Vec<Block>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::text(text)]),
        Some(Value::Array(items)) => {
            items.into_iter().enumerate().map(|(index, item)| part(item, &at.item(index))).collect()
        }
        Some(_) => Err(at.refuse(format!("`{at}` must be a string or an array of parts."))),
    }
}

fn part(item: Value, at: &Path<'_>) -> Result<Block, Refusal> {
    let mut map = match item {
        Value::String(text) => return Ok(Block::text(text)),
        item => member::object(item, at)?,
    };
    let cache = cache_hint(&map, at)?;
    let kind = member::needed_text(&mut map, "type", at)?;
    let body = match kind.as_str() {
        "text" => Body::Text(member::needed_text(&mut map, "text", at)?),
        "refusal" => Body::Refusal(member::needed_text(&mut map, "refusal", at)?),
        "image_url" => Body::Image(picture(&mut map, at)?),
        "input_audio" => Body::Audio(sound(&mut map, at)?),
        "video_url" => Body::Video(Media { source: address(&mut map, "video_url", at)?.0, name: None, detail: None }),
        "file" => Body::Document(file(&mut map, at)?),
        "thinking" => Body::Thinking(thinking(&mut map, at)?),
        _ => {
            let kinds = "`text`, `image_url`, `input_audio`, `file`, `video_url` and, from the assistant, `refusal`";
            return Err(at.member("type").refuse(format!("Parts of type `{kind}` are not known: use {kinds}.")));
        }
    };
    Ok(Block { body, cache })
}

/// A prompt-cache mark on a part, a message or a tool: Anthropic's `cache_control`, which many clients send anywhere, or OpenAI's
/// `prompt_cache_breakpoint`, whose shortest time is half an hour.
pub(super) fn cache_hint(map: &Map<String, Value>, at: &Path<'_>) -> Result<Option<CacheHint>, Refusal> {
    let ttl = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(mark)) => Ok(Some(mark.get("ttl").and_then(Value::as_str).unwrap_or_default())),
        Some(_) => Err(at.member(name).refuse(format!("`{name}` must be an object."))),
    };
    if let Some(ttl) = ttl("cache_control")? {
        return Ok(Some(if ttl == "1h" { CacheHint::Long } else { CacheHint::Short }));
    }
    Ok(ttl("prompt_cache_breakpoint")?.map(|_| CacheHint::Long))
}

/// The pictures of the `images` extension, as our own answers have it.
pub(super) fn pictures(value: Value, at: &Path<'_>) -> Result<Vec<Block>, Refusal> {
    let picture_at = |(index, item)| {
        let here = at.item(index);
        let mut map = member::object(item, &here)?;
        picture(&mut map, &here).map(|media| Block::of(Body::Image(media)))
    };
    member::array(value, at)?.into_iter().enumerate().map(picture_at).collect()
}

fn picture(map: &mut Map<String, Value>, at: &Path<'_>) -> Result<Media, Refusal> {
    let (source, detail) = address(map, "image_url", at)?;
    Ok(Media { source, name: None, detail })
}

/// `{"url":…,"detail":…}`, or the address alone.
fn address(map: &mut Map<String, Value>, name: &str, at: &Path<'_>) -> Result<(Source, Option<String>), Refusal> {
    let here = at.member(name);
    let (url, detail) = match map.get_mut(name).map(Value::take).unwrap_or_default() {
        Value::String(url) => (url, None),
        value => {
            let mut inside = member::object(value, &here)?;
            let url = member::needed_text(&mut inside, "url", &here)?;
            (url, member::optional_text(&mut inside, "detail", &here)?)
        }
    };
    let source = match url.strip_prefix("data:") {
        None => Source::Url { url, media_type: None },
        Some(rest) => in_place(rest).ok_or_else(|| here.member("url").refuse(DATA_URL))?,
    };
    Ok((source, detail))
}

/// What a data URL holds, less its `data:`. Parameters of the media type go, but for a text's nothing depends on them.
fn in_place(rest: &str) -> Option<Source> {
    let (head, data) = rest.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?.split(';').next()?.trim().to_ascii_lowercase();
    (!media_type.is_empty() && !data.is_empty()).then(|| Source::Base64 { media_type, data: data.to_owned() })
}

fn sound(map: &mut Map<String, Value>, at: &Path<'_>) -> Result<Media, Refusal> {
    let here = at.member("input_audio");
    let mut inside = member::object(map.get_mut("input_audio").map(Value::take).unwrap_or_default(), &here)?;
    let data = member::needed_text(&mut inside, "data", &here)?;
    let format = member::optional_text(&mut inside, "format", &here)?.unwrap_or_else(|| "wav".to_owned());
    let source = match data.strip_prefix("data:") {
        Some(rest) => in_place(rest).ok_or_else(|| here.member("data").refuse(DATA_URL))?,
        None => {
            let media_type = if format == "mp3" { "audio/mpeg".to_owned() } else { format!("audio/{format}") };
            Source::Base64 { media_type: media_type.to_ascii_lowercase(), data }
        }
    };
    Ok(Media { source, name: None, detail: None })
}

fn file(map: &mut Map<String, Value>, at: &Path<'_>) -> Result<Media, Refusal> {
    let here = at.member("file");
    let mut inside = member::object(map.get_mut("file").map(Value::take).unwrap_or_default(), &here)?;
    let name = member::optional_text(&mut inside, "filename", &here)?;
    if let Some(data) = member::optional_text(&mut inside, "file_data", &here)? {
        let source = match data.strip_prefix("data:") {
            Some(rest) => in_place(rest),
            None if name.as_deref().is_none_or(|name| name.to_ascii_lowercase().ends_with(".pdf")) => {
                Some(Source::Base64 { media_type: "application/pdf".to_owned(), data })
            }
            None => None,
        };
        let source = source.and_then(plain_text).ok_or_else(|| here.member("file_data").refuse(DATA_URL))?;
        return Ok(Media { source, name, detail: None });
    }
    match member::optional_text(&mut inside, "file_id", &here)? {
        Some(id) => Ok(Media { source: Source::File { maker: Maker::OpenAi, id }, name, detail: None }),
        None => Err(here.member("file_data").refuse("Send the file as a data URL in `file_data`.")),
    }
}

/// A text file as the text it is, anything else as it was; `None` if what calls itself plain text is not.
fn plain_text(source: Source) -> Option<Source> {
    match source {
        Source::Base64 { media_type, data } if media_type == "text/plain" => {
            String::from_utf8(STANDARD.decode(data).ok()?).ok().map(Source::Text)
        }
        source => Some(source),
    }
}

/// A thinking part, as Mistral has it (a list of texts) or with the text itself.
fn thinking(map: &mut Map<String, Value>, at: &Path<'_>) -> Result<Thinking, Refusal> {
    let here = at.member("thinking");
    let text = match map.get_mut("thinking").map(Value::take).unwrap_or_default() {
        Value::Array(items) => items.iter().filter_map(|item| item.get("text")?.as_str()).collect(),
        value => member::text(value, &here)?,
    };
    Ok(Thinking { text, seal: None })
}

const DATA_URL: &str = "Write data in place as `data:<media type>;base64,<data>`.";
