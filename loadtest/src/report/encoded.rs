//! Histograms as text: the compressed form of HdrHistogram (V2, deflate) in base64, as its interval logs hold them.

use crate::measure::{add, histogram};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

/// A histogram as text; empty of an empty one.
pub fn encode(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("memory takes all, and three digits to an hour are within the format");
    STANDARD.encode(bytes)
}

/// The histogram that such a text holds, in the bounds that all of a result's have.
///
/// # Errors
/// The text is none of that form.
pub fn decode(text: &str) -> anyhow::Result<Histogram<u64>> {
    let mut whole = histogram();
    if text.is_empty() {
        return Ok(whole);
    }
    let bytes = STANDARD.decode(text).context("a histogram is not base64")?;
    let read: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|reason| anyhow::anyhow!("a histogram is not in HdrHistogram's compressed form: {reason:?}"))?;
    add(&mut whole, &read);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_read_back_as_they_were() {
        let mut whole = histogram();
        for number in 0..5000_u64 {
            whole.saturating_record(number * number * 1000);
        }
        let text = encode(&whole);
        assert!(text.starts_with("HISTFAAA"), "the cookie of the format: {text:.20}");
        assert!(decode(&text).expect("what was written") == whole);
        assert_eq!((encode(&histogram()).as_str(), decode("").expect("nothing").len()), ("", 0));
        assert!(decode("HISTFAAA").is_err() && decode("?").is_err());
    }
}
