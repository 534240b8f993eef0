//! Azure's surface of OpenAI: deployments in the path or models in the body, `api-key`, and a content filter's remarks.
//!
//! Paths: `/openai/deployments/{deployment}/…?api-version=…` and `/openai/v1/…`. A deployment is known by the name of a model
//! that the simulator has. Words: Azure's error pages and observed answers (read 2026-11).

use super::Site;
use super::openai::{self, Refusal};
use super::surface::{Asked, Call, Denial, Seen, bearer};
use super::text::quote;
use super::wire::Head;
use std::io::Write as _;
use std::time::Duration;

/// Whether a path is one of Azure's.
pub(super) fn claims(head: &Head) -> bool {
    head.path().starts_with("/openai/")
}

/// `api-key`, or a token of the directory as a bearer.
pub(super) fn key(head: &Head) -> Option<&str> {
    head.field("api-key").map(str::trim).or_else(|| bearer(head))
}

fn denial(status: u16, code: &str, message: &str) -> Denial {
    Denial::new(status, format!(r#"{{"error":{{"code":"{code}","message":{}}}}}"#, quote(message)))
}

/// Decides what a request asks for: key, path, version, deployment, and then as OpenAI does.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let head = call.head;
    let rest = head.path().strip_prefix("/openai/").unwrap_or_default();
    let deployed = rest.strip_prefix("deployments/").and_then(|rest| rest.split_once('/'));
    let call = &Call { model: deployed.map(|(deployment, _)| deployment), ..*call };
    let body = openai::body_of(call, seen);
    if call.key.is_empty() || !call.key_accepted {
        let message = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid \
                       key for an active subscription and use a correct regional API endpoint for your resource.";
        return Err(denial(401, "401", message));
    }
    let unknown = || denial(404, "404", "Resource not found");
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let version = query.split('&').find_map(|pair| pair.strip_prefix("api-version="));
    let path = match deployed {
        Some((deployment, path)) => {
            if !version.is_some_and(is_dated) {
                return Err(unknown());
            }
            if !call.site.knows_model(deployment) {
                return Err(missing_deployment());
            }
            path
        }
        None if version.is_none_or(|version| matches!(version, "preview" | "v1" | "latest")) => {
            rest.strip_prefix("v1/").ok_or_else(unknown)?
        }
        None => return Err(unknown()),
    };
    openai::serve(call, &format!("/{path}"), body.as_ref(), true).map_err(refused)
}

/// Whether a version is a date, perhaps of a preview.
fn is_dated(version: &str) -> bool {
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let digits: Vec<_> =
        date.split('-').map(|part| part.len() * usize::from(part.bytes().all(|b| b.is_ascii_digit()))).collect();
    digits == [4, 2, 2]
}

fn missing_deployment() -> Denial {
    let message = "The API deployment for this resource does not exist. If you created the deployment within the last 5 \
                   minutes, please wait a moment and try again.";
    denial(404, "DeploymentNotFound", message)
}

fn refused(refusal: Refusal) -> Denial {
    match refusal.code {
        Some("model_not_found") => missing_deployment(),
        Some("content_filter") => {
            let message = quote(&refusal.message);
            let filter = concat!(
                r#"{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"detected":false,"filtered":false},"#,
                r#""self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"#,
                r#""violence":{"filtered":true,"severity":"medium"}}"#
            );
            Denial::new(
                400,
                format!(
                    r#"{{"error":{{"message":{message},"type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{{"code":"ResponsibleAIPolicyViolation","content_filter_result":{filter}}}}}}}"#
                ),
            )
        }
        _ => refusal.into(),
    }
}

/// A bare status.
pub(super) fn failure(status: u16, retry_after: Option<Duration>) -> Denial {
    let mut denial = match status {
        401 => denial(401, "401", "Access denied due to invalid subscription key or wrong API endpoint."),
        403 => denial(403, "PermissionDenied", "The principal lacks the required data action."),
        404 => missing_deployment(),
        429 => {
            let seconds = retry_after.map_or(1.0, |wait| wait.as_secs_f64().ceil());
            let message = format!(
                "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded call rate limit of \
                 your current OpenAI S0 pricing tier. Please retry after {seconds} seconds."
            );
            denial(429, "429", &message)
        }
        500..=599 => denial(status, "InternalServerError", "The server had an error while processing your request."),
        _ => denial(status, "BadRequest", "The request could not be served."),
    }
    .retry_after(retry_after);
    denial.fields.extend(retry_after.map(|wait| format!("retry-after-ms: {}", wait.as_millis())));
    denial
}

/// The fields of every answer.
pub(super) fn head(out: &mut Vec<u8>, site: &Site, sequence: u64) {
    let _ = write!(
        out,
        "apim-request-id: {}\r\nx-request-id: {0}\r\nx-ms-region: West Europe\r\n",
        request_id(site, sequence)
    );
}

/// The id of a request.
pub(super) fn request_id(site: &Site, sequence: u64) -> String {
    format!("{:08x}-0000-4000-8000-{sequence:012x}", site.seed)
}
