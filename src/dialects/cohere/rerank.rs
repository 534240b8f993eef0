//! Rerank: the gateway's shape is Cohere's own, so bytes pass; only what it cost is read.

use super::read_response::whole;
use serde::Deserialize;

/// Search units that an answer of `/v2/rerank` bills; `None` if it does not say.
pub fn search_units(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    struct Meta {
        billed_units: Option<Units>,
    }
    #[derive(Deserialize)]
    struct Units {
        search_units: Option<f64>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let units = answer.meta?.billed_units?.search_units?;
    Some(whole(Some(units)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_where_they_are_told() {
        let answer = br#"{"id":"r","results":[{"index":1,"relevance_score":0.9}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":2.0}}}"#;
        assert_eq!(search_units(answer), Some(2));
        for silent in [&b"{}"[..], br#"{"meta":null}"#, br#"{"meta":{"billed_units":{"search_units":null}}}"#, b"x"] {
            assert_eq!(search_units(silent), None);
        }
    }
}
