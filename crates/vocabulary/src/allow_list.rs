//! Which hosts and ports may register: the orchestrator calls whoever does, so nobody may send it anywhere. It must not
//! resolve names: a name is allowed as a name.

use std::net::IpAddr;

/// Patterns of hosts and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    host: Host,
    first_port: u16,
    last_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// One name.
    Name(String),
    /// Names that end so: `*.judges.svc`.
    Suffix(String),
    /// Addresses that begin with so many bits.
    Network(IpAddr, u8),
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern of hosts and ports, such as 127.0.0.1:*, 10.0.0.0/8:8000-8100, *.judges.svc:8010"
)]
pub struct BadPattern(String);

impl AllowList {
    /// Reads patterns `host:port`: a host is a name, `*.` and a suffix, an address or a network with its prefix length (IPv6
    /// in brackets); a port is a number, a range or `*`.
    ///
    /// # Errors
    /// The first that is no pattern.
    pub fn parse(patterns: &[String]) -> Result<Self, BadPattern> {
        let parse = |text: &String| pattern(text).ok_or_else(|| BadPattern(text.clone()));
        Ok(Self(patterns.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// Whether one may register so.
    #[must_use]
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let name = host.to_ascii_lowercase();
        self.0.iter().any(|pattern| {
            let fits = match (&pattern.host, address) {
                (Host::Network(network, bits), Some(address)) => is_in(address, *network, *bits),
                (Host::Name(allowed), None) => *allowed == name,
                (Host::Suffix(suffix), None) => name.len() > suffix.len() && name.ends_with(suffix),
                _ => false,
            };
            fits && (pattern.first_port..=pattern.last_port).contains(&port)
        })
    }
}

fn pattern(text: &str) -> Option<Pattern> {
    let (host, ports) = text.rsplit_once(':')?;
    let (first_port, last_port) = match ports.split_once('-') {
        _ if ports == "*" => (1, u16::MAX),
        Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
        None => (ports.parse().ok()?, ports.parse().ok()?),
    };
    let bare = host.trim_matches(['[', ']']);
    let (base, bits) = bare.split_once('/').map_or((bare, None), |(base, bits)| (base, Some(bits)));
    let host = match base.parse::<IpAddr>() {
        Ok(address) => {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
            (bits <= most).then_some(Host::Network(address, bits))?
        }
        Err(_) => {
            let name = bare.to_ascii_lowercase();
            let plain = |name: &str| {
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            };
            match name.strip_prefix('*') {
                Some(suffix) => {
                    (suffix.starts_with('.') && plain(suffix)).then(|| Host::Suffix(suffix.to_owned()))?
                }
                None => plain(&name).then_some(Host::Name(name))?,
            }
        }
    };
    (first_port > 0 && first_port <= last_port).then_some(Pattern { host, first_port, last_port })
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let top = |value: u128, width: u8| if bits == 0 { 0 } else { value >> (width - bits) };
    match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            top(u128::from(address.to_bits()), 32) == top(u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            top(address.to_bits(), 128) == top(network.to_bits(), 128)
        }
        _ => false,
    }
}
