//! Where a server is: what a person types, and what stands in a link.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use helpline_proto::text::{LineName, TextError};

/// The port dialled if none is named.
pub const PORT: u16 = 8001;

/// The scheme of a link.
const SCHEME: &str = "helpline://";

/// Where a server is.
///
/// Written `host`, `host:port`, `[v6]:port` or `helpline://host:port/line#sha256:…`. `Display` shows
/// host and port.
///
/// ```
/// use helpline_client::Address;
///
/// let address: Address = "helpline://[::1]/night-desk".parse()?;
/// assert_eq!(address.to_string(), "[::1]:8001");
/// # Ok::<(), helpline_client::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The TCP port, [`PORT`] if left out. Never 0.
    pub port: u16,
    /// The line that a link names.
    pub line: Option<LineName>,
    /// The fingerprint of the server's key that a link names.
    pub fingerprint: Option<Fingerprint>,
}

/// What a server's key is recognised by: the SHA-256 of its public key (`SubjectPublicKeyInfo`, DER).
///
/// Written `sha256:` and 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// What a fingerprint begins with.
const SHA256: &str = "sha256:";

/// Why that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The host is missing.
    #[error("the host is missing")]
    NoHost,
    /// The host isn't one.
    #[error("{0:?} is no host")]
    Host(String),
    /// What stands in brackets isn't an IPv6 address.
    #[error("{0:?} is no IPv6 address")]
    V6(String),
    /// An IPv6 address with a port, but without brackets.
    #[error("an IPv6 address with a port is written [::1]:{PORT}")]
    Brackets,
    /// The port isn't one.
    #[error("{0:?} is no port: 1 to 65535")]
    Port(String),
    /// The line's name isn't one.
    #[error("{name:?} is no name of a line: {why}")]
    Line {
        /// What stands there.
        name: String,
        /// What is wrong with it.
        why: TextError,
    },
    /// What follows `#` isn't a fingerprint.
    #[error(
        "behind '#' only a fingerprint may stand: sha256: and 64 hexadecimal digits in lower case"
    )]
    Fragment,
}

/// That isn't a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is sha256: and 64 hexadecimal digits in lower case")]
pub struct FingerprintError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        let written = written.trim();
        let link = written
            .split_at_checked(SCHEME.len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
        let Some((_, link)) = link else {
            let (host, port) = host_and_port(written)?;
            return Ok(Self { host, port, line: None, fingerprint: None });
        };
        let (link, fingerprint) = match link.split_once('#') {
            Some((link, fragment)) => {
                (link, Some(fragment.parse().map_err(|FingerprintError| AddressError::Fragment)?))
            }
            None => (link, None),
        };
        let (authority, line) = link.split_once('/').unwrap_or((link, ""));
        let (host, port) = host_and_port(authority)?;
        let line = match line {
            "" => None,
            name => Some(
                LineName::new(name)
                    .map_err(|why| AddressError::Line { name: name.to_owned(), why })?,
            ),
        };
        Ok(Self { host, port, line, fingerprint })
    }
}

fn host_and_port(written: &str) -> Result<(String, u16), AddressError> {
    if let Some(rest) = written.strip_prefix('[') {
        let (v6, rest) =
            rest.split_once(']').ok_or_else(|| AddressError::V6(written.to_owned()))?;
        let port = match rest.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if rest.is_empty() => PORT,
            None => return Err(AddressError::Host(written.to_owned())),
        };
        let v6 = parse_v6(v6).ok_or_else(|| AddressError::V6(v6.to_owned()))?;
        return Ok((v6, port));
    }
    match written.split_once(':') {
        Some((_, rest)) if rest.contains(':') => match parse_v6(written) {
            Some(v6) => Ok((v6, PORT)),
            None => Err(AddressError::Brackets),
        },
        Some((host, port)) => Ok((parse_host(host)?, parse_port(port)?)),
        None => Ok((parse_host(written)?, PORT)),
    }
}

/// An IPv6 address, maybe with the name of an interface behind `%`.
fn parse_v6(written: &str) -> Option<String> {
    let (v6, zone) = written.split_once('%').unwrap_or((written, "eth0"));
    v6.parse::<Ipv6Addr>().ok()?;
    let is_zone = !zone.is_empty() && zone.chars().all(|c| c.is_ascii_graphic());
    is_zone.then(|| written.to_owned())
}

fn parse_host(written: &str) -> Result<String, AddressError> {
    if written.is_empty() {
        return Err(AddressError::NoHost);
    }
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !"/?#@[]\\".contains(c);
    if written.starts_with('-') || !written.chars().all(fits) {
        return Err(AddressError::Host(written.to_owned()));
    }
    Ok(written.to_owned())
}

fn parse_port(written: &str) -> Result<u16, AddressError> {
    let port = written.parse().ok().filter(|port| *port != 0);
    port.filter(|_| !written.starts_with('+')).ok_or_else(|| AddressError::Port(written.to_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(written: &str) -> Result<Self, FingerprintError> {
        let digits = written.strip_prefix(SHA256).ok_or(FingerprintError)?;
        let mut bytes = [0; 32];
        if digits.len() != bytes.len() * 2 {
            return Err(FingerprintError);
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let value = match pair {
                [high, low] => nibble(*high).zip(nibble(*low)),
                _ => None,
            };
            *byte = value.map(|(high, low)| high << 4 | low).ok_or(FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHA256)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(written: &str) -> Result<(String, u16), AddressError> {
        written.parse::<Address>().map(|address| (address.host, address.port))
    }

    #[test]
    fn a_host_has_a_port_or_the_usual_one() {
        for (written, host, port) in [
            ("example.org", "example.org", 8001),
            ("example.org:9", "example.org", 9),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            (" localhost ", "localhost", 8001),
            ("büro.example", "büro.example", 8001),
        ] {
            assert_eq!(parsed(written), Ok((host.to_owned(), port)), "{written}");
        }
    }

    #[test]
    fn n28_an_ipv6_address_has_brackets_where_a_port_follows() {
        for (written, host, port) in [
            ("::1", "::1", 8001),
            ("[::1]", "::1", 8001),
            ("[::1]:80", "::1", 80),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
            ("helpline://[2001:db8::1]:7/", "2001:db8::1", 7),
        ] {
            assert_eq!(parsed(written), Ok((host.to_owned(), port)), "{written}");
        }
        assert_eq!("::1".parse::<Address>().map(|a| a.to_string()), Ok("[::1]:8001".to_owned()));
        assert_eq!(parsed("a:b:c"), Err(AddressError::Brackets));
        assert_eq!(parsed("[1.2.3.4]:80"), Err(AddressError::V6("1.2.3.4".to_owned())));
        assert!(matches!(parsed("[::1"), Err(AddressError::V6(_))));
        assert!(matches!(parsed("[::1]x"), Err(AddressError::Host(_))));
        assert!(matches!(parsed("[::1%]"), Err(AddressError::V6(_))));
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for bad in ["", ":80", "helpline://", "helpline:///main"] {
            assert_eq!(parsed(bad), Err(AddressError::NoHost), "{bad}");
        }
        for bad in ["a b", "a/b", "me@host", "a#b", "-x", "http://example.org", "a\u{1b}b"] {
            assert!(
                matches!(parsed(bad), Err(AddressError::Host(_) | AddressError::Port(_))),
                "{bad}"
            );
        }
        for bad in ["a:", "a:0", "a:65536", "a:+1", "a:x", "[::1]:"] {
            assert!(matches!(parsed(bad), Err(AddressError::Port(_))), "{bad}");
        }
    }

    #[test]
    fn a_link_names_the_line_and_the_key() {
        let fingerprint = Fingerprint([0xab; 32]);
        let address: Address =
            format!("HELPLINE://example.org:80/main#{fingerprint}").parse().unwrap();
        assert_eq!(
            address,
            Address {
                host: "example.org".to_owned(),
                port: 80,
                line: Some(LineName::new("main").unwrap()),
                fingerprint: Some(fingerprint),
            }
        );
        let bare: Address = "helpline://example.org".parse().unwrap();
        assert_eq!((bare.line, bare.fingerprint), (None, None));
        assert!(matches!(parsed("helpline://a/b/c"), Err(AddressError::Line { .. })));
        assert!(matches!(parsed("helpline://a/b?c"), Err(AddressError::Line { .. })));
        assert_eq!(parsed("helpline://a/#"), Err(AddressError::Fragment));
        assert_eq!(parsed("helpline://a#md5:1"), Err(AddressError::Fragment));
        assert_eq!(parsed("helpline://a#sha256:"), Err(AddressError::Fragment));
    }

    #[test]
    fn a_fingerprint_has_64_digits_in_lower_case() {
        let written = format!("sha256:{}", "0f".repeat(32));
        let fingerprint: Fingerprint = written.parse().unwrap();
        assert_eq!((fingerprint, fingerprint.to_string()), (Fingerprint([0x0f; 32]), written));
        let (short, long) = ("0f".repeat(31), "0f".repeat(33));
        let (upper, wide) = ("0F".repeat(32), "é".repeat(32));
        for bad in [&short, &long, &upper, &wide, "", &"+f".repeat(32)] {
            assert_eq!(format!("sha256:{bad}").parse::<Fingerprint>(), Err(FingerprintError));
        }
        assert_eq!("0f".repeat(32).parse::<Fingerprint>(), Err(FingerprintError));
    }
}
