//! What pods and clients see of each other's headers.
//!
//! Theory of operation: hop-by-hop headers (RFC 9110, section 7.6.1) speak of one connection and end here; the codec
//! writes its own for the next one. What says where a request came from (`X-Forwarded-*`) is ours to say: what a
//! client sends is replaced, unless it is a proxy that the operator trusts. Framing is never copied: a request with
//! `Transfer-Encoding` leaves with `chunked` alone and without a length, so no two programs on the way can see two
//! different ends of it.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, FORWARDED, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::connection::Peer;
use crate::refusal::Refusal;
use crate::request_id::X_REQUEST_ID;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Headers that a `Connection` header must not take away: they are the request's meaning, not the hop's.
const KEPT: [HeaderName; 3] = [HOST, CONTENT_LENGTH, X_REQUEST_ID];

/// Whether a request asks to leave HTTP, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An ordinary request.
    Stay,
    /// Change to the protocol in this `Upgrade` value.
    Upgrade(HeaderValue),
}

/// Makes a client's request headers fit to be sent to a pod; says whether it asks for an upgrade.
pub(crate) fn for_pod(headers: &mut HeaderMap, peer: &Peer) -> Result<Wish, Refusal> {
    let wish = wish(headers);
    let chunked = match headers.get(TRANSFER_ENCODING) {
        None => false,
        Some(coding) if headers.get_all(TRANSFER_ENCODING).iter().count() == 1 => {
            if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::UnknownCoding);
            }
            true
        }
        Some(_) => return Err(Refusal::UnknownCoding),
    };
    strip_hop(headers);
    // The codec answers "100 Continue" itself as soon as the pod's connection takes the body.
    headers.remove(EXPECT);
    headers.remove(PROXY_AUTHORIZATION);
    if chunked {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    forwarded(headers, peer);
    if let Wish::Upgrade(protocol) = &wish {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    Ok(wish)
}

/// Makes a pod's answer headers fit to be sent to a client; says how long the pod keeps the connection, if it does.
pub(crate) fn for_client(headers: &mut HeaderMap) -> Option<Duration> {
    let kept = headers.get(KEEP_ALIVE).and_then(keep_alive_timeout);
    strip_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
    kept
}

/// Says who the client is, whom it asked for, and how it came.
fn forwarded(headers: &mut HeaderMap, peer: &Peer) {
    let host = headers.get(HOST).cloned();
    if peer.trusted {
        match headers.entry(X_FORWARDED_FOR) {
            Entry::Vacant(vacant) => {
                vacant.insert(peer.address_text.clone());
            }
            Entry::Occupied(mut occupied) => {
                occupied.append(peer.address_text.clone());
            }
        }
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
        headers
            .entry(X_FORWARDED_PROTO)
            .or_insert(peer.scheme.clone());
        return;
    }
    headers.remove(FORWARDED);
    headers.remove(X_REAL_IP);
    headers.remove(X_FORWARDED_PORT);
    headers.insert(X_FORWARDED_FOR, peer.address_text.clone());
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_PROTO, peer.scheme.clone());
}

fn wish(headers: &HeaderMap) -> Wish {
    let Some(protocol) = headers.get(UPGRADE) else {
        return Wish::Stay;
    };
    let asked = tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
    // An upgrade to HTTP/2 in the clear would open a way around every rule of this gateway (RFC 9113 dropped it).
    let http2 = tokens(headers, &UPGRADE).any(|t| t.to_ascii_lowercase().starts_with("h2c"));
    if asked && !http2 {
        Wish::Upgrade(protocol.clone())
    } else {
        Wish::Stay
    }
}

fn strip_hop(headers: &mut HeaderMap) {
    if let Some(first) = headers.get(CONNECTION) {
        // "keep-alive" and "close" alone name no header: the usual case needs no list.
        let plain = [&b"keep-alive"[..], b"close", b"Keep-Alive", b"Close"];
        let several = headers.get_all(CONNECTION).iter().nth(1).is_some();
        if several || !plain.contains(&first.as_bytes()) {
            let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
                .filter_map(|t| HeaderName::from_bytes(t.as_bytes()).ok())
                .filter(|name| !KEPT.contains(name))
                .collect();
            for name in named {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TE);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|t| !t.is_empty())
}

/// The `timeout` of a `Keep-Alive` header, less a fifth: a request must not be on its way when it ends.
fn keep_alive_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let seconds = text
        .split(',')
        .find_map(|p| p.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(seconds.trim().parse::<u32>().ok()?.into()) * 4 / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    fn text(headers: &HeaderMap) -> String {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn hop_by_hop_headers_end_here() {
        let mut headers = map(&[
            ("host", "a.example"),
            ("connection", "close, X-Hop, content-length, host"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("proxy-connection", "keep-alive"),
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("upgrade", "h2c"),
        ]);
        assert_eq!(for_pod(&mut headers, &Peer::sample()).unwrap(), Wish::Stay);
        assert_eq!(
            text(&headers),
            "content-length: 3\nhost: a.example\nx-forwarded-for: 192.0.2.7\n\
             x-forwarded-host: a.example\nx-forwarded-proto: http"
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let mut peer = Peer::sample();
        peer.trusted = true;
        let mut headers = map(&[
            ("host", "a.example"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
        ]);
        for_pod(&mut headers, &peer).unwrap();
        assert_eq!(
            text(&headers),
            "host: a.example\nx-forwarded-for: 192.0.2.7\nx-forwarded-for: 203.0.113.9\n\
             x-forwarded-host: a.example\nx-forwarded-proto: https"
        );
    }

    #[test]
    fn two_framings_never_leave() {
        let mut both = map(&[
            ("host", "a"),
            ("transfer-encoding", "Chunked"),
            ("content-length", "3"),
        ]);
        for_pod(&mut both, &Peer::sample()).unwrap();
        assert_eq!(both.get(CONTENT_LENGTH), None);
        assert_eq!(both[TRANSFER_ENCODING], "chunked");
        for bad in ["gzip, chunked", "chunked, chunked", "xchunked", "identity"] {
            let mut headers = HeaderMap::new();
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static(bad));
            assert!(for_pod(&mut headers, &Peer::sample()).is_err(), "{bad}");
        }
        let mut twice = map(&[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ]);
        assert!(for_pod(&mut twice, &Peer::sample()).is_err());
    }

    #[test]
    fn upgrades_are_asked_for_again() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        let wish = for_pod(&mut headers, &Peer::sample()).unwrap();
        assert_eq!(wish, Wish::Upgrade(HeaderValue::from_static("websocket")));
        assert_eq!(headers[CONNECTION], "upgrade");
        assert_eq!(headers[UPGRADE], "websocket");
        let mut h2c = map(&[
            ("host", "a"),
            ("connection", "upgrade"),
            ("upgrade", "websocket, h2c"),
        ]);
        assert_eq!(for_pod(&mut h2c, &Peer::sample()).unwrap(), Wish::Stay);
        assert!(!h2c.contains_key(UPGRADE));
    }

    #[test]
    fn the_pods_keep_alive_time_is_read() {
        let mut headers = map(&[
            ("keep-alive", "timeout=5, max=100"),
            ("connection", "keep-alive"),
        ]);
        assert_eq!(for_client(&mut headers), Some(Duration::from_secs(4)));
        assert!(headers.is_empty());
        for odd in ["timeout=x", "max=3", "timeout=99999999999999"] {
            let mut headers = HeaderMap::new();
            headers.insert(KEEP_ALIVE, HeaderValue::from_static(odd));
            assert_eq!(for_client(&mut headers), None, "{odd}");
        }
    }
}
