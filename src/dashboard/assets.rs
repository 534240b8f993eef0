//! What a browser loads: embedded texts with their types. Nothing comes from elsewhere, and nothing here is a secret.

use crate::admin::Refusal;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The one page.
pub(super) const PAGE: &str = include_str!("assets/page.html");
const LOGIN: &str = include_str!("assets/login.html");
/// Where the login page says what was wrong.
const MESSAGE: &str = "<!-- message -->";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! files {
    ($($name:literal $kind:ident),* $(,)?) => {
        /// Name, type, text.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("assets/", $name)))),*];
    };
}

files! {
    "base.css" STYLE, "parts.css" STYLE, "login.js" SCRIPT,
    "app.js" SCRIPT, "api.js" SCRIPT, "dom.js" SCRIPT, "format.js" SCRIPT, "live.js" SCRIPT, "plot.js" SCRIPT, "table.js" SCRIPT,
    "dialog.js" SCRIPT, "shapes.js" SCRIPT, "hdr.js" SCRIPT, "diff.js" SCRIPT,
    "pages/overview.js" SCRIPT, "pages/providers.js" SCRIPT, "pages/keys.js" SCRIPT, "pages/access.js" SCRIPT,
    "pages/costs.js" SCRIPT, "pages/decisions.js" SCRIPT, "pages/events.js" SCRIPT, "pages/config.js" SCRIPT,
    "pages/alerts.js" SCRIPT,
}

/// Of others, as they ship it; the licence stands beside it.
const VENDORED: &[(&str, &str, &str)] = &[
    ("vendor/uplot.js", SCRIPT, include_str!("vendor/uplot.js")),
    ("vendor/uplot.css", STYLE, include_str!("vendor/uplot.css")),
    ("vendor/uplot.LICENSE", "text/plain; charset=utf-8", include_str!("vendor/uplot.LICENSE")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// `GET /assets/{name}`.
pub(super) async fn serve(Path(name): Path<String>) -> Result<Response, Refusal> {
    let found = FILES.iter().chain(VENDORED).find(|file| file.0 == name);
    let (_, kind, text) = found.ok_or_else(|| Refusal::no_such("path", "the dashboard at /"))?;
    Ok(([(header::CONTENT_TYPE, *kind)], *text).into_response())
}

/// A page.
pub(super) fn page(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// The login page, with what was wrong. The sentence is ours.
pub(super) fn login(sentence: Option<&'static str>) -> String {
    match sentence {
        Some(sentence) => LOGIN.replace(MESSAGE, &format!("<p class=\"wrong\" role=\"alert\">{sentence}</p>")),
        None => LOGIN.to_owned(),
    }
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    FILES.iter().chain(VENDORED)
}
