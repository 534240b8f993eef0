//! Files that are uploaded, shown, read and deleted, and batches of requests out of such files.
//!
//! A batch is done by its second look: validating when created, in progress at the first look, completed at the next, with an
//! output file that holds the very answers the requests would have had one by one.

use super::Refusal;
use super::audio::{field, form};
use super::breach::fit;
use super::chat::Body;
use super::work::created;
use super::{Answer, audio};
use crate::simulator::shape::{Shape, must, null};
use crate::simulator::shelf::Kept;
use crate::simulator::surface::{Asked, Call, Script, Told, Work};
use crate::simulator::text::{alphanumeric, digest, mix};
use serde_json::{Value, json};

const PURPOSES: [&str; 6] = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"];
const FIELDS: [&str; 4] = ["file", "purpose", "expires_after[anchor]", "expires_after[seconds]"];

fn id(start: &str, seed: u64) -> String {
    let mut id = String::from(start);
    alphanumeric(seed, 24, &mut id);
    id
}

/// `POST /files`.
pub(super) fn upload(call: &Call<'_>) -> Result<Asked, Refusal> {
    let parts = form(call, &FIELDS)?;
    let file = parts.iter().find(|part| part.name == "file").ok_or_else(|| Refusal::missing("file"))?;
    let purpose = audio::field(&parts, "purpose").ok_or_else(|| Refusal::missing("purpose"))?;
    if !PURPOSES.contains(&purpose) {
        let words: Vec<_> = PURPOSES.iter().map(|word| format!("'{word}'")).collect();
        return Err(Refusal::wrong_value(
            "purpose",
            format!("'{purpose}' is not one of [{}] - 'purpose'", words.join(", ")),
        ));
    }
    if field(&parts, "expires_after[seconds]").is_some_and(|seconds| seconds.parse::<u32>().is_err()) {
        return Err(Refusal::wrong_type("expires_after[seconds]", "an integer", "a string"));
    }
    let name = file.filename.as_deref().unwrap_or("upload");
    let shown = keep(call, name, purpose, file.data);
    Ok(Asked::Ready(shown.to_string()))
}

fn keep(call: &Call<'_>, name: &str, purpose: &str, content: &[u8]) -> Value {
    let seed = mix(digest(content), digest(name.as_bytes()));
    let id = id("file-", seed);
    let shown = json!({
        "object": "file", "id": id, "purpose": purpose, "filename": name, "bytes": content.len(),
        "created_at": created(seed), "expires_at": null, "status": "processed", "status_details": null,
    });
    call.site.shelf.put(&id, Kept { shown: shown.clone(), content: content.to_vec() });
    shown
}

/// `GET /files` and `GET /batches`.
pub(super) fn list(call: &Call<'_>, start: &str) -> Asked {
    let data: Vec<_> = call.site.shelf.starting(start).into_iter().map(|kept| kept.shown).rev().collect();
    let end = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let (first, last) = (end(data.first()), end(data.last()));
    let told = json!({ "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": false });
    Asked::Ready(told.to_string())
}

fn find(call: &Call<'_>, id: &str, start: &str) -> Result<Kept, Refusal> {
    call.site.shelf.find(id).filter(|_| id.starts_with(start)).ok_or_else(|| {
        let message = format!("No such {} object: {id}", if start == "file-" { "File" } else { "Batch" });
        Refusal { status: 404, ..Refusal::invalid(None, "id", message) }
    })
}

/// `GET /files/{id}`.
pub(super) fn show(call: &Call<'_>, id: &str) -> Result<Asked, Refusal> {
    Ok(Asked::Ready(find(call, id, "file-")?.shown.to_string()))
}

/// `GET /files/{id}/content`.
pub(super) fn content(call: &Call<'_>, id: &str) -> Result<Asked, Refusal> {
    let kept = find(call, id, "file-")?;
    let told = Told { kind: "application/octet-stream", ..Told::json(kept.content, 0) };
    let directives = Default::default();
    let script = Script::Told(told);
    Ok(Asked::Work(Box::new(Work { model: String::new(), stream: false, prompt_tokens: 0, directives, script })))
}

/// `DELETE /files/{id}`.
pub(super) fn delete(call: &Call<'_>, id: &str) -> Result<Asked, Refusal> {
    find(call, id, "file-")?;
    call.site.shelf.remove(id);
    Ok(Asked::Ready(json!({ "id": id, "object": "file", "deleted": true }).to_string()))
}

// === Batches ===

static BATCH: Shape = Shape::Object(&[
    must("input_file_id", Shape::Text),
    must(
        "endpoint",
        Shape::OneOf(&[
            "/v1/responses",
            "/v1/chat/completions",
            "/v1/embeddings",
            "/v1/completions",
            "/v1/moderations",
            "/v1/images/generations",
        ]),
    ),
    must("completion_window", Shape::OneOf(&["24h"])),
    null("metadata", Shape::Each(&Shape::Text)),
    null(
        "output_expires_after",
        Shape::Object(&[
            must("anchor", Shape::OneOf(&["created_at"])),
            must("seconds", Shape::Integer(3600, 2_592_000)),
        ]),
    ),
]);

/// `POST /batches`.
pub(super) fn batch(call: &Call<'_>, body: &Value) -> Result<Asked, Refusal> {
    let body = &fit(&BATCH, body)?;
    let file_id = body["input_file_id"].as_str().unwrap_or_default();
    let wrong = |message: String| Refusal::invalid(None, "input_file_id", message);
    let file =
        find(call, file_id, "file-").map_err(|_| wrong(format!("Invalid 'input_file_id': '{file_id}' not found.")))?;
    if file.shown["purpose"] != "batch" {
        return Err(wrong(format!("The file '{file_id}' must have the purpose 'batch'.")));
    }
    let seed = mix(digest(&file.content), digest(file_id.as_bytes()));
    let id = id("batch_", seed);
    let total = lines(&file.content).count();
    let shown = json!({
        "id": id, "object": "batch", "endpoint": body["endpoint"], "errors": null, "input_file_id": file_id,
        "completion_window": "24h", "status": "validating", "output_file_id": null, "error_file_id": null,
        "created_at": created(seed), "in_progress_at": null, "expires_at": created(seed) + 86_400,
        "finalizing_at": null, "completed_at": null, "failed_at": null, "expired_at": null, "cancelling_at": null,
        "cancelled_at": null, "request_counts": { "total": total, "completed": 0, "failed": 0 },
        "metadata": body.get("metadata").unwrap_or(&Value::Null),
    });
    call.site.shelf.put(&id, Kept { shown: shown.clone(), content: file.content });
    Ok(Asked::Ready(shown.to_string()))
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

/// `GET /batches/{id}`: every look moves it one step on.
pub(super) fn look(call: &Call<'_>, id: &str) -> Result<Asked, Refusal> {
    let mut kept = find(call, id, "batch_")?;
    let now = kept.shown["created_at"].as_u64().unwrap_or_default() + 60;
    match kept.shown["status"].as_str() {
        Some("validating") => {
            kept.shown["status"] = "in_progress".into();
            kept.shown["in_progress_at"] = now.into();
        }
        Some("in_progress") => {
            let done: Vec<Value> = lines(&kept.content).enumerate().map(|(at, line)| answer(call, at, line)).collect();
            let failed = done.iter().filter(|line| line["response"]["status_code"] != 200).count();
            let text: String = done.iter().map(|line| format!("{line}\n")).collect();
            let output = keep(call, &format!("{id}_output.jsonl"), "batch_output", text.as_bytes());
            kept.shown["status"] = "completed".into();
            kept.shown["completed_at"] = now.into();
            kept.shown["output_file_id"] = output["id"].clone();
            kept.shown["request_counts"]["completed"] = (done.len() - failed).into();
            kept.shown["request_counts"]["failed"] = failed.into();
        }
        Some("cancelling") => {
            kept.shown["status"] = "cancelled".into();
            kept.shown["cancelled_at"] = now.into();
        }
        _ => {}
    }
    call.site.shelf.put(id, kept.clone());
    Ok(Asked::Ready(kept.shown.to_string()))
}

/// `POST /batches/{id}/cancel`.
pub(super) fn cancel(call: &Call<'_>, id: &str) -> Result<Asked, Refusal> {
    let mut kept = find(call, id, "batch_")?;
    match kept.shown["status"].as_str() {
        Some("validating" | "in_progress") => {
            kept.shown["status"] = "cancelling".into();
            kept.shown["cancelling_at"] = kept.shown["created_at"].clone();
            call.site.shelf.put(id, kept.clone());
            Ok(Asked::Ready(kept.shown.to_string()))
        }
        status => {
            let status = status.unwrap_or_default();
            let message = format!("Cannot cancel a batch with status '{status}'.");
            Err(Refusal { status: 409, ..Refusal::invalid(None, "", message) })
        }
    }
}

/// The output line of one input line: chat completions are answered, all else is refused.
fn answer(call: &Call<'_>, position: usize, line: &[u8]) -> Value {
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    let mut text = Vec::new();
    let chat = Body::parse(line["body"].to_string().as_bytes()).and_then(|body| body.check());
    let chat = chat.and_then(|chat| match line["url"].as_str() {
        _ if !call.site.knows_model(&chat.model) => Err(Refusal::unknown_model(&chat.model)),
        Some("/v1/chat/completions") => Ok(chat),
        url => Err(Refusal::unknown_path("POST", url.unwrap_or_default())),
    });
    let status = match chat {
        Ok(chat) => {
            Answer::new(&chat, call.tokens).unary(&mut text);
            200
        }
        Err(refusal) => {
            text = refusal.body().into_bytes();
            refusal.status
        }
    };
    let body: Value = serde_json::from_slice(&text).unwrap_or_default();
    let name = format!("batch_req_{position:024}");
    json!({ "id": name, "custom_id": line["custom_id"], "error": null,
        "response": { "status_code": status, "request_id": name, "body": body } })
}
