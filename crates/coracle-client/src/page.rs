//! Lists, page by page.

use coracle_model::object::List;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::client::Client;

/// So many pages are fetched for one list: a platform that answers pages for ever is none.
const MOST_PAGES: usize = 10_000;

/// Which page of a list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    /// `next` of the page before; the first page when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The most objects on it; the platform's own bound when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Client {
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        page: &Page,
    ) -> Result<List<T>> {
        self.ordinary(self.request(Method::GET, path).query(page))
            .await
    }

    /// Every page of a list.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let mut page = Page::default();
        for _ in 0..MOST_PAGES {
            let list: List<T> = self.page(path, &page).await?;
            items.extend(list.items);
            match list.next {
                None => return Ok(items),
                next if next == page.after => break,
                next => page.after = next,
            }
        }
        Err(self.protocol("a list has no end"))
    }
}
