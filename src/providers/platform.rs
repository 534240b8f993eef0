//! Clouds that host other companies' models: what they need beside an address and a key, and how the one follows from the other.
//!
//! AWS and Google name the region in the host, and sign or address calls by it; so a region gives the address, and an address the region.
//! Sources: AWS's "Amazon Bedrock endpoints and quotas" and Google's "Vertex AI locations", read 2026-11-23.

use super::{Dialect, signing};

/// What a provider's own cloud needs to know; all of it optional, each only where the dialect uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// Version of Azure's API, a query parameter.
    pub api_version: Option<Box<str>>,
    /// The region that AWS signatures are for and Vertex's paths name.
    pub region: Option<Box<str>>,
    /// The Google Cloud project that Vertex's paths name.
    pub project: Option<Box<str>>,
}

/// The address of a platform in a region; `None` for dialects whose address does not follow from one.
pub fn address_in(dialect: Dialect, region: &str) -> Option<String> {
    match dialect {
        Dialect::Bedrock => {
            let zone = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            Some(format!("https://bedrock-runtime.{region}.{zone}"))
        }
        Dialect::Vertex => Some(match region {
            "global" => format!("https://aiplatform.{GOOGLE_ZONE}"),
            "us" | "eu" => format!("https://aiplatform.{region}.rep.{GOOGLE_ZONE}"),
            region => format!("https://{region}-aiplatform.{GOOGLE_ZONE}"),
        }),
        _ => None,
    }
}

/// The region that a host of the platform tells.
pub fn region_at(dialect: Dialect, host: &str) -> Option<&str> {
    match dialect {
        Dialect::Bedrock => signing::region_of(host),
        Dialect::Vertex => {
            let name = host.split(':').next()?.strip_suffix(GOOGLE_ZONE)?.strip_suffix('.')?;
            match name {
                "aiplatform" => Some("global"),
                name => name
                    .strip_suffix("-aiplatform")
                    .or_else(|| name.strip_prefix("aiplatform.")?.strip_suffix(".rep"))
                    .filter(|region| !region.is_empty() && !region.contains('.')),
            }
        }
        _ => None,
    }
}

const GOOGLE_ZONE: &str = "googleapis.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_address_follow_from_each_other() {
        for (dialect, region, address) in [
            (Dialect::Bedrock, "eu-west-1", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
            (Dialect::Bedrock, "cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
            (Dialect::Vertex, "us-east5", "https://us-east5-aiplatform.googleapis.com"),
            (Dialect::Vertex, "global", "https://aiplatform.googleapis.com"),
            (Dialect::Vertex, "eu", "https://aiplatform.eu.rep.googleapis.com"),
        ] {
            assert_eq!(address_in(dialect, region).as_deref(), Some(address));
            assert_eq!(region_at(dialect, address.trim_start_matches("https://")), Some(region));
        }
        assert_eq!(address_in(Dialect::Azure, "eastus"), None);
        for host in ["googleapis.com", "-aiplatform.googleapis.com", "a.b-aiplatform.googleapis.com", "127.0.0.1:80"] {
            assert_eq!(region_at(Dialect::Vertex, host), None, "{host}");
        }
    }
}
