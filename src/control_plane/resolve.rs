//! Where providers' names lead: looked up in time, checked each time (rule T5), believed for their TTL within bounds.
//!
//! `Names` is the memory and does no I/O; [`Resolver`] asks the system's name servers and `/etc/hosts`. While lookups fail the last
//! good addresses serve for [`DNS_STALE_MAX`]. Addresses that are not allowed are left out when they are handed on, so that a name
//! which begins to lead inside is cut off at the next lookup.

use crate::config::{BaseUrl, Reach, reach};
use crate::limits::{DNS_DEADLINE, DNS_STALE_MAX, DNS_TTL_MAX, DNS_TTL_MIN};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The longest pause between two lookups that fail.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What is known of the names in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_host: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    /// In order of preference; empty when nothing was ever found, or too long ago.
    addresses: Vec<IpAddr>,
    /// When they were last confirmed.
    confirmed: Option<Instant>,
    /// When to ask again.
    due: Instant,
    /// Lookups that failed in a row.
    failures: u32,
}

/// What a lookup found: addresses, and how long they may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// As the name server says; bounded here.
    pub ttl: Duration,
}

/// What a lookup changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// The addresses are others than before.
    Changed,
    /// Nothing that matters.
    Same,
    /// The lookup failed; what was known still serves, if anything was.
    Failed {
        /// Whether the one before failed too.
        again: bool,
    },
}

// === impl Names ===

impl Names {
    /// Keeps exactly these hosts; new ones are due at once.
    pub(super) fn keep<'h>(&mut self, hosts: impl Iterator<Item = &'h str>, now: Instant) {
        let wanted: BTreeSet<&str> = hosts.filter(|host| fixed(host).is_none()).collect();
        self.by_host.retain(|host, _| wanted.contains(host.as_str()));
        for host in wanted {
            let new = || Known { addresses: Vec::new(), confirmed: None, due: now, failures: 0 };
            self.by_host.entry(host.to_owned()).or_insert_with(new);
        }
    }

    /// The hosts to look up by now.
    pub(super) fn due(&self, now: Instant) -> Vec<String> {
        self.by_host.iter().filter(|(_, known)| known.due <= now).map(|(host, _)| host.clone()).collect()
    }

    /// Takes in the outcome of a lookup; a host that is no longer kept is ignored.
    pub(super) fn learn(&mut self, host: &str, outcome: Option<Found>, now: Instant) -> Learned {
        let Some(known) = self.by_host.get_mut(host) else { return Learned::Same };
        match outcome.filter(|found| !found.addresses.is_empty()) {
            Some(found) => {
                (known.confirmed, known.failures) = (Some(now), 0);
                known.due = now + found.ttl.clamp(DNS_TTL_MIN, DNS_TTL_MAX);
                // Name servers rotate their answers: an order alone is no news.
                let set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
                if set(&known.addresses) == set(&found.addresses) {
                    return Learned::Same;
                }
                known.addresses = interleaved(&found.addresses);
                Learned::Changed
            }
            None => {
                known.due = now + (DNS_TTL_MIN * 2_u32.saturating_pow(known.failures.min(8))).min(PAUSE_MAX);
                known.failures = known.failures.saturating_add(1);
                let stale = known.confirmed.is_none_or(|at| now.duration_since(at) > DNS_STALE_MAX);
                if stale && !known.addresses.is_empty() {
                    known.addresses.clear();
                    return Learned::Changed;
                }
                Learned::Failed { again: known.failures > 1 }
            }
        }
    }

    /// The addresses that a provider may be connected to by now, checked.
    pub(super) fn addresses(&self, url: &BaseUrl, allow_private: bool) -> Vec<SocketAddr> {
        let known = || self.by_host.get(url.host()).map(|known| known.addresses.clone()).unwrap_or_default();
        allowed(fixed(url.host()).unwrap_or_else(known), url, allow_private)
    }

    /// Whether a host leads somewhere at all.
    pub(super) fn leads_somewhere(&self, host: &str) -> bool {
        fixed(host).is_some() || self.by_host.get(host).is_some_and(|known| !known.addresses.is_empty())
    }
}

/// The addresses that may be connected to, with the port of the URL (rule T5).
fn allowed(addresses: Vec<IpAddr>, url: &BaseUrl, allow_private: bool) -> Vec<SocketAddr> {
    let allowed = addresses.into_iter().filter(|address| match reach(*address) {
        Reach::Public => true,
        Reach::Private => allow_private,
        Reach::Never => false,
    });
    allowed.map(|address| SocketAddr::new(address, url.port())).collect()
}

/// Looks a host up for one call of the control plane's own, and checks where it leads; empty when it leads nowhere that is allowed.
pub(super) async fn addresses_of(url: &BaseUrl, allow_private: bool, resolver: Option<&Resolver>) -> Vec<SocketAddr> {
    let addresses = match (fixed(url.host()), resolver) {
        (Some(addresses), _) => addresses,
        (None, Some(resolver)) => {
            let found = resolver.look_up(url.host()).await;
            found.map(|found| interleaved(&found.addresses)).unwrap_or_default()
        }
        (None, None) => Vec::new(),
    };
    allowed(addresses, url, allow_private)
}

/// The addresses of a host that no lookup is needed for: literals, and `localhost` (RFC 6761 §6.3).
fn fixed(host: &str) -> Option<Vec<IpAddr>> {
    if host == "localhost" {
        // IPv4 first: that is where servers of one's own listen, and a refused connection costs a round of its own.
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok().map(|address| vec![address])
}

/// IPv6 and IPv4 by turns, IPv6 first, each in its own order (RFC 8305 §4).
fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (mut six, mut four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv6());
    six.reverse();
    four.reverse();
    let mut ordered = Vec::with_capacity(addresses.len());
    while !six.is_empty() || !four.is_empty() {
        ordered.extend(six.pop());
        ordered.extend(four.pop());
    }
    ordered
}

// === Resolver ===

/// Looks names up, as the system is configured to.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Reads the system's configuration.
    ///
    /// # Errors
    /// One sentence when there is none that can be used.
    pub fn system() -> Result<Self, String> {
        let failed = |error| format!("the system's name resolution cannot be used ({error}); check /etc/resolv.conf");
        let mut builder = TokioResolver::builder_tokio().map_err(failed)?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        builder.build().map(Self).map_err(failed)
    }

    /// The addresses of a host; `None` when the lookup failed or took too long.
    pub async fn look_up(&self, host: &str) -> Option<Found> {
        let answer = tokio::time::timeout(DNS_DEADLINE, self.0.lookup_ip(host)).await.ok()?.ok()?;
        let ttl = answer.valid_until().saturating_duration_since(Instant::now());
        Some(Found { addresses: answer.iter().collect(), ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "api.example.com";

    fn names(now: Instant) -> Names {
        let mut names = Names::default();
        names.keep([HOST, "127.0.0.1", "[::1]", "localhost"].into_iter(), now);
        names
    }

    fn found(addresses: &[&str], seconds: u64) -> Option<Found> {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        Some(Found { addresses, ttl: Duration::from_secs(seconds) })
    }

    fn addresses(names: &Names, url: &str, private: bool) -> Vec<String> {
        let url = BaseUrl::parse(url, true).expect("a fine URL");
        names.addresses(&url, private).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn literals_and_localhost_need_no_lookup() {
        let now = Instant::now();
        let names = names(now);
        assert_eq!(names.due(now), [HOST]);
        assert_eq!(addresses(&names, "http://127.0.0.1:9/v1", true), ["127.0.0.1:9"]);
        assert_eq!(addresses(&names, "http://[::1]", true), ["[::1]:80"]);
        assert_eq!(addresses(&names, "http://localhost:11434", true), ["127.0.0.1:11434", "[::1]:11434"]);
        assert!(addresses(&names, "http://127.0.0.1:9/v1", false).is_empty(), "rule T5");
    }

    #[test]
    fn a_ttl_is_kept_within_bounds_and_a_rotated_answer_is_no_news() {
        let now = Instant::now();
        let mut names = names(now);
        assert_eq!(names.learn(HOST, found(&["1.1.1.1", "2606::1", "1.0.0.1"], 0), now), Learned::Changed);
        assert_eq!(
            addresses(&names, "https://api.example.com", false),
            ["[2606::1]:443", "1.1.1.1:443", "1.0.0.1:443"]
        );
        assert!(names.due(now + DNS_TTL_MIN - Duration::from_millis(1)).is_empty());
        let later = now + DNS_TTL_MIN;
        assert_eq!(names.due(later), [HOST]);
        assert_eq!(names.learn(HOST, found(&["1.0.0.1", "2606::1", "1.1.1.1"], 86_400), later), Learned::Same);
        assert!(names.due(later + DNS_TTL_MAX - Duration::from_millis(1)).is_empty());
        assert_eq!(names.due(later + DNS_TTL_MAX), [HOST]);
    }

    #[test]
    fn the_last_good_addresses_serve_while_lookups_fail_but_not_for_ever() {
        let now = Instant::now();
        let mut names = names(now);
        assert_eq!(names.learn(HOST, None, now), Learned::Failed { again: false });
        assert_eq!(names.learn(HOST, None, now), Learned::Failed { again: true });
        names.learn(HOST, found(&["1.1.1.1"], 60), now);
        let hour = now + DNS_STALE_MAX;
        assert_eq!(names.learn(HOST, None, hour), Learned::Failed { again: false });
        assert_eq!(addresses(&names, "https://api.example.com", false), ["1.1.1.1:443"]);
        assert_eq!(names.learn(HOST, None, hour + Duration::from_secs(1)), Learned::Changed);
        assert!(addresses(&names, "https://api.example.com", false).is_empty());
    }

    #[test]
    fn a_name_that_leads_inside_is_cut_off() {
        let now = Instant::now();
        let mut names = names(now);
        names.learn(HOST, found(&["1.1.1.1"], 60), now);
        names.learn(HOST, found(&["10.0.0.1", "169.254.169.254", "1.1.1.1"], 60), now);
        assert_eq!(addresses(&names, "https://api.example.com", false), ["1.1.1.1:443"]);
        assert_eq!(addresses(&names, "https://api.example.com", true), ["10.0.0.1:443", "1.1.1.1:443"]);
        names.keep([].into_iter(), now);
        assert_eq!(names.learn(HOST, found(&["1.1.1.1"], 60), now), Learned::Same, "no longer kept");
    }
}
