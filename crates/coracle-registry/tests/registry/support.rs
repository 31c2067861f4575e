//! A registry in a temporary folder, and few words for requests.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use base64::Engine as _;
use bytes::Bytes;
use coracle_registry::{
    Action, Authorizer, Credentials, Denied, Digest, Limits, Registry, RepositoryName,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

pub(crate) const ADMIN: &str = "admin-token";
/// May do everything in project `team` and nothing elsewhere.
pub(crate) const TEAM: &str = "team-token";
/// May pull and list in `team`.
pub(crate) const READER: &str = "reader-token";

pub(crate) struct TestAuthorizer;

#[async_trait]
impl Authorizer for TestAuthorizer {
    async fn authorize(
        &self,
        credentials: Option<Credentials>,
        repository: Option<&RepositoryName>,
        action: Action<'_>,
    ) -> Result<(), Denied> {
        let credentials = credentials.ok_or(Denied::Unauthenticated)?;
        let team = repository.is_none_or(|r| r.first_component() == "team");
        let reading = matches!(action, Action::Pull | Action::List);
        match credentials.token() {
            ADMIN => Ok(()),
            TEAM if team => Ok(()),
            READER if team && reading => Ok(()),
            TEAM | READER => Err(Denied::Forbidden),
            _ => Err(Denied::Unauthenticated),
        }
    }
}

pub(crate) struct Harness {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) registry: Registry,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The first error's code; the shape is checked on the way.
    pub(crate) fn code(&self) -> String {
        let value = self.json();
        let first = &value["errors"][0];
        assert!(
            first["message"]
                .as_str()
                .is_some_and(|m| !m.is_empty() && !m.contains('\n')),
            "{value}"
        );
        first["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{:?} {}",
            self.headers,
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code);
        answer
    }
}

pub(crate) struct Call<'a> {
    registry: &'a Registry,
    request: http::request::Builder,
    body: Body,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let request = self.request.body(self.body).unwrap();
        let response = self.registry.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn basic(token: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("anybody:{token}"));
    format!("Basic {text}")
}

pub(crate) fn open(folder: &Path, limits: Limits) -> Registry {
    Registry::open(folder, Arc::new(TestAuthorizer), limits).unwrap()
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content), "size": content.len() })
}

pub(crate) const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","config":{"Cmd":["/hello"],"Env":["PATH=/bin","KEY=secret"],"ExposedPorts":{"8080/tcp":{}},"Labels":{"a":"b"}}}"#;
pub(crate) const LAYER: &[u8] = b"not really a tar";

/// An image of [`CONFIG`] and [`LAYER`].
pub(crate) fn image_manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, CONFIG),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", LAYER)],
    })
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = open(folder.path(), limits);
        Self { folder, registry }
    }

    /// As after a restart: nothing in memory is kept.
    pub(crate) fn restarted(self) -> Self {
        let registry = open(self.folder.path(), Limits::default());
        Self {
            folder: self.folder,
            registry,
        }
    }

    /// A call without credentials.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(path);
        Call {
            registry: &self.registry,
            request,
            body: Body::empty(),
        }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        self.anonymous(method, path)
            .header("authorization", bearer(ADMIN))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    /// Pushes a blob in one request.
    pub(crate) async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.call(Method::POST, &path)
            .body(content.to_vec())
            .send()
            .await
            .expect(201);
        digest
    }

    /// Begins an upload and returns its path.
    pub(crate) async fn begin(&self, repository: &str) -> String {
        let answer = self
            .call(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))
            .send()
            .await
            .expect(202);
        answer.header("location").to_owned()
    }

    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Value,
    ) -> Answer {
        let kind = manifest["mediaType"]
            .as_str()
            .unwrap_or(OCI_MANIFEST)
            .to_owned();
        self.call(
            Method::PUT,
            &format!("/v2/{repository}/manifests/{reference}"),
        )
        .header("content-type", kind)
        .body(manifest.to_string())
        .send()
        .await
    }

    /// Pushes the image of [`image_manifest`] and returns its digest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str) -> Digest {
        self.push_blob(repository, CONFIG).await;
        self.push_blob(repository, LAYER).await;
        let answer = self
            .put_manifest(repository, tag, &image_manifest())
            .await
            .expect(201);
        answer.header("docker-content-digest").parse().unwrap()
    }

    /// Files below the registry's folder, as paths from there.
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let root = self.folder.path().join(below);
        let mut folders = vec![root.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(folder) {
                // A folder goes with the last that is in it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.unwrap(),
            };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(
                        path.strip_prefix(&root)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        files.sort();
        files
    }
}
