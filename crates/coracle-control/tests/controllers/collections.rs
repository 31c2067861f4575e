//! Collections of the registry: when they happen, and what is said to be needed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_control::keys;
use coracle_model::quantity::Span;
use coracle_model::registry::{CollectionPhase, Registry, RegistrySpec};

use crate::platform::{Platform, ann};

#[tokio::test(start_paused = true)]
async fn a_collection_happens_when_asked_for_and_once_a_day() {
    let platform = Platform::new();
    let life = platform.start().await;
    let record = async || -> Registry {
        let found = life.control.objects.get::<RegistrySpec>(keys::REGISTRY);
        found.await.unwrap().unwrap()
    };
    let count = || platform.tags.collections.lock().unwrap().len();
    let ended = async |times: usize| {
        let waited = async {
            while count() < times || record().await.status.phase == CollectionPhase::Running {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(3 * 24 * 3600), waited)
            .await
            .unwrap();
    };
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(count(), 0, "nothing was asked for");

    let age = Span(Duration::from_secs(60));
    let asked = life
        .control
        .collect_registry(Some(age), &ann())
        .await
        .unwrap();
    assert_eq!(asked.status.phase, CollectionPhase::Running);
    ended(1).await;
    let status = record().await.status;
    assert_eq!(status.phase, CollectionPhase::Idle);
    assert_eq!((status.freed_images, status.freed_bytes), (1, 7));
    assert_eq!(platform.tags.collections.lock().unwrap()[0].1, age.0);

    // The next one comes by itself, with the usual age, and fails.
    platform.tags.refuse.store(true, Ordering::Relaxed);
    let before = tokio::time::Instant::now();
    ended(2).await;
    assert!(before.elapsed() > Duration::from_secs(23 * 3600));
    let status = record().await.status;
    assert_eq!(status.phase, CollectionPhase::Failed);
    assert!(status.reason.unwrap().contains("the disk is broken"));
    assert_eq!(
        platform.tags.collections.lock().unwrap()[1].1,
        platform.options.collect_age
    );

    // It is tried again before the next day.
    platform.tags.refuse.store(false, Ordering::Relaxed);
    let before = tokio::time::Instant::now();
    ended(3).await;
    assert!(before.elapsed() < Duration::from_secs(2 * 3600));
    assert_eq!(record().await.status.phase, CollectionPhase::Idle);
}
