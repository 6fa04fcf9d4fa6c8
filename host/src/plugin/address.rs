//! Which machines a plugin may reach: the destinations that its sidecar names, and the addresses
//! that no name may stand for.
//!
//! A name is granted by whoever wrote the sidecar, but what it resolves to is up to whoever runs its
//! DNS. So an address inside the host's own machine or network, or with a meaning of its own, is
//! only admitted when the sidecar names that very address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::Deserialize;

/// A host and a port, as a sidecar grants it and a request names it: `hooks.example.com:443`,
/// `10.0.0.5:8080`, `[2001:db8::1]:443`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Destination {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// IPv4 in IPv6 is kept as IPv4, so that one address has one spelling.
    Address(IpAddr),
    /// Lower case.
    Name(String),
}

impl Destination {
    /// Where a request to `host` goes; `None` when that is neither an address nor a name. IPv6 may be
    /// in brackets, as in a URI.
    pub(super) fn new(host: &str, port: u16) -> Option<Self> {
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) => Host::Address(v6.parse::<Ipv6Addr>().ok()?.to_canonical()),
            None => match host.parse::<Ipv4Addr>() {
                Ok(v4) => Host::Address(v4.into()),
                Err(_) if is_name(host) => Host::Name(host.to_ascii_lowercase()),
                Err(_) => return None,
            },
        };
        (port != 0).then_some(Self { host, port })
    }

    /// The address, when it is one that needs no resolving.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Address(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }

    /// The host without brackets: to resolve, and to hold a certificate against.
    pub(super) fn host(&self) -> String {
        match &self.host {
            Host::Address(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

fn is_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&host.len()) && host.bytes().all(allowed)
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            // Rust's own parser would take "+80" too.
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            Self::new(host, port.parse().ok().filter(|_| digits)?)
        });
        parsed.ok_or_else(|| {
            format!(
                "{text:?} is not host:port (like \"hooks.example.com:443\" or \"[::1]:8080\"; no \
                 scheme, no path, no wildcard)"
            )
        })
    }
}

impl TryFrom<String> for Destination {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The destinations that one sidecar grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AllowList(Vec<Destination>);

impl AllowList {
    pub(super) fn new(granted: &[Destination]) -> Self {
        Self(granted.to_vec())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request may name this destination.
    pub(super) fn grants(&self, destination: &Destination) -> bool {
        self.0.contains(destination)
    }

    /// Whether the granted `destination` may be reached at this address, which it resolved to.
    ///
    /// # Errors
    /// What kind of address it is, when it may not.
    pub(super) fn admits(
        &self,
        destination: &Destination,
        address: IpAddr,
    ) -> Result<(), &'static str> {
        let address = address.to_canonical();
        let Some(kind) = special(address) else { return Ok(()) };
        let itself = Destination { host: Host::Address(address), port: destination.port };
        let is_localhost = destination.host == Host::Name("localhost".into());
        match self.grants(&itself) || (is_localhost && address.is_loopback()) {
            true => Ok(()),
            false => Err(kind),
        }
    }
}

/// What an address is that is not simply a machine on the public internet. After IANA's registries
/// of special-purpose addresses, and strict where they are: what is not global unicast is special.
fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "this network",
        [127, ..] => "loopback",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "shared by a carrier's customers",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] | [192, 88, 99, _] => "reserved for a protocol",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [198, 18..=19, ..] => "benchmarking",
        [224..=239, ..] => "multicast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        // NAT64 leads to the IPv4 address in its end.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            return special_v4(Ipv4Addr::new(a, b, c, d));
        }
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfeff, ..] => "link-local",
        [0xff00..=0xffff, ..] => "multicast",
        // Teredo and others: addresses in which another address is wrapped.
        [0x2001, 0..=0x1ff, ..] => "reserved for a protocol",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "documentation",
        [0x2002, ..] => "IPv4 in disguise",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(granted: &[&str]) -> AllowList {
        AllowList::new(&granted.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    fn special_text(text: &str) -> Option<&'static str> {
        special(text.parse().unwrap())
    }

    #[test]
    fn the_first_and_last_address_of_each_special_range_is_special_and_its_neighbours_are_not() {
        for (first, last, kind) in [
            ("0.0.0.0", "0.255.255.255", "this network"),
            ("10.0.0.0", "10.255.255.255", "private"),
            ("100.64.0.0", "100.127.255.255", "shared by a carrier's customers"),
            ("127.0.0.0", "127.255.255.255", "loopback"),
            ("169.254.0.0", "169.254.255.255", "link-local"),
            ("172.16.0.0", "172.31.255.255", "private"),
            ("192.0.0.0", "192.0.0.255", "reserved for a protocol"),
            ("192.0.2.0", "192.0.2.255", "documentation"),
            ("192.88.99.0", "192.88.99.255", "reserved for a protocol"),
            ("192.168.0.0", "192.168.255.255", "private"),
            ("198.18.0.0", "198.19.255.255", "benchmarking"),
            ("198.51.100.0", "198.51.100.255", "documentation"),
            ("203.0.113.0", "203.0.113.255", "documentation"),
            ("224.0.0.0", "239.255.255.255", "multicast"),
            ("240.0.0.0", "255.255.255.255", "reserved"),
        ] {
            let number = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
            let at = |number: u32| special_v4(Ipv4Addr::from(number));
            let (first, last) = (number(first), number(last));
            assert_eq!((at(first), at(last)), (Some(kind), Some(kind)), "{kind}");
            for neighbour in [first.checked_sub(1), last.checked_add(1)].into_iter().flatten() {
                let address = Ipv4Addr::from(neighbour);
                // Two ranges touch: multicast and reserved.
                assert_ne!(special_v4(address), Some(kind), "{address}");
            }
        }
        for public in
            ["1.1.1.1", "9.255.255.255", "100.63.255.255", "100.128.0.0", "223.255.255.255"]
        {
            assert_eq!(special_text(public), None, "{public}");
        }
    }

    #[test]
    fn special_ranges_of_ipv6_are_known() {
        for (text, kind) in [
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "reserved"),
            ("::127.0.0.1", "reserved"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::10.1.2.3", "private"),
            ("64:ff9b:1::10.1.2.3", "reserved"),
            ("100::1", "reserved"),
            ("2001::1", "reserved for a protocol"),
            ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved for a protocol"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::1", "IPv4 in disguise"),
            ("3fff::1", "documentation"),
            ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "link-local"),
            ("ff02::1", "multicast"),
        ] {
            assert_eq!(special_text(text), Some(kind), "{text}");
        }
        for public in
            ["2000::1", "2001:200::1", "2606:4700::1111", "3fff:1000::1", "64:ff9b::1.1.1.1"]
        {
            assert_eq!(special_text(public), None, "{public}");
        }
    }

    #[test]
    fn a_special_address_is_admitted_only_by_its_own_name() {
        let name: Destination = "hooks.test:443".parse().unwrap();
        for special in ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fd00::1"] {
            let ip: IpAddr = special.parse().unwrap();
            assert!(list(&["hooks.test:443"]).admits(&name, ip).is_err(), "{special}");
            let itself = SocketAddr::new(ip, 443).to_string();
            assert_eq!(list(&["hooks.test:443", &itself]).admits(&name, ip), Ok(()), "{special}");
            let other_port = SocketAddr::new(ip, 80).to_string();
            assert!(list(&["hooks.test:443", &other_port]).admits(&name, ip).is_err(), "{special}");
        }
        assert_eq!(list(&["hooks.test:443"]).admits(&name, [1, 1, 1, 1].into()), Ok(()));
    }

    #[test]
    fn localhost_may_be_loopback_and_nothing_else() {
        let localhost: Destination = "LocalHost:80".parse().unwrap();
        let granted = list(&["localhost:80"]);
        assert!(granted.grants(&localhost));
        assert_eq!(granted.admits(&localhost, [127, 0, 0, 1].into()), Ok(()));
        assert_eq!(granted.admits(&localhost, Ipv6Addr::LOCALHOST.into()), Ok(()));
        assert_eq!(granted.admits(&localhost, [10, 0, 0, 1].into()), Err("private"));
    }

    #[test]
    fn a_grant_is_matched_exactly() {
        let granted = list(&["Hooks.Example.com:443", "[::FFFF:10.0.0.5]:80", "[2001:DB8::1]:80"]);
        for same in ["hooks.example.com:443", "10.0.0.5:80", "[2001:db8:0::1]:80"] {
            assert!(granted.grants(&same.parse().unwrap()), "{same}");
        }
        for other in [
            "hooks.example.com:80",
            "example.com:443",
            "a.hooks.example.com:443",
            "hooks.example.com.evil.test:443",
            "hooks.example.com.:443",
            "10.0.0.5:443",
            "167772165:80",
        ] {
            assert!(!granted.grants(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn what_is_not_a_destination_is_refused() {
        for text in [
            "",
            ":",
            ":80",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+80",
            "host:80/",
            "https://host:443",
            "*.example.com:443",
            "user@host:80",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[host]:80",
            "[127.0.0.1]:80",
            "ho st:80",
            "höst:80",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ipv4_in_ipv6_is_judged_as_ipv4(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let octets = v4.octets();
            let nat64 = Ipv6Addr::from_bits((0x64_ff9b_u128 << 96) | u128::from(bits));
            prop_assert_eq!(special(v4.to_ipv6_mapped().into()), special(v4.into()));
            prop_assert_eq!(special(nat64.into()), special(v4.into()));
            prop_assert!(special(v4.to_ipv6_compatible().into()).is_some());
            let sixtofour = Ipv6Addr::from_bits((0x2002_u128 << 112) | (u128::from(bits) << 80));
            prop_assert!(special(sixtofour.into()).is_some(), "{:?}", octets);
        }

        #[test]
        fn what_the_standard_library_knows_as_special_is_special(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let known = v4.is_private() || v4.is_loopback() || v4.is_link_local()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_multicast()
                || v4.is_unspecified();
            prop_assert!(!known || special(v4.into()).is_some(), "{}", v4);
        }

        #[test]
        fn only_global_unicast_of_ipv6_is_not_special(bits: u128) {
            let v6 = Ipv6Addr::from_bits(bits);
            let global = v6.segments()[0] & 0xe000 == 0x2000;
            prop_assert!(global || special(v6.into()).is_some() || v6.to_ipv4_mapped().is_some());
        }

        #[test]
        fn a_destination_reads_as_it_is_written(bits: u128, v4: u32, port in 1_u16.., name in "[a-z0-9_-]{1,20}(\\.[a-z0-9_-]{1,20}){0,3}") {
            for host in [format!("[{}]", Ipv6Addr::from_bits(bits)), Ipv4Addr::from(v4).to_string(), name] {
                let destination = Destination::new(&host, port).unwrap();
                let again: Destination = destination.to_string().parse().unwrap();
                prop_assert_eq!(destination, again);
            }
        }
    }
}
