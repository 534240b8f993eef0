//! Address ranges in CIDR form, such as `10.0.0.0/8` and `fd00::/8` (RFC 4632 §3.1).

use super::leaf::{Reading, text};
use super::problem::{Complaint, quoted};
use super::read::Typed;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether the address lies in the range. An IPv4 address mapped into IPv6 counts as the IPv4 address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => masked_v4(address, self.prefix) == network,
            (IpAddr::V6(network), IpAddr::V6(address)) => masked_v6(address, self.prefix) == network,
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Reads a range, or a single address as the range of itself.
pub(super) fn cidr(typed: &Typed) -> Reading<Cidr> {
    let text = text(typed)?;
    let refused = |why: &str, remedy: String| Complaint::new(format!("is {}, {why}", quoted(&text)), remedy);
    let example = || "write it as in \"10.0.0.0/8\" or \"fd00::/8\"".to_owned();
    let (address, prefix) = text.split_once('/').map_or((text.as_str(), None), |(front, back)| (front, Some(back)));
    let address: IpAddr = address.parse().map_err(|_| refused("not an address range", example()))?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => widest,
        Some(digits) => plain_number(digits).filter(|prefix| *prefix <= widest).ok_or_else(|| {
            refused("a range with a bad prefix length", format!("write a length from 0 to {widest} after `/`"))
        })?,
    };
    let network = match address {
        IpAddr::V4(v4) => IpAddr::V4(masked_v4(v4, prefix)),
        IpAddr::V6(v6) => IpAddr::V6(masked_v6(v6, prefix)),
    };
    if network != address {
        return Err(refused("a range with bits beyond its prefix", format!("did you mean \"{network}/{prefix}\"?")));
    }
    Ok(Cidr { network, prefix })
}

/// Digits only: the standard parser would take a sign.
fn plain_number(digits: &str) -> Option<u8> {
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn masked_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Reading<Cidr> {
        cidr(&Typed::Text(text.to_owned()))
    }

    #[test]
    fn ranges_contain_what_they_say() {
        let contains = |range: &str, address: &str| {
            parsed(range).expect("a fine range").contains(address.parse().expect("a fine address"))
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1") && !contains("10.0.0.0/8", "::1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && contains("::/0", "2001:db8::1"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("fd00::/8", "fdff::1") && !contains("fd00::/8", "fe00::1"));
    }

    #[test]
    fn bad_ranges_are_refused() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "host/8", ""] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
