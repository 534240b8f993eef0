//! `[telemetry]`: what is told to collectors and logs of each exchange, and how much of it.
//!
//! No key turns on prompt or answer text: neither traces nor the access log can carry any (rules R1, R4).

use super::base_url::BaseUrl;
use super::leaf::{Reading, duration, number, one_of, path, text, truth};
use super::operation::{KeySource, key_source};
use super::problem::{Complaint, Findings, quoted};
use super::raw;
use super::read::{At, Leaf, Pairs, Typed};
use crate::limits::{NAME_CHARS_MAX, telemetry as bounds};
use std::path::PathBuf;
use std::time::Duration;

/// `[telemetry]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telemetry {
    /// Whether metrics have series by tenant.
    pub metrics_tenant_label: bool,
    /// Where traces and metrics are sent; nowhere when absent.
    pub otlp: Option<Otlp>,
    /// Where each exchange has its line; nowhere when absent.
    pub access_log: Option<AccessLog>,
}

/// `[telemetry.otlp]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// The collector's base URL; `/v1/traces` and `/v1/metrics` are below it.
    pub endpoint: BaseUrl,
    /// Headers for it, with where their values are.
    pub headers: Vec<(String, KeySource)>,
    /// Whom to trust beside the built-in authorities, where the URL is https.
    pub ca: Option<PathBuf>,
    /// Whether spans are sent.
    pub traces: bool,
    /// Whether metrics are.
    pub metrics: bool,
    /// How often metrics are sent.
    pub metrics_interval: Duration,
    /// The share of traces that are sent where no caller has decided.
    pub sample: f64,
    /// What is sent in any case.
    pub always: Always,
    /// What the resource is said to be beside ours: name and value.
    pub resource: Vec<(String, String)>,
}

/// What is told of in any case, sampled or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Always {
    /// What ended in an error.
    pub errors: bool,
    /// What took this long or longer.
    pub slow: Option<Duration>,
}

/// `[telemetry.access_log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub place: LogPlace,
    /// The share of exchanges that have a line.
    pub sample: f64,
    /// Which have one in any case.
    pub always_errors: bool,
    /// How much of the client's address stands there.
    pub client_address: Redaction,
    /// The members of a line, in the order of [`AccessField::ALL`].
    pub fields: Vec<AccessField>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file of our own, opened again on SIGHUP.
    File(PathBuf),
}

/// How much of an address is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redaction {
    /// All of it.
    Full,
    /// The network: 24 bits of IPv4, 48 of IPv6.
    #[default]
    Truncated,
    /// Nothing.
    None,
}

/// Declares the members of a line.
macro_rules! fields {
    ($($name:ident $word:literal,)*) => {
        /// A member of a line of the access log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AccessField { $(#[doc = concat!("`", $word, "`")] $name,)* }

        impl AccessField {
            /// All of them, in the order of a line.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$name)),*];

            /// The member's name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

fields! {
    Time "time", RequestId "request_id", TraceId "trace_id", Tenant "tenant", AccessKey "access_key", Client "client",
    Method "method", Surface "surface", Path "path", Status "status", Finish "finish", Error "error", ModelRequested "model_requested",
    ModelUsed "model_used", Provider "provider", Policy "policy", Attempts "attempts", Stream "stream", InputTokens "input_tokens",
    OutputTokens "output_tokens", CachedTokens "cached_tokens", UsageSource "usage_source", Cost "cost_usd", Overhead "overhead_us",
    FirstByte "first_byte_us", FirstToken "first_token_us", Total "total_us", BytesIn "bytes_in", BytesOut "bytes_out",
}

/// The one way in which a collector is spoken to (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
const PROTOCOLS: &[(&str, ())] = &[("http/protobuf", ())];
const REDACTIONS: &[(&str, Redaction)] =
    &[("full", Redaction::Full), ("truncated", Redaction::Truncated), ("none", Redaction::None)];
const KINDS: &[(&str, Kind)] = &[("errors", Kind::Errors), ("slow", Kind::Slow)];
const KINDS_OF_LINES: &[(&str, Kind)] = &[("errors", Kind::Errors)];
const FORMATS: &[(&str, ())] = &[("json", ())];
/// From when on an exchange is slow, unless the owner says otherwise.
const SLOW: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Errors,
    Slow,
}

/// `[telemetry]` as meant.
pub(super) fn telemetry(raw: Option<raw::Telemetry>, findings: &mut Findings) -> Telemetry {
    let Some(raw) = raw else { return Telemetry::default() };
    Telemetry {
        metrics_tenant_label: findings.value("metrics_tenant_label", raw.metrics_tenant_label, truth).unwrap_or(false),
        otlp: raw.otlp.and_then(|raw| otlp(raw, findings)),
        access_log: raw.access_log.and_then(|raw| access_log(raw, findings)),
    }
}

fn otlp(raw: raw::Otlp, findings: &mut Findings) -> Option<Otlp> {
    let is_absent = raw.endpoint.is_none();
    let endpoint = findings.value("endpoint", raw.endpoint, collector);
    if is_absent {
        let remedy = "write `endpoint = \"http://127.0.0.1:4318\"`, or remove the table";
        findings.error(raw.at, "`[telemetry.otlp]` has no `endpoint`", remedy);
    }
    let kinds = findings.all("always", raw.always.unwrap_or_default(), one_of(KINDS));
    let has = |kind: Kind| kinds.iter().any(|known| known.value == kind);
    let slow = findings.value("slow", raw.slow, duration(Duration::from_millis(1), Duration::from_secs(3_600)));
    let interval = duration(bounds::METRICS_INTERVAL_MIN, bounds::METRICS_INTERVAL_MAX);
    let traces = findings.value("traces", raw.traces, truth).unwrap_or(true);
    let metrics = findings.value("metrics", raw.metrics, truth).unwrap_or(true);
    if !traces && !metrics {
        let remedy = "turn one of them on, or remove the table";
        findings.error(raw.at, "`[telemetry.otlp]` sends neither `traces` nor `metrics`", remedy);
    }
    findings.value("protocol", raw.protocol, one_of(PROTOCOLS));
    let sending = Otlp {
        headers: headers(raw.headers.unwrap_or_default(), findings),
        ca: findings.value("ca", raw.ca, path),
        traces,
        metrics,
        metrics_interval: findings
            .value("metrics_interval", raw.metrics_interval, interval)
            .unwrap_or(bounds::METRICS_INTERVAL),
        sample: findings.value("sample", raw.sample, number(0.0, 1.0)).unwrap_or(1.0),
        always: Always { errors: has(Kind::Errors), slow: has(Kind::Slow).then(|| slow.unwrap_or(SLOW)) },
        resource: resource(raw.resource.unwrap_or_default(), findings),
        endpoint: endpoint?,
    };
    Some(sending)
}

/// The collector is the operator's own, so it may be private and plain.
fn collector(typed: &Typed) -> Reading<BaseUrl> {
    BaseUrl::parse(&text(typed)?, true)
}

fn headers(typed: raw::References, findings: &mut Findings) -> Vec<(String, KeySource)> {
    let (mut headers, mut names) = (Vec::new(), Vec::new());
    for (name, reference) in typed.0 {
        let lower = At { value: name.value.to_ascii_lowercase(), at: name.at };
        if !is_header_name(&lower.value) {
            let what = format!("the header {} is none that can be added", quoted(&name.value));
            findings.error(name.at, what, "use letters, digits and `-`, and leave what frames the request to Igris");
            continue;
        }
        if let Some(source) = key_source(&lower.value, reference, false, findings) {
            headers.push((lower.value.clone(), source.value));
        }
        names.push(lower);
    }
    findings.distinct("the header", &names);
    if headers.len() > bounds::OTLP_HEADERS_MAX {
        let what = format!("`headers` has more than {} entries", bounds::OTLP_HEADERS_MAX);
        findings.error(names.first().map_or(0, |name| name.at), what, "keep those that the collector reads");
    }
    headers
}

/// A token (RFC 9110 §5.6.2) that is not ours to make.
fn is_header_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let framing = ["host", "connection", "content-length", "content-type", "transfer-encoding", "expect"];
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(fits) && !framing.contains(&name)
}

fn resource(pairs: Pairs, findings: &mut Findings) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    if pairs.0.len() > bounds::RESOURCE_ATTRIBUTES_MAX {
        let what = format!("`resource` has more than {} entries", bounds::RESOURCE_ATTRIBUTES_MAX);
        findings.error(pairs.0[0].0.at, what, "keep those that tell processes apart");
    }
    for (name, value) in pairs.0 {
        if name.value.is_empty() || name.value.chars().any(char::is_control) {
            findings.error(
                name.at,
                "`resource` has a name that is none",
                "write it as in \"deployment.environment.name\"",
            );
        }
        if let Some(value) = findings.value("resource", Some(value), text) {
            attributes.push((name.value, value));
        }
    }
    attributes
}

fn access_log(raw: raw::AccessLog, findings: &mut Findings) -> Option<AccessLog> {
    if raw.path.is_none() {
        let remedy = "write `path = \"stdout\"`, \"stderr\" or a file, or remove the table";
        findings.error(raw.at, "`[telemetry.access_log]` has no `path`", remedy);
    }
    let place = findings.value("path", raw.path, place);
    findings.value("format", raw.format, one_of(FORMATS));
    let always = findings.all("always", raw.always.unwrap_or_default(), one_of(KINDS_OF_LINES));
    Some(AccessLog {
        sample: findings.value("sample", raw.sample, number(0.0, 1.0)).unwrap_or(1.0),
        always_errors: !always.is_empty(),
        client_address: findings.value("client_address", raw.client_address, one_of(REDACTIONS)).unwrap_or_default(),
        fields: members(raw.fields, findings),
        place: place?,
    })
}

fn place(typed: &Typed) -> Reading<LogPlace> {
    Ok(match text(typed)?.as_str() {
        "stdout" => LogPlace::Stdout,
        "stderr" => LogPlace::Stderr,
        "" => return Err(Complaint::new("names no file", "write \"stdout\", \"stderr\" or a file")),
        _ => LogPlace::File(path(typed)?),
    })
}

/// An empty list would be a log of nothing.
fn members(leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<AccessField> {
    let Some(leaves) = leaves else { return AccessField::ALL.to_vec() };
    let at = leaves.first().map_or(0, |leaf| leaf.at);
    let typed = findings.all("fields", leaves, one_of(AccessField::WORDS));
    if typed.is_empty() {
        findings.error(at, "`fields` lists no member", "list some, or remove the key for all of them");
    }
    let is_listed = |field: &&AccessField| typed.iter().any(|listed| listed.value == **field);
    AccessField::ALL.iter().filter(is_listed).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Known};

    fn read(lines: &str) -> Result<Telemetry, String> {
        let known = Known { providers: &[], dialects: &[] };
        let config = Config::parse("igris.toml", &format!("{lines}\n"), &known);
        config.map(|config| config.telemetry).map_err(|problems| problems.to_string())
    }

    #[test]
    fn nothing_is_told_unless_asked_for() {
        assert_eq!(read(""), Ok(Telemetry::default()));
        assert_eq!(read("[telemetry]\nmetrics_tenant_label = true").map(|read| read.metrics_tenant_label), Ok(true));
    }

    #[test]
    fn a_collector_has_an_address_and_its_secrets_are_references() {
        let text = "[telemetry.otlp]\nendpoint = \"http://127.0.0.1:4318/\"\nsample = 0.1\nalways = [\"errors\", \"slow\"]\nslow = \"2s\"\n\
            headers = { Authorization = { env = \"OTLP_AUTH\" } }\nresource = { \"deployment.environment.name\" = \"prod\" }\nmetrics_interval = \"15s\"";
        let otlp = read(text).expect("read").otlp.expect("there");
        assert_eq!((otlp.endpoint.as_str(), otlp.sample), ("http://127.0.0.1:4318", 0.1));
        assert_eq!(otlp.headers, [("authorization".to_owned(), KeySource::Env("OTLP_AUTH".to_owned()))]);
        assert_eq!(otlp.always, Always { errors: true, slow: Some(Duration::from_secs(2)) });
        assert_eq!(otlp.resource, [("deployment.environment.name".to_owned(), "prod".to_owned())]);
        assert_eq!((otlp.metrics_interval.as_secs(), otlp.traces, otlp.metrics), (15, true, true));
        for (line, part) in [
            ("sample = 1.5", "sample"),
            ("protocol = \"grpc\"", "protocol"),
            ("headers = { authorization = \"Bearer s3cret\" }", "must be"),
            ("headers = { host = { env = \"A\" } }", "host"),
            ("always = [\"never\"]", "always"),
            ("metrics_interval = \"1ms\"", "metrics_interval"),
            ("traces = false\nmetrics = false", "neither"),
            ("capture_content = true", "capture_content"),
        ] {
            let said = read(&format!("[telemetry.otlp]\nendpoint = \"http://127.0.0.1:4318\"\n{line}"));
            assert!(
                said.as_ref().is_err_and(|said| said.contains(part) && !said.contains("s3cret")),
                "{line}: {said:?}"
            );
        }
        assert!(read("[telemetry.otlp]\nsample = 1.0").is_err_and(|said| said.contains("endpoint")));
    }

    #[test]
    fn a_log_has_a_place_and_an_order() {
        let log =
            |lines: &str| read(&format!("[telemetry.access_log]\n{lines}")).map(|read| read.access_log.expect("there"));
        let usual = log("path = \"stdout\"").expect("read");
        assert_eq!((usual.place, usual.client_address, usual.sample), (LogPlace::Stdout, Redaction::Truncated, 1.0));
        assert_eq!(usual.fields, AccessField::ALL);
        let own = log("path = \"/var/log/igris.log\"\nfields = [\"status\", \"time\"]\nclient_address = \"none\"")
            .expect("read");
        assert_eq!(own.place, LogPlace::File("/var/log/igris.log".into()));
        assert_eq!(own.fields, [AccessField::Time, AccessField::Status], "in the order of a line");
        for (lines, part) in [
            ("sample = 0.5", "`path`"),
            ("path = \"stdout\"\nfields = [\"prompt\"]", "prompt"),
            ("path = \"stdout\"\nfields = []", "no member"),
            ("path = \"stdout\"\nformat = \"text\"", "format"),
        ] {
            assert!(log(lines).is_err_and(|said| said.contains(part)), "{lines}");
        }
    }
}
