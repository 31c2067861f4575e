//! Collections beside pushes, held to a model: whatever was answered 201 and has a tag is whole, at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_registry::{Collected, Digest, Limits, Registry};
use futures::stream::BoxStream;
use http::Method;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use proptest::prelude::*;
use serde_json::json;

use crate::collect::{Needs, name, nothing};
use crate::support::{
    CONFIG, Harness, OCI_INDEX, OCI_MANIFEST, TestAuthorizer, descriptor, image_manifest,
};

const REPOSITORIES: [&str; 2] = ["team/a", "team/b"];

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    /// Pushes an image of this layer under this tag, blob after blob as docker does.
    Push {
        repository: usize,
        layer: u8,
        tag: u8,
    },
    /// Mounts the layer from the other repository instead.
    Mount {
        repository: usize,
        layer: u8,
        tag: u8,
    },
    /// Pushes an index of the images of two layers, which are there or pushed before.
    Index {
        repository: usize,
        layers: (u8, u8),
        tag: u8,
    },
    /// Gives an image that may be garbage a tag.
    Retag {
        repository: usize,
        layer: u8,
        tag: u8,
    },
    /// Deletes a tag.
    Untag { repository: usize, tag: u8 },
    /// Collects, at the same time as what follows.
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let (repository, layer, tag) = (0..2_usize, 0..4_u8, 0..3_u8);
    prop_oneof![
        4 => (repository.clone(), layer.clone(), tag.clone())
            .prop_map(|(repository, layer, tag)| Step::Push { repository, layer, tag }),
        2 => (repository.clone(), layer.clone(), tag.clone())
            .prop_map(|(repository, layer, tag)| Step::Mount { repository, layer, tag }),
        2 => (repository.clone(), (layer.clone(), layer.clone()), tag.clone())
            .prop_map(|(repository, layers, tag)| Step::Index { repository, layers, tag }),
        2 => (repository.clone(), layer, tag.clone())
            .prop_map(|(repository, layer, tag)| Step::Retag { repository, layer, tag }),
        3 => (repository, tag).prop_map(|(repository, tag)| Step::Untag { repository, tag }),
        3 => Just(Step::Collect),
    ]
}

fn layer_of(layer: u8) -> Vec<u8> {
    format!("layer {layer}").into_bytes()
}

fn manifest_of(layer: u8) -> serde_json::Value {
    let mut manifest = image_manifest();
    manifest["layers"] = json!([descriptor("x", &layer_of(layer))]);
    manifest
}

fn digest_of(manifest: &serde_json::Value) -> Digest {
    Digest::of(manifest.to_string().as_bytes())
}

/// What the tags mean, by repository.
#[derive(Default)]
struct Model {
    tags: BTreeMap<(usize, u8), Digest>,
}

struct Run {
    h: Harness,
    model: Model,
}

impl Run {
    /// A blob as docker pushes it: only when the repository does not say that it has it.
    async fn blob(&self, repository: usize, content: &[u8]) {
        let path = format!(
            "/v2/{}/blobs/{}",
            REPOSITORIES[repository],
            Digest::of(content)
        );
        let there = self.h.call(Method::HEAD, &path).send().await;
        if there.status != 200 {
            self.h.push_blob(REPOSITORIES[repository], content).await;
        }
    }

    /// Puts a manifest, and pushes what it is made of again as often as the registry says that something is not there.
    async fn put(
        &self,
        repository: usize,
        reference: &str,
        manifest: &serde_json::Value,
        layers: &[u8],
    ) {
        for _ in 0..100 {
            self.blob(repository, CONFIG).await;
            for layer in layers {
                self.blob(repository, &layer_of(*layer)).await;
            }
            if manifest["manifests"].is_array() {
                for layer in layers {
                    let child = manifest_of(*layer);
                    let by_digest = digest_of(&child).to_string();
                    Box::pin(self.put(repository, &by_digest, &child, &[*layer])).await;
                }
            }
            let answer = self
                .h
                .put_manifest(REPOSITORIES[repository], reference, manifest)
                .await;
            if answer.status == 201 {
                return;
            }
            answer.refused(404, "MANIFEST_BLOB_UNKNOWN");
        }
        panic!("a push never came to its end");
    }

    async fn tag(
        &mut self,
        repository: usize,
        tag: u8,
        manifest: &serde_json::Value,
        layers: &[u8],
    ) {
        self.put(repository, &format!("t{tag}"), manifest, layers)
            .await;
        self.model
            .tags
            .insert((repository, tag), digest_of(manifest));
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Push {
                repository,
                layer,
                tag,
            } => {
                self.tag(*repository, *tag, &manifest_of(*layer), &[*layer])
                    .await;
            }
            Step::Mount {
                repository,
                layer,
                tag,
            } => {
                let (from, to) = (REPOSITORIES[1 - repository], REPOSITORIES[*repository]);
                let digest = Digest::of(&layer_of(*layer));
                let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
                let answer = self.h.call(Method::POST, &path).send().await;
                if answer.status == 202 {
                    // Nothing to mount: an upload was begun, and is given up.
                    let upload = answer.header("location").to_owned();
                    self.h
                        .call(Method::DELETE, &upload)
                        .send()
                        .await
                        .expect(204);
                }
                self.tag(*repository, *tag, &manifest_of(*layer), &[*layer])
                    .await;
            }
            Step::Index {
                repository,
                layers,
                tag,
            } => {
                let children = [layers.0, layers.1].map(|layer| {
                    descriptor(OCI_MANIFEST, manifest_of(layer).to_string().as_bytes())
                });
                let index =
                    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
                self.tag(*repository, *tag, &index, &[layers.0, layers.1])
                    .await;
            }
            Step::Retag {
                repository,
                layer,
                tag,
            } => {
                let (digest, tag_name) = (digest_of(&manifest_of(*layer)), format!("t{tag}"));
                let at = name(REPOSITORIES[*repository]);
                let tag_name = coracle_registry::Tag::new(tag_name).unwrap();
                let put = self.h.registry.put_tag(&at, &tag_name, &digest).await;
                if put.is_ok() {
                    self.model.tags.insert((*repository, *tag), digest);
                }
            }
            Step::Untag { repository, tag } => {
                let path = format!("/v2/{}/manifests/t{tag}", REPOSITORIES[*repository]);
                let answer = self.h.call(Method::DELETE, &path).send().await;
                let was = self.model.tags.remove(&(*repository, *tag));
                assert_eq!(
                    answer.status.as_u16(),
                    if was.is_some() { 202 } else { 404 }
                );
            }
            Step::Collect => {}
        }
    }

    /// Everything that a tag means is there, whole.
    async fn check(&self) {
        for ((repository, tag), digest) in &self.model.tags {
            let repository = REPOSITORIES[*repository];
            let path = format!("/v2/{repository}/manifests/t{tag}");
            let manifest = self.h.get(&path).await.expect(200);
            assert_eq!(Digest::of(&manifest.body), *digest);
            let mut images = vec![manifest.json()];
            while let Some(image) = images.pop() {
                for child in image["manifests"].as_array().into_iter().flatten() {
                    let digest = child["digest"].as_str().unwrap();
                    let path = format!("/v2/{repository}/manifests/{digest}");
                    images.push(self.h.get(&path).await.expect(200).json());
                }
                let layers = image["layers"].as_array().into_iter().flatten();
                for blob in layers.chain(image.get("config")) {
                    let path = format!(
                        "/v2/{repository}/blobs/{}",
                        blob["digest"].as_str().unwrap()
                    );
                    self.h.get(&path).await.expect(200);
                }
            }
        }
    }
}

async fn collect(registry: Registry) -> Collected {
    registry.collect(&nothing(), Duration::ZERO).await.unwrap()
}

/// A store that lets others go on before each of its operations, and that cannot make anything young without writing it.
#[derive(Debug)]
struct Yielding(InMemory);

impl fmt::Display for Yielding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Yielding")
    }
}

#[async_trait]
impl ObjectStore for Yielding {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        tokio::task::yield_now().await;
        self.0.put_opts(location, payload, opts).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        tokio::task::yield_now().await;
        self.0.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        self.0.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        tokio::task::yield_now().await;
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

fn in_memory() -> Harness {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Yielding(InMemory::new()));
    let (uploads, auth) = (folder.path().to_owned(), Arc::new(TestAuthorizer));
    let registry = Registry::new(store, uploads, auth, Limits::default());
    Harness { folder, registry }
}

/// Does the steps; each collection goes on beside the steps up to the next one.
async fn run(h: Harness, steps: Vec<Step>) {
    let mut run = Run {
        h,
        model: Model::default(),
    };
    let mut steps = steps.into_iter().peekable();
    while steps.peek().is_some() {
        let collecting = collect(run.h.registry.clone());
        let pushing = async {
            for step in steps.by_ref() {
                if matches!(step, Step::Collect) {
                    break;
                }
                run.step(&step).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(collecting, pushing);
        run.check().await;
    }
    // At rest nothing is left but what is needed.
    collect(run.h.registry.clone()).await;
    run.check().await;
    let mut needed = BTreeSet::new();
    for (repository, tag) in run.model.tags.keys() {
        let repository = REPOSITORIES[*repository];
        let manifest = run
            .h
            .get(&format!("/v2/{repository}/manifests/t{tag}"))
            .await;
        let mut images = vec![manifest.body];
        while let Some(body) = images.pop() {
            needed.insert(Digest::of(&body).to_string());
            let image: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for child in image["manifests"].as_array().into_iter().flatten() {
                let digest = child["digest"].as_str().unwrap();
                let path = format!("/v2/{repository}/manifests/{digest}");
                images.push(run.h.get(&path).await.expect(200).body);
            }
            let layers = image["layers"].as_array().into_iter().flatten();
            for blob in layers.chain(image.get("config")) {
                needed.insert(blob["digest"].as_str().unwrap().to_owned());
            }
        }
    }
    let usage = run.h.registry.usage().await.unwrap();
    assert_eq!(usage.blobs, needed.len() as u64, "{needed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_was_pushed_under_a_tag_is_whole_whatever_is_collected_beside(
        steps in prop::collection::vec(step(), 1..24)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            run(Harness::new(), steps.clone()).await;
            run(in_memory(), steps).await;
        });
    }
}

/// A collection reads what is needed before somebody gives one of its images a tag, and deletes after that.
#[tokio::test]
async fn an_image_that_gets_a_tag_in_the_middle_of_a_collection_stays() {
    use std::error::Error;
    use std::sync::Mutex;

    use coracle_registry::{NeededImages, Reference, RepositoryName, Tag};
    use tokio::sync::oneshot;

    /// Holds the collection where it asks.
    struct Held(Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>);

    #[async_trait]
    impl NeededImages for Held {
        async fn needed(
            &self,
        ) -> std::result::Result<Vec<(RepositoryName, Reference)>, Box<dyn Error + Send + Sync>>
        {
            let held = self.0.lock().unwrap().take();
            if let Some((asked, go_on)) = held {
                asked.send(()).unwrap();
                go_on.await?;
            }
            Ok(Needs::default().0)
        }
    }

    let h = Harness::new();
    for blob in [CONFIG, &layer_of(1)] {
        h.push_blob("team/a", blob).await;
    }
    let manifest = manifest_of(1);
    let digest = digest_of(&manifest);
    h.put_manifest("team/a", &digest.to_string(), &manifest)
        .await
        .expect(201);
    let (asked, was_asked) = oneshot::channel();
    let (go, go_on) = oneshot::channel();
    let held = Held(Mutex::new(Some((asked, go_on))));
    let collecting = h.registry.collect(&held, Duration::ZERO);
    let tagging = async {
        was_asked.await.unwrap();
        let tag = Tag::new("v1").unwrap();
        h.registry
            .put_tag(&name("team/a"), &tag, &digest)
            .await
            .unwrap();
        h.registry.delete_tag(&name("team/a"), &tag).await.unwrap();
        go.send(()).unwrap();
    };
    let (collected, ()) = tokio::join!(collecting, tagging);
    // It is pinned although its tag is gone again: the tag might as well have come a moment later.
    assert_eq!(collected.unwrap(), Collected::default());
    assert_eq!(collect(h.registry.clone()).await.manifests, 1);
}
