//! Where a server is: what a person types, and what stands in a link.

use core::net::Ipv6Addr;
use std::{fmt, str::FromStr};

use crate::{
    ids::hex_digits,
    text::{LineName, TextError},
};

/// The port dialled if none is named.
pub const PORT: u16 = 8001;

/// The scheme of a link.
const SCHEME: &str = "helpline://";

/// The hash that a fingerprint is made with, as it stands before the digits.
const HASH: &str = "sha256:";

/// Where a server is.
///
/// Written `host`, `host:port`, `[v6]:port` or `helpline://host:port/line#sha256:…`. `Display` shows
/// host and port, [`link`](Self::link) everything.
///
/// ```
/// use helpline_proto::address::Address;
///
/// let address: Address = "helpline://[::1]/night-desk".parse()?;
/// assert_eq!(address.to_string(), "[::1]:8001");
/// assert_eq!(address.link().to_string(), "helpline://[::1]:8001/night-desk");
/// # Ok::<(), helpline_proto::address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The TCP port, [`PORT`] if left out. Never 0.
    pub port: u16,
    /// The line that a link names.
    pub line: Option<LineName>,
    /// The key that a link demands of the server.
    pub fingerprint: Option<Fingerprint>,
}

/// Tells one server's key from every other: the SHA-256 of its certificate's `SubjectPublicKeyInfo` in DER.
///
/// Written `sha256:` and 64 hexadecimal digits, in lower case; read in any case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Fingerprint(pub [u8; 32]);

hex_digits!(Fingerprint, 32);

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
    /// What stands behind `#`, or for a fingerprint, isn't one.
    #[error("a fingerprint is written sha256: and 64 hexadecimal digits")]
    Fragment,
}

impl Address {
    /// The link that says all of it: what was parsed is parsed from it again.
    ///
    /// `helpline://host:port/line#sha256:…`, with a port always, and without the parts that are absent.
    #[must_use]
    pub fn link(&self) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            write!(f, "{SCHEME}{self}")?;
            if let Some(line) = &self.line {
                write!(f, "/{line}")?;
            }
            if let Some(fingerprint) = &self.fingerprint {
                write!(f, "#{fingerprint}")?;
            }
            Ok(())
        })
    }
}

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
            Some((link, fragment)) => (link, Some(fragment.parse()?)),
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
    let is_zone = !zone.is_empty() && zone.chars().all(|c| c.is_ascii_graphic() && fits(c));
    is_zone.then(|| written.to_owned())
}

fn parse_host(written: &str) -> Result<String, AddressError> {
    if written.is_empty() {
        return Err(AddressError::NoHost);
    }
    if written.starts_with('-') || !written.chars().all(fits) {
        return Err(AddressError::Host(written.to_owned()));
    }
    Ok(written.to_owned())
}

/// Whether a character may stand in a host, and ends nothing in a link.
fn fits(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !"/?#@[]\\".contains(c)
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
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        let digits = written.strip_prefix(HASH).ok_or(AddressError::Fragment)?;
        Self::from_hex(digits).map_err(|_| AddressError::Fragment)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH}{}", self.to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn what_would_end_a_part_of_a_link_is_in_no_zone() {
        for bad in ["::1%a/b", "::1%a#b", "[::1%a/b]:80", "::1%a]", "::1%a b", "::1%ä"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_names_the_line_and_the_key() {
        let key = Fingerprint([0xab; 32]);
        let link = format!("HELPLINE://example.org:80/main#sha256:{}", "aB".repeat(32));
        let address: Address = link.parse().unwrap();
        assert_eq!(
            address,
            Address {
                host: "example.org".to_owned(),
                port: 80,
                line: Some(LineName::new("main").unwrap()),
                fingerprint: Some(key),
            }
        );
        assert_eq!(key.to_string(), format!("sha256:{}", "ab".repeat(32)));
        let bare: Address = "helpline://example.org".parse().unwrap();
        assert_eq!((bare.line, bare.fingerprint), (None, None));
        assert!(matches!(parsed("helpline://a/b/c"), Err(AddressError::Line { .. })));
        assert!(matches!(parsed("helpline://a/b?c"), Err(AddressError::Line { .. })));
    }

    #[test]
    fn a_fingerprint_is_whole_or_refused() {
        let digits = "0".repeat(64);
        let too_few = "0".repeat(63);
        for bad in [
            String::new(),
            "md5:1".to_owned(),
            "sha256:".to_owned(),
            digits.clone(),
            format!("SHA256:{digits}"),
            format!("sha256:{digits}0"),
            format!("sha256:{too_few}"),
            format!("sha256:{too_few}x"),
            format!("sha256:+{too_few}"),
            format!("sha256: {digits}"),
            format!("sha256:{digits}#"),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(AddressError::Fragment), "{bad}");
            assert_eq!(parsed(&format!("helpline://a/#{bad}")), Err(AddressError::Fragment));
        }
        assert_eq!(format!("sha256:{digits}").parse(), Ok(Fingerprint([0; 32])));
    }

    #[test]
    fn a_link_leaves_out_what_is_absent_but_never_the_port() {
        for (written, link) in [
            ("example.org", "helpline://example.org:8001"),
            ("::1", "helpline://[::1]:8001"),
            ("helpline://[fe80::1%eth0]:80/", "helpline://[fe80::1%eth0]:80"),
            ("helpline://büro.example/night", "helpline://büro.example:8001/night"),
        ] {
            assert_eq!(written.parse::<Address>().unwrap().link().to_string(), link);
        }
        let key = format!("helpline://a:1#sha256:{}", "0f".repeat(32));
        assert_eq!(key.parse::<Address>().unwrap().link().to_string(), key);
    }

    fn reads_back(address: &Address) {
        assert_eq!(address.link().to_string().parse().as_ref(), Ok(address));
        let bare = Address { line: None, fingerprint: None, ..address.clone() };
        assert_eq!(address.to_string().parse(), Ok(bare));
    }

    proptest! {
        #![proptest_config(crate::tests::cases(256))]

        #[test]
        fn a_link_reads_back_equal(
            host in "[a-z0-9ü][a-z0-9.ü_-]{0,30}|[0-9a-f:]{0,4}::[0-9a-f]{0,4}(%[a-z0-9.:_-]{1,8})?",
            port in 1_u16..,
            line in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"),
            key in proptest::option::of(any::<[u8; 32]>()),
        ) {
            let address = Address {
                host,
                port,
                line: line.map(|line| LineName::new(line).unwrap()),
                fingerprint: key.map(Fingerprint),
            };
            prop_assume!(!address.host.contains(':') || parse_v6(&address.host).is_some());
            reads_back(&address);
        }

        #[test]
        fn whatever_is_taken_for_an_address_has_a_link(
            written in "(helpline://)?[\\[\\]:%/#@a-f0-9. \\PC-]{0,20}(:[0-9]{1,5})?(/[a-z.]{0,3})?"
        ) {
            if let Ok(address) = written.parse() {
                reads_back(&address);
            }
        }
    }
}
