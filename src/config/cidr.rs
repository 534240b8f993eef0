//! Address ranges as typed.

use super::leaf::{Reading, text};
use super::problem::{Complaint, quoted};
use super::read::Typed;
pub use crate::domain::cidr::Cidr;
use crate::domain::cidr::NotACidr;

/// Reads a range, or a single address as the range of itself.
pub(super) fn cidr(typed: &Typed) -> Reading<Cidr> {
    let text = text(typed)?;
    Cidr::parse(&text).map_err(|why| {
        let (why, remedy) = match why {
            NotACidr::Address => ("not an address range", "write it as in \"10.0.0.0/8\" or \"fd00::/8\"".to_owned()),
            NotACidr::Prefix(widest) => {
                ("a range with a bad prefix length", format!("write a length from 0 to {widest} after `/`"))
            }
            NotACidr::Beyond(range) => ("a range with bits beyond its prefix", format!("did you mean \"{range}\"?")),
        };
        Complaint::new(format!("is {}, {why}", quoted(&text)), remedy)
    })
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
