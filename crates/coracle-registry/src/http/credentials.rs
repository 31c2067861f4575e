//! The `Authorization` header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::access::{Credentials, Denied};

/// What the client presented. Something that cannot be read is not the same as nothing: it must not pass as anonymous.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Credentials>, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Denied::Unauthenticated);
    }
    value
        .to_str()
        .ok()
        .and_then(parse)
        .map(Some)
        .ok_or(Denied::Unauthenticated)
}

fn parse(value: &str) -> Option<Credentials> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (user, token) = decoded.split_once(':')?;
        return Some(Credentials::basic(user, token));
    }
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Some(Credentials::bearer(rest));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn parsed(value: &'static [u8]) -> Result<Option<Credentials>, Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        of(&headers)
    }

    #[test]
    fn basic_and_bearer_and_nothing_else() {
        assert_eq!(of(&HeaderMap::new()), Ok(None));
        assert_eq!(
            parsed(b"Basic YW5uOmE6Yg=="),
            Ok(Some(Credentials::basic("ann", "a:b")))
        );
        assert_eq!(parsed(b"bearer abc"), Ok(Some(Credentials::bearer("abc"))));
        for bad in [
            &b"Basic"[..],
            b"Basic !",
            b"Basic YW5u",
            b"Bearer ",
            b"Digest x",
            b"Basic /w==",
            b"\xff",
        ] {
            assert_eq!(parsed(bad), Err(Denied::Unauthenticated));
        }
    }
}
