//! Which host a request is for.
//!
//! Theory of operation: the host is the only thing that says whose request this is, so there must be exactly one
//! reading of it. An absolute-form target wins over the `Host` header (RFC 9112, section 3.2.2) and replaces it,
//! so that pods read the same host as we do. Anything that two programs might read differently (several `Host`
//! headers, user information, characters outside of DNS names) is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};

use crate::refusal::Refusal;

/// Longest host name (RFC 1035) and its port.
const LONGEST: usize = 253 + ":65535".len() + ".".len();

/// A request's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A lower-case DNS name without port and trailing dot.
    Name(HostName),
    /// A literal address.
    Address(IpAddr),
}

/// A lower-case DNS name, shared with the request's own header where that is written so already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName {
    value: HeaderValue,
    length: usize,
}

impl HostName {
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII is let in by `parse`.
        self.value
            .to_str()
            .ok()
            .and_then(|v| v.get(..self.length))
            .unwrap_or_default()
    }
}

/// Reads the host, and leaves the request in origin-form with exactly one `Host` header.
pub(crate) fn of<B>(request: &mut Request<B>) -> Result<Host, Refusal> {
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        to_origin_form(request)?;
    }
    let mut values = request.headers().get_all(HOST).iter();
    let Some(value) = values.next() else {
        return Err(Refusal::BadHost {
            why: "The request has no Host header.",
        });
    };
    if values.next().is_some() {
        return Err(Refusal::BadHost {
            why: "The request has more than one Host header.",
        });
    }
    parse(value)
}

fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    let known = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let Some(authority) = uri.authority().filter(|_| known) else {
        return Err(Refusal::BadHost {
            why: "The request's target is not http or https.",
        });
    };
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_invalid| Refusal::BadHost {
        why: "The request's target has a bad host.",
    })?;
    let path = uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    request.headers_mut().insert(HOST, host);
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

fn parse(value: &HeaderValue) -> Result<Host, Refusal> {
    const WHY: &str = "The Host header is not a DNS name or an IP address.";
    let bad = || Refusal::BadHost { why: WHY };
    let text = value.to_str().map_err(|_not_ascii| bad())?;
    if text.len() > LONGEST {
        return Err(bad());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']').ok_or_else(bad)?;
        check_port(port).ok_or_else(bad)?;
        return inner
            .parse::<Ipv6Addr>()
            .map(|a| Host::Address(a.into()))
            .map_err(|_not_v6| bad());
    }
    let end = text.find(':').unwrap_or(text.len());
    check_port(&text[end..]).ok_or_else(bad)?;
    let name = text[..end].strip_suffix('.').unwrap_or(&text[..end]);
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let valid = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            let b = label.as_bytes();
            (1..=63).contains(&b.len())
                && b[0] != b'-'
                && b[b.len() - 1] != b'-'
                && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
        });
    if !valid {
        return Err(bad());
    }
    let length = name.len();
    let value = if name.bytes().any(|b| b.is_ascii_uppercase()) {
        HeaderValue::from_str(&name.to_ascii_lowercase()).map_err(|_invalid| bad())?
    } else {
        value.clone()
    };
    Ok(Host::Name(HostName { value, length }))
}

/// `port` is empty, or a colon and up to five digits (none at all is allowed by RFC 3986).
fn check_port(port: &str) -> Option<()> {
    let Some(digits) = port.strip_prefix(':') else {
        return port.is_empty().then_some(());
    };
    (digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        match parse(&HeaderValue::from_bytes(text.as_bytes()).unwrap()) {
            Ok(Host::Name(name)) => Some(name.as_str().to_owned()),
            Ok(Host::Address(address)) => Some(format!("ip {address}")),
            Err(_refused) => None,
        }
    }

    #[test]
    fn names_are_normalised() {
        for (given, want) in [
            ("shop.example", "shop.example"),
            ("SHOP.Example:8080", "shop.example"),
            ("shop.example.", "shop.example"),
            ("shop.example.:80", "shop.example"),
            ("shop.example:", "shop.example"),
            ("127.0.0.1:8080", "ip 127.0.0.1"),
            ("[::1]:8080", "ip ::1"),
            ("[::1]", "ip ::1"),
        ] {
            assert_eq!(name(given).as_deref(), Some(want), "{given}");
        }
    }

    #[test]
    fn hostile_hosts_are_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = "a.".repeat(200);
        for bad in [
            "",
            ".",
            ":80",
            "a..b",
            "..",
            "a b",
            "a/b",
            "a@b",
            "user:pw@shop.example",
            "a_b",
            "a\tb",
            "shop.example:80a",
            "shop.example:999999",
            "[::1",
            "[::1]x",
            "[zz]",
            "shop.exämple",
            "-a.example",
            "a-.example",
            "a,b",
            "a;b",
            "shop.example:80:80",
            "*.example",
            "%61.example",
            &long,
            &longer,
        ] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn absolute_form_wins_and_is_rewritten() {
        let mut request = Request::builder()
            .uri("http://Shop.example:8080/a?b=c")
            .header(HOST, "other.example")
            .body(())
            .unwrap();
        let Host::Name(host) = of(&mut request).unwrap() else {
            panic!("a name")
        };
        assert_eq!(host.as_str(), "shop.example");
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "Shop.example:8080");
        let mut ftp = Request::builder()
            .uri("ftp://shop.example/")
            .body(())
            .unwrap();
        assert!(of(&mut ftp).is_err());
    }

    #[test]
    fn two_hosts_are_refused() {
        let mut request = Request::builder()
            .uri("/")
            .header(HOST, "a")
            .header(HOST, "a")
            .body(())
            .unwrap();
        assert!(matches!(of(&mut request), Err(Refusal::BadHost { .. })));
        let mut none = Request::builder().uri("/").body(()).unwrap();
        assert!(matches!(of(&mut none), Err(Refusal::BadHost { .. })));
    }
}
