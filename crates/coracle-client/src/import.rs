//! What another platform exported, taken in.

use bytes::Bytes;
use coracle_model::env::Secret;
use coracle_model::import::{ImportLine, OnConflict};
use futures::{Stream, StreamExt as _};
use http::Method;
use http::header::CONTENT_TYPE;

use crate::client::Client;
use crate::export::with_passphrase;
use crate::lines::Lines;
use crate::{Items, Result};

/// The most bytes of one line: a report names every app.
const LINE_BYTES: usize = 16 << 20;

/// How to import.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportQuery {
    /// What to do about what is there already.
    pub on_conflict: OnConflict,
    /// Only say what would become of it.
    pub check: bool,
}

impl Client {
    /// Sends an archive, and tells how its import goes on. The last line is a report or a problem.
    ///
    /// # Errors
    /// [`ClientError`], also as an item of the stream, which then ends.
    pub async fn import(
        &self,
        query: ImportQuery,
        passphrase: Option<&Secret>,
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<Items<ImportLine>> {
        let on_conflict = match query.on_conflict {
            OnConflict::Fail => "fail",
            OnConflict::Skip => "skip",
            OnConflict::Replace => "replace",
        };
        let check = query.check.to_string();
        let pairs = [("on_conflict", on_conflict), ("check", check.as_str())];
        let request = self
            .request(Method::POST, "/import")
            .query(&pairs)
            .header(CONTENT_TYPE, "application/zstd")
            .body(reqwest::Body::wrap_stream(archive));
        // Without a deadline: an upload takes as long as the line needs, and all of it is read before the answer.
        let response = self.send(with_passphrase(request, passphrase)?).await?;
        let client = self.clone();
        let lines = Lines::new(self.clone(), response, LINE_BYTES);
        Ok(lines
            .map(move |line| serde_json::from_slice(&line?).map_err(|error| client.protocol(error)))
            .boxed())
    }
}
