//! Where a request comes from, for access keys that may be shown from some addresses only.
//!
//! The peer's own address is what the kernel says. Only if the peer is a listed proxy is its `X-Forwarded-For` read, from the right: each
//! listed proxy vouches for the hop before it, and the first hop that is not listed is the client. What stands left of that one is the
//! client's own word and is never looked at (rule H11). Where a listed proxy names something that is no address, nobody knows the
//! client, and nobody is not in any range. Pure: no clock, no socket, no allocation.

use crate::domain::cidr::Cidr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// The address of the client: the last hop that no listed proxy is. `lines` are the values of all `X-Forwarded-For` fields, the last one
/// first. `None`: a listed proxy does not say.
pub fn client_address<'a>(peer: IpAddr, proxies: &[Cidr], lines: impl Iterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let mut address = peer.to_canonical();
    // Several fields mean what one with commas means (RFC 9110 §5.3).
    let mut hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
    while proxies.iter().any(|range| range.contains(address)) {
        let Some(hop) = hops.next() else { break };
        address = read(hop.trim_ascii())?;
    }
    Some(address)
}

/// An address, alone or with a port; IPv6 with a port in brackets. No zones: they mean nothing on another machine.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let v4 =
        || text.parse::<Ipv4Addr>().ok().or_else(|| Some(*text.parse::<SocketAddrV4>().ok()?.ip())).map(IpAddr::V4);
    let bracketed =
        || text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|bare| bare.parse().ok());
    let with_port =
        || text.parse::<SocketAddrV6>().ok().filter(|address| address.scope_id() == 0).map(|address| *address.ip());
    let v6 = || text.parse::<Ipv6Addr>().ok().or_else(bracketed).or_else(with_port).map(IpAddr::V6);
    v4().or_else(v6).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client as told by these fields, in the order in which they came.
    fn told(peer: &str, proxies: &[&str], fields: &[&str]) -> Option<String> {
        let proxies: Vec<Cidr> = proxies.iter().map(|range| Cidr::parse(range).expect("a range")).collect();
        let peer = peer.parse().expect("an address");
        let lines = fields.iter().rev().map(|line| line.as_bytes());
        client_address(peer, &proxies, lines).map(|address| address.to_string())
    }

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8"];

    #[test]
    fn rule_h11_nobody_is_believed_but_listed_proxies() {
        let own = |address: &str| Some(address.to_owned());
        assert_eq!(told("203.0.113.9", PROXIES, &["10.0.0.1"]), own("203.0.113.9"), "a client that is no proxy");
        assert_eq!(told("203.0.113.9", &[], &["192.0.2.1"]), own("203.0.113.9"));
        assert_eq!(told("10.0.0.1", PROXIES, &["192.0.2.1"]), own("192.0.2.1"));
        assert_eq!(told("::ffff:10.0.0.1", PROXIES, &["192.0.2.1"]), own("192.0.2.1"), "a mapped peer");
        assert_eq!(told("10.0.0.1", PROXIES, &[]), own("10.0.0.1"), "the proxy asks for itself");
    }

    #[test]
    fn rule_h11_what_stands_left_of_the_first_stranger_is_never_looked_at() {
        for claimed in ["127.0.0.1, 192.0.2.1", "10.9.9.9,192.0.2.1", "not an address , 192.0.2.1", ",,,192.0.2.1"] {
            assert_eq!(told("10.0.0.1", PROXIES, &[claimed]).as_deref(), Some("192.0.2.1"), "{claimed}");
        }
        let spoofed = ["127.0.0.1", "192.0.2.1, 10.0.0.2"];
        assert_eq!(told("10.0.0.1", PROXIES, &spoofed).as_deref(), Some("192.0.2.1"), "over several fields");
        assert_eq!(
            told("10.0.0.1", PROXIES, &["10.0.0.3, 10.0.0.2"]).as_deref(),
            Some("10.0.0.3"),
            "proxies all along"
        );
    }

    #[test]
    fn a_hop_that_is_no_address_is_nobodys() {
        for hop in
            ["unknown", "_hidden", "", "192.0.2.1 192.0.2.2", "192.0.2", "fe80::1%eth0", "[fe80::1%2]:80", "\u{e9}"]
        {
            assert_eq!(told("10.0.0.1", PROXIES, &[&format!("192.0.2.1, {hop}")]), None, "{hop}");
        }
    }

    #[test]
    fn hops_may_have_ports() {
        for (hop, address) in [
            ("192.0.2.1:8080", "192.0.2.1"),
            ("[2001:db8::1]:8080", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(told("fd00::1", PROXIES, &[hop]).as_deref(), Some(address), "{hop}");
        }
    }
}
