//! Where a provider is: base URLs under rule T5, and the kinds of address that rule tells apart.
//!
//! A base URL is `https://host[:port][/path]` in one normal form: host in lower case, no trailing slash, no userinfo, query or fragment.
//! Loopback and private addresses, and plain http, need the operator's `allow_private_address`; link-local, metadata, multicast and
//! unspecified addresses and odd number forms are refused always. A port that stands in the URL counts as listed by the operator.

use super::problem::{Complaint, quoted};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A checked base URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    text: String,
    tls: bool,
    host: String,
    port: u16,
    path_start: usize,
}

/// How far an address reaches, as rule T5 sorts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The public internet.
    Public,
    /// Loopback, private (RFC 1918), carrier NAT (RFC 6598) or unique local (RFC 4193): needs `allow_private_address`.
    Private,
    /// Link-local, cloud metadata, multicast, unspecified, reserved: never a provider.
    Never,
}

// === impl BaseUrl ===

impl BaseUrl {
    /// Reads and checks a URL; `allow_private` is the operator's `allow_private_address`.
    ///
    /// Complaints never repeat userinfo or a query, where people put secrets (rules R1, R2).
    pub fn parse(text: &str, allow_private: bool) -> Result<Self, Complaint> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| Complaint::new("is not a URL", "write it as in \"https://api.openai.com/v1\""))?;
        refuse_foreign_parts(rest)?;
        let tls = is_tls(scheme, allow_private)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        check_host(&host, allow_private)?;
        let path = checked_path(path)?;
        let default_port = if tls { 443 } else { 80 };
        let port = port.unwrap_or(default_port);
        let origin = format!("{}://{host}", if tls { "https" } else { "http" });
        let origin = if port == default_port { origin } else { format!("{origin}:{port}") };
        Ok(Self { path_start: origin.len(), text: format!("{origin}{path}"), tls, host, port })
    }

    /// The whole URL in its normal form, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is https.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host in lower case; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, stated or of the scheme.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host, and the port unless it is the scheme's own (RFC 9110 §7.2).
    pub fn authority(&self) -> &str {
        let origin = self.text.get(..self.path_start).unwrap_or(&self.text);
        origin.split_once("://").map_or(origin, |(_, authority)| authority)
    }

    /// What stands before the dialect's own paths: empty, or `/…` without a trailing slash.
    pub fn path(&self) -> &str {
        &self.text[self.path_start..]
    }
}

fn refuse_foreign_parts(rest: &str) -> Result<(), Complaint> {
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Complaint::new(
            "holds a user name or password",
            "remove all up to `@`; credentials belong in `api_key`",
        ));
    }
    if rest.contains('?') {
        return Err(Complaint::new("holds a query", "remove `?` and what follows; credentials belong in `api_key`"));
    }
    if rest.contains('#') {
        return Err(Complaint::new("holds a fragment", "remove `#` and what follows"));
    }
    if rest.bytes().any(|byte| !byte.is_ascii_graphic() || b"\\\"<>`{}|^@".contains(&byte)) {
        return Err(Complaint::new(
            "holds a character that URLs do not have",
            "write host names in their `xn--` form and escape paths",
        ));
    }
    Ok(())
}

fn is_tls(scheme: &str, allow_private: bool) -> Result<bool, Complaint> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok(true),
        "http" if allow_private => Ok(false),
        "http" => Err(Complaint::new(
            "is plain http",
            "write https, or add `allow_private_address = true` for a server of your own",
        )),
        _ => Err(Complaint::new(format!("has the scheme {}", quoted(scheme)), "write https")),
    }
}

/// Host and port of an authority (RFC 3986 §3.2).
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Complaint> {
    let host_end = match authority.strip_prefix('[') {
        Some(inside) => {
            inside.find(']').map(|end| end + 2).ok_or_else(|| Complaint::new("has an unclosed `[`", "add `]`"))?
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits =
        port.strip_prefix(':').filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse::<u16>().ok()).filter(|port| *port != 0);
    match port {
        Some(port) => Ok((host, Some(port))),
        None => Err(Complaint::new(
            format!("has the port {}", quoted(port_text(authority, host_end))),
            "write a number from 1 to 65535",
        )),
    }
}

fn port_text(authority: &str, host_end: usize) -> &str {
    authority[host_end..].trim_start_matches(':')
}

fn check_host(host: &str, allow_private: bool) -> Result<(), Complaint> {
    let reach = match literal(host) {
        Some(address) => reach(address),
        None if host.starts_with('[') => {
            return Err(Complaint::new(format!("has the host {}", quoted(host)), "write an IPv6 address in `[ ]`"));
        }
        None if is_odd_number(host) => {
            let what = format!("has the host {}, a number form of an address", quoted(host));
            return Err(Complaint::new(what, "write the address as four plain decimal numbers"));
        }
        None if !is_host_name(host) => {
            return Err(Complaint::new(format!("has the host {}", quoted(host)), "write a host name"));
        }
        None => reach_of_name(host),
    };
    match reach {
        Reach::Public => Ok(()),
        Reach::Private if allow_private => Ok(()),
        Reach::Private => {
            let what = format!("has the loopback or private host {}", quoted(host));
            Err(Complaint::new(what, "add `allow_private_address = true` if it is a server of your own"))
        }
        Reach::Never => {
            let what = format!("has the host {}, where no provider may be", quoted(host));
            Err(Complaint::new(what, "write the provider's own host"))
        }
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Whether resolvers might read the host as a number: its last label is decimal, octal or hexadecimal (`127.1`, `0x7f.1`, `2130706433`).
fn is_odd_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

fn is_host_name(host: &str) -> bool {
    let label_fits = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label_fits)
}

/// Names that mean this machine, this network or the cloud's metadata, before anything is resolved.
fn reach_of_name(host: &str) -> Reach {
    const METADATA: &[&str] = &["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"];
    let under = |zone: &str| host == zone || host.strip_suffix(zone).is_some_and(|front| front.ends_with('.'));
    if METADATA.contains(&host) {
        Reach::Never
    } else if ["localhost", "local", "internal", "home.arpa"].into_iter().any(under) || !host.contains('.') {
        Reach::Private
    } else {
        Reach::Public
    }
}

// === Reach ===

/// Sorts an address as rule T5 does. Every address that a name resolves to goes through here too.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    // The metadata service of Alibaba Cloud lies inside the carrier NAT range.
    if address == Ipv4Addr::new(100, 100, 100, 200) {
        return Reach::Never;
    }
    match address.octets() {
        [127, ..] | [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Reach::Private,
        // This network, link-local, protocol assignments, documentation, 6to4 relays, benchmarks, multicast and reserved (RFC 6890).
        [0, ..] | [169, 254, ..] | [192, 0, 0, _] | [192, 0, 2, _] | [192, 88, 99, _] => Reach::Never,
        [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => Reach::Never,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // The metadata service of AWS lies inside the unique local range.
    if address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
        return Reach::Never;
    }
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // Mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address, which decides.
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Local NAT64 (RFC 8215) and Teredo (RFC 4380) can reach anything; documentation prefixes reach nothing.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Never,
        [0xfc00..=0xfdff, ..] => Reach::Private,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never,
    }
}

/// The path without trailing slashes; empty segments, dot segments and escaped separators are refused (as rule H9 does for targets).
fn checked_path(path: &str) -> Result<&str, Complaint> {
    let path = path.trim_end_matches('/');
    let odd = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    let lower = path.to_ascii_lowercase();
    if path.split('/').skip(1).any(odd) || ["%2e", "%2f", "%5c", "%00"].iter().any(|escape| lower.contains(escape)) {
        let what = format!("has the path {}", quoted(path));
        return Err(Complaint::new(what, "write it without empty segments, dot segments and escaped separators"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_normalised() {
        let url = BaseUrl::parse("HTTPS://API.OpenAI.com:443/v1//", false).expect("a fine URL");
        assert_eq!(
            (url.as_str(), url.host(), url.port(), url.path()),
            ("https://api.openai.com/v1", "api.openai.com", 443, "/v1")
        );
        let url = BaseUrl::parse("http://[::1]:8000", true).expect("a fine URL");
        assert_eq!((url.as_str(), url.host(), url.port(), url.path()), ("http://[::1]:8000", "[::1]", 8000, ""));
        assert_eq!(url.authority(), "[::1]:8000");
        assert!(!url.is_tls());
    }

    #[test]
    fn private_hosts_need_the_operators_word() {
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "[::1]",
            "[fd12::1]",
            "[::ffff:10.0.0.1]",
            "localhost",
            "api.localhost",
            "box.local",
            "ollama",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            assert!(BaseUrl::parse(&format!("https://{host}/v1"), false).is_err(), "{host}");
            assert!(BaseUrl::parse(&format!("https://{host}/v1"), true).is_ok(), "{host}");
        }
    }

    #[test]
    fn metadata_link_local_and_number_forms_are_never_allowed() {
        for host in [
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[fe80::1]",
            "[ff02::1]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "metadata.google.internal",
            "2130706433",
            "0x7f.1",
            "127.1",
            "0177.0.0.1",
            "127.0.0.01",
            "0x7f000001",
            "127.0.0.1.",
            "[::ffff:169.254.169.254]",
            "[fe80::1%25eth0]",
            "[::7f00:1]",
        ] {
            assert!(BaseUrl::parse(&format!("https://{host}/v1"), true).is_err(), "{host}");
        }
    }

    #[test]
    fn parts_that_are_not_origin_and_path_are_refused() {
        for text in [
            "api.openai.com/v1",
            "https://",
            "https:///v1",
            "ftp://a.example",
            "http://a.example",
            "https://u:p@a.example",
            "https://a.example?k=v",
            "https://a.example/#f",
            "https://a.example:0",
            "https://a.example:65536",
            "https://a.example:+1",
            "https://a.example:",
            "https://a..example",
            "https://-a.example",
            "https://a.example/v1/../x",
            "https://a.example//v1",
            "https://a.example/%2e%2e/x",
            "https://a.example/a b",
            "https://[::1",
            "https://[::1]x",
            "https://bücher.example",
            "https://a.example\\@b.example",
        ] {
            assert!(BaseUrl::parse(text, false).is_err(), "{text}");
        }
    }
}
