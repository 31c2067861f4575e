//! Volumes, images and builds.

use std::path::PathBuf;
use std::time::Duration;

use coracle_model::name::{ProjectName, VolumeName};
use coracle_model::pod::PodPhase;
use coracle_model::workload::{Mount, Workload};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::build::{BuildEvent, BuildLimits, BuildRequest, BuiltImage};
use crate::conformance::bench::{Bench, Given as _};
use crate::engine::Support;
use crate::error::EngineError;

fn with_volume(t: &Bench, name: &str) -> (Workload, VolumeName) {
    let volume = VolumeName::new("data").given("a volume");
    let mut workload = t.single(name);
    workload.template.volumes.push(Mount {
        volume: volume.clone(),
        path: "/data".into(),
    });
    (workload, volume)
}

/// What was written to a volume is there for the next pod.
pub async fn volumes_outlive_pods(t: &Bench) {
    let (mut keeper, volume) = with_volume(t, "keeper");
    let pod = t.running(&keeper).await.remove(0).id;
    assert_eq!(t.exec(&pod, "echo kept > /data/file").await.0, 0);
    keeper.generation = 2;
    let pod = t.running(&keeper).await.remove(0).id;
    assert_eq!(t.exec(&pod, "cat /data/file").await.1, "kept\n");
    t.engine().remove(&keeper.id).await.given("remove");
    t.gone(&keeper.id).await;
    t.begin_anew().await;
    let volumes = t.engine().volumes().await.given("volumes");
    let found = volumes
        .iter()
        .find(|v| v.name == volume)
        .given("the volume");
    assert_eq!(found.project, keeper.id.project);
    assert!(found.used_by.is_empty());
    let pod = t.running(&keeper).await.remove(0).id;
    assert_eq!(t.exec(&pod, "cat /data/file").await.1, "kept\n");
    remove_with_volume(t, &keeper, &volume).await;
}

async fn remove_with_volume(t: &Bench, workload: &Workload, volume: &VolumeName) {
    let engine = t.engine();
    engine.remove(&workload.id).await.given("remove");
    t.gone(&workload.id).await;
    let project = &workload.id.project;
    engine
        .remove_volume(project, volume)
        .await
        .given("remove_volume");
    engine
        .remove_volume(project, volume)
        .await
        .given("remove_volume again");
    let left = engine.volumes().await.given("volumes");
    assert!(!left.iter().any(|v| v.name == *volume));
}

/// Nobody loses data that a pod uses.
pub async fn a_volume_in_use_is_not_removed(t: &Bench) {
    let (keeper, volume) = with_volume(t, "keeper");
    let project: &ProjectName = &keeper.id.project;
    let engine = t.engine();
    engine
        .ensure_volume(project, &volume, None)
        .await
        .given("ensure_volume");
    engine
        .ensure_volume(project, &volume, None)
        .await
        .given("ensure_volume again");
    t.running(&keeper).await;
    let volumes = engine.volumes().await.given("volumes");
    let used_by = &volumes
        .iter()
        .find(|v| v.name == volume)
        .given("it")
        .used_by;
    assert_eq!(used_by.as_slice(), std::slice::from_ref(&keeper.id.name));
    let result = engine.remove_volume(project, &volume).await;
    assert!(matches!(result, Err(EngineError::Refused(_))), "{result:?}");
    remove_with_volume(t, &keeper, &volume).await;
}

/// An image that is here is taken as it is, and pinned.
pub async fn a_local_image_is_resolved(t: &Bench) {
    let image = t.world().resolvable().await;
    let info = t.engine().resolve_image(&image, None).await;
    let info = info.given("resolve_image");
    assert_eq!(info.ports, [8080]);
    assert!(info.bytes > 0);
    let pinned = info.pinned.as_str();
    assert!(pinned.contains("sha256:"), "{pinned}");
    let again = t.engine().resolve_image(&info.pinned, None).await;
    assert_eq!(again.given("resolve the pinned one").pinned, info.pinned);
    let mut web = t.serving("web", 1);
    web.template.image = info.pinned;
    t.running(&web).await;
}

/// What is nowhere is named. (Nothing listens where its registry would be.)
pub async fn an_unknown_image_is_said_to_be_so(t: &Bench) {
    let image = t.no_image();
    match t.engine().resolve_image(&image, None).await {
        Err(
            EngineError::ImageUnavailable { image: named, .. }
            | EngineError::RegistryUnavailable { image: named, .. },
        ) => {
            assert_eq!(named, image.as_str());
        }
        other => panic!("{other:?}"),
    }
    t.engine()
        .remove_image(&image)
        .await
        .given("remove what is not there");
}

/// A folder with these files, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(dockerfile: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coracle-conformance-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).given("a folder");
        std::fs::write(path.join("Dockerfile"), dockerfile).given("a Dockerfile");
        Self(path)
    }
}

impl Folder {
    /// No other folder's, in any process.
    fn number(&self) -> String {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        format!("-{digits}")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a test's folder stays");
        }
    }
}

/// A build that this world can do, of a folder with this Dockerfile.
async fn request(t: &Bench, dockerfile: &str) -> Option<(Folder, BuildRequest)> {
    if t.engine().capabilities().builds == Support::No {
        return None;
    }
    let push = t.world().push_target().await?;
    let folder = Folder::new(dockerfile);
    let request = BuildRequest {
        id: format!("conformance{}", folder.number()),
        context: folder.0.clone(),
        dockerfile: "Dockerfile".into(),
        push,
        credentials: None,
        cache: "conformance".to_owned(),
        arguments: Vec::new(),
        limits: BuildLimits {
            time: Duration::from_secs(300),
            memory_bytes: 1 << 30,
        },
        cancel: CancellationToken::new(),
    };
    Some((folder, request))
}

/// The result of a build, and what was told meanwhile. `seen` is called with everything that is told.
async fn build(
    t: &Bench,
    request: BuildRequest,
    seen: impl Fn(&BuildEvent),
) -> (Result<BuiltImage, EngineError>, Vec<BuildEvent>) {
    const WAITING: usize = 64;
    let (progress, mut events) = mpsc::channel(WAITING);
    let engine = t.engine();
    let told = async {
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            seen(&event);
            told.push(event);
        }
        told
    };
    let both = async { tokio::join!(engine.build(request, progress), told) };
    let within = t.world().patience();
    tokio::time::timeout(within, both)
        .await
        .given("the build's end")
}

/// What comes out is in the registry by digest, and runs.
pub async fn a_build_makes_an_image_that_runs(t: &Bench) {
    let base = t.world().build_base().await;
    let dockerfile = format!("FROM {base}\nRUN echo built\nEXPOSE 8080\n");
    let Some((_folder, request)) = request(t, &dockerfile).await else {
        return;
    };
    let (result, told) = build(t, request, |_| ()).await;
    let built = result.given("build");
    assert!(
        built.reference.as_str().contains("@sha256:"),
        "{}",
        built.reference
    );
    assert_eq!(built.ports, [8080]);
    let steps = told
        .iter()
        .any(|event| matches!(event, BuildEvent::Step { .. }));
    assert!(steps, "{told:?}");
    let mut web = t.serving("web", 1);
    web.template.image = built.reference;
    t.apply(&web).await;
    t.phase(&web, PodPhase::Ready).await;
}

/// What the person must read is in the error.
pub async fn a_failed_build_says_why(t: &Bench) {
    let base = t.world().build_base().await;
    let dockerfile = format!("FROM {base}\nRUN echo out of luck && exit 9\n");
    let Some((_folder, request)) = request(t, &dockerfile).await else {
        return;
    };
    match build(t, request, |_| ()).await.0 {
        Err(EngineError::BuildFailed(why)) => assert!(why.contains("exit 9"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Whoever asks for the end of a build gets it while a step of it runs.
pub async fn a_cancelled_build_ends(t: &Bench) {
    let base = t.world().build_base().await;
    let dockerfile = format!("FROM {base}\nRUN sleep 600\n");
    let Some((_folder, request)) = request(t, &dockerfile).await else {
        return;
    };
    let cancel = request.cancel.clone();
    let seen = |event: &BuildEvent| {
        if matches!(event, BuildEvent::Step { name, .. } if name.contains("sleep 600")) {
            cancel.cancel();
        }
    };
    let (result, _told) = build(t, request, seen).await;
    assert!(
        matches!(result, Err(EngineError::BuildEnded(_))),
        "{result:?}"
    );
}

/// A build does not take longer than it may.
pub async fn a_build_whose_time_is_over_ends(t: &Bench) {
    let base = t.world().build_base().await;
    let dockerfile = format!("FROM {base}\nRUN sleep 600\n");
    let Some((_folder, mut request)) = request(t, &dockerfile).await else {
        return;
    };
    request.limits.time = Duration::from_millis(1);
    let (result, _told) = build(t, request, |_| ()).await;
    assert!(
        matches!(result, Err(EngineError::BuildEnded(_))),
        "{result:?}"
    );
}

/// Files of the source and arguments are there for the steps, below folders too.
pub async fn a_build_gets_its_source_and_arguments(t: &Bench) {
    let base = t.world().build_base().await;
    let dockerfile = format!(
        "FROM {base}\nARG WORD=none\nCOPY sub /www/sub\nRUN grep -q content /www/sub/page && test \"$WORD\" = given\n"
    );
    let Some((folder, mut request)) = request(t, &dockerfile).await else {
        return;
    };
    // The simulated builder knows neither files nor variables.
    if t.engine().capabilities().name == "sim" {
        return;
    }
    std::fs::create_dir(folder.0.join("sub")).given("a folder");
    std::fs::write(folder.0.join("sub/page"), "content\n").given("a file");
    request.arguments = vec![("WORD".to_owned(), "given".to_owned())];
    build(t, request, |_| ()).await.0.given("build");
}
