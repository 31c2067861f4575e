//! What a request says that it takes (RFC 9110, sections 12.5 and 13.1.2).

use axum::http::{HeaderMap, HeaderName, header};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// The elements of a list in a header, with their weights in thousandths.
fn weighted(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, u32)> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let what = parts.next().unwrap_or_default();
            let weight = parts
                .filter_map(|part| part.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .and_then(|(_, weight)| weight.trim().parse::<f32>().ok())
                .filter(|weight| (0.0..=1.0).contains(weight));
            let thousandths = weight.map_or(1000, |weight| (weight * 1000.0).round() as u32);
            (what, thousandths)
        })
}

/// Does a page do? Browsers say so when somebody opens an address, and not when a page fetches something.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    weighted(headers, header::ACCEPT)
        .any(|(kind, weight)| weight > 0 && kind.eq_ignore_ascii_case("text/html"))
}

/// The best of what there is, the first one among equals.
pub(super) fn best_encoding<T>(
    headers: &HeaderMap,
    have: impl Iterator<Item = (Encoding, T)>,
) -> Option<(Encoding, T)> {
    let weight = |encoding: Encoding| {
        let find = |name: &str| {
            weighted(headers, header::ACCEPT_ENCODING)
                .find(|(coding, _)| coding.eq_ignore_ascii_case(name))
                .map(|(_, weight)| weight)
        };
        find(encoding.name()).or_else(|| find("*")).unwrap_or(0)
    };
    let mut best = None;
    let mut most = 0;
    for (encoding, what) in have {
        if weight(encoding) > most {
            most = weight(encoding);
            best = Some((encoding, what));
        }
    }
    best
}

/// Does the one who asks have what has this tag?
pub(super) fn knows(headers: &HeaderMap, etag: &str) -> bool {
    weighted(headers, header::IF_NONE_MATCH)
        .any(|(tag, _)| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_encoding_is_the_best_that_is_taken() {
        let both = [(Encoding::Brotli, ()), (Encoding::Gzip, ())];
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Brotli)),
            ("gzip", Some(Encoding::Gzip)),
            ("br;q=0.1, GZIP;q=0.5", Some(Encoding::Gzip)),
            ("br;q=0, *", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Brotli)),
            ("identity", None),
            ("br;q=0,gzip;q=0.0", None),
            ("", None),
            ("br;q=often", Some(Encoding::Brotli)),
        ] {
            let headers = with(header::ACCEPT_ENCODING, accepted);
            let best = best_encoding(&headers, both.into_iter()).map(|(encoding, ())| encoding);
            assert_eq!(best, expected, "{accepted:?}");
        }
    }

    #[test]
    fn pages_are_for_browsers() {
        let page = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(accepts_html(&with(header::ACCEPT, page)));
        for other in [
            "*/*",
            "image/avif,image/webp,*/*;q=0.8",
            "text/html;q=0",
            "application/json",
        ] {
            assert!(!accepts_html(&with(header::ACCEPT, other)), "{other}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (sent, same) in [
            ("\"a-br\"", true),
            ("W/\"a-br\"", true),
            ("\"b\", \"a-br\"", true),
            ("*", true),
            ("\"a\"", false),
            ("a-br", false),
        ] {
            let headers = with(header::IF_NONE_MATCH, sent);
            assert_eq!(knows(&headers, "\"a-br\""), same, "{sent}");
        }
    }
}
