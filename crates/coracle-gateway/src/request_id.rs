//! One id per request, in the gateway's answers and in what pods see.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a client.
const LONGEST: usize = 128;

/// Keeps a well-formed id that came with the request, else makes one. Ids find log lines; they protect nothing,
/// so a fast random source is enough.
pub(crate) fn of(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get(X_REQUEST_ID)
        && well_formed(given.as_bytes())
    {
        let given = given.clone();
        if headers.get_all(X_REQUEST_ID).iter().nth(1).is_some() {
            headers.insert(X_REQUEST_ID, given.clone());
        }
        return given;
    }
    let id = fresh();
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

fn well_formed(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b))
}

fn fresh() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut random = fastrand::u128(..);
    let mut text = [0; 32];
    for place in &mut text {
        *place = DIGITS[(random & 0xf) as usize];
        random >>= 4;
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ids_are_kept_others_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("abc-1.2"));
        assert_eq!(of(&mut headers), "abc-1.2");
        for bad in ["", "a b", "<script>", &"a".repeat(129)] {
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            let id = of(&mut headers);
            assert_eq!(id.len(), 32, "{bad:?}");
            assert_eq!(headers[X_REQUEST_ID], id);
        }
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("one"));
        headers.append(X_REQUEST_ID, HeaderValue::from_static("two"));
        assert_eq!(of(&mut headers), "one");
        assert_eq!(headers.get_all(X_REQUEST_ID).iter().count(), 1);
    }
}
