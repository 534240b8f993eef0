//! Address ranges in CIDR form, such as `10.0.0.0/8` and `fd00::/8` (RFC 4632 §3.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotACidr {
    /// No address before the prefix length.
    Address,
    /// A prefix length that is no number, or longer than the address; the widest there is.
    Prefix(u8),
    /// Bits are set beyond the prefix; the range that was probably meant.
    Beyond(Cidr),
}

impl Cidr {
    /// Reads a range, or a single address as the range of itself.
    ///
    /// # Errors
    /// [`NotACidr`]: what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotACidr> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(front, back)| (front, Some(back)));
        let address: IpAddr = address.parse().map_err(|_| NotACidr::Address)?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => widest,
            Some(digits) => plain_number(digits).filter(|prefix| *prefix <= widest).ok_or(NotACidr::Prefix(widest))?,
        };
        let network = match address {
            IpAddr::V4(v4) => IpAddr::V4(masked_v4(v4, prefix)),
            IpAddr::V6(v6) => IpAddr::V6(masked_v6(v6, prefix)),
        };
        let range = Self { network, prefix };
        if network == address { Ok(range) } else { Err(NotACidr::Beyond(range)) }
    }

    /// Whether the address lies in the range. An IPv4 address mapped into IPv6 counts as the IPv4 address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => masked_v4(address, self.prefix) == network,
            (IpAddr::V6(network), IpAddr::V6(address)) => masked_v6(address, self.prefix) == network,
            _ => false,
        }
    }
}

impl Cidr {
    /// Whether every address of the other range lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.network.is_ipv4() == other.network.is_ipv4() && self.prefix <= other.prefix && self.contains(other.network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
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

    #[test]
    fn a_range_covers_what_lies_in_it() {
        let covers = |own: &str, other: &str| {
            let range = |text| Cidr::parse(text).expect("a range");
            range(own).covers(&range(other))
        };
        assert!(
            covers("10.0.0.0/8", "10.0.0.0/8") && covers("10.0.0.0/8", "10.9.0.0/16") && covers("::/0", "fd00::/8")
        );
        assert!(!covers("10.0.0.0/9", "10.0.0.0/8") && !covers("10.0.0.0/8", "11.0.0.0/8"));
        // An IPv4 range written as mapped addresses is another family's; whoever means IPv4 writes IPv4.
        assert!(!covers("0.0.0.0/0", "::/0") && !covers("::/0", "0.0.0.0/0"));
    }
}
