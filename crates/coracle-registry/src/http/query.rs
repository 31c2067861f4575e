//! Parameters behind the `?`.

use axum::extract::Query;
use http::Uri;

use crate::error::RegistryError;

/// Parameters by name; the first of a name counts.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Self {
        // What cannot be decoded is no parameter that this registry knows.
        Self(
            Query::try_from_uri(uri)
                .map(|Query(pairs)| pairs)
                .unwrap_or_default(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `n` of a listing.
    pub(super) fn page(&self, default: usize) -> Result<usize, RegistryError> {
        let Some(n) = self.get("n") else {
            return Ok(default);
        };
        let n: u64 = n.parse().map_err(|_| RegistryError::PageInvalid)?;
        Ok(usize::try_from(n).unwrap_or(usize::MAX).min(default))
    }
}
