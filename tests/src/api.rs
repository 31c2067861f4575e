//! The platform's API, as any program uses it.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most things on one page of a list.
const PAGE: usize = 200;

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body; text that is no JSON as a string.
    pub body: Value,
}

impl Answer {
    /// The body, when the status is one of success.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }

    /// The stable code of a problem with this status.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert!(
            self.body["detail"].as_str().is_some_and(|d| !d.is_empty()),
            "{self:?}"
        );
        self.body["code"].as_str().expect("a problem has a code")
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    client: Client,
    token: String,
}

impl Api {
    pub(crate) async fn login(base: String, user: &str, password: &str) -> Self {
        let client = Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .expect("a client can be made");
        let mut api = Self {
            base,
            client,
            token: String::new(),
        };
        let answer = api
            .post("/session", &json!({"user": user, "password": password}))
            .await;
        api.token = answer.ok()["token"]
            .as_str()
            .expect("a session has a token")
            .to_owned();
        api
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let prefix = if path.starts_with("/healthz")
            || path.starts_with("/readyz")
            || path.starts_with("/metrics")
        {
            ""
        } else {
            "/api/v1"
        };
        let request = self
            .client
            .request(method, format!("{}{prefix}{path}", self.base));
        if self.token.is_empty() {
            request
        } else {
            request.bearer_auth(&self.token)
        }
    }

    /// Sends a request; an error is that nobody answered.
    ///
    /// # Errors
    /// The reason, when nobody answered.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }

    /// Uploads an archive to be built.
    ///
    /// # Errors
    /// The reason, when nobody answered.
    pub async fn upload(&self, path: &str, archive: Vec<u8>) -> Result<Answer, String> {
        let kind = (reqwest::header::CONTENT_TYPE, "application/gzip");
        answer(
            self.request(Method::POST, path)
                .header(kind.0, kind.1)
                .body(archive),
        )
        .await
    }

    /// `GET`, by somebody who answers.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None)
            .await
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `POST`, to somebody who answers.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body))
            .await
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// `PUT`, to somebody who answers.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body))
            .await
            .unwrap_or_else(|error| panic!("PUT {path}: {error}"))
    }

    /// `DELETE`, to somebody who answers.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None)
            .await
            .unwrap_or_else(|error| panic!("DELETE {path}: {error}"))
    }

    /// Everything of a list, over all its pages.
    ///
    /// # Errors
    /// The reason, when there was no such list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .send(Method::GET, &format!("{path}?limit={PAGE}{after}"), None)
                .await?;
            if page.status != 200 {
                return Err(format!("GET {path}: {page:?}"));
            }
            let items = page.body["items"]
                .as_array()
                .ok_or_else(|| format!("GET {path}: no items"))?;
            all.extend(items.iter().cloned());
            match page.body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(all),
            }
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    let text = response
        .text()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, body })
}
