//! Is it alive, and is it ready?
//!
//! Theory of operation: both are asked by anybody and again and again: by balancers, kubelets, gateways, strangers. So
//! they say no more than yes or no, and cost nothing that grows with how often they are asked
//! ([`Readiness`]). Whether the store takes writes is told to whoever may see [`system`](crate::system).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use coracle_store::Store;
use coracle_task::Supervisor;

use crate::readiness::{Readiness, Ready};
use crate::state::ApiState;

/// Answers as long as the process does.
#[utoipa::path(get, path = "/healthz", tag = "platform", responses((status = 200, description = "It is alive")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Answers with 200 once requests can be served: the store answers. The engine may be away; what needs it
/// says so itself.
#[utoipa::path(get, path = "/readyz", tag = "platform", responses(
    (status = 200, description = "It is ready"), (status = 503, description = "The store does not answer")))]
pub(crate) async fn readyz(State(state): State<ApiState>) -> Response {
    let store = state.control.objects.store();
    answer(&state.readiness, store, &state.supervisor).await
}

async fn answer(
    readiness: &Readiness,
    store: &Arc<dyn Store>,
    supervisor: &Supervisor,
) -> Response {
    match readiness.of(store, supervisor).await {
        Ready::Yes => "ready\n".into_response(),
        Ready::No => {
            let reason = "not ready: the store does not answer\n";
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use coracle_store::{
        Entry, Expected, LeaseId, Listing, Op, Page, Revision, StoreError, WatchStream,
    };
    use tokio::time::Instant;

    use crate::readiness::FRESH;

    use super::*;

    /// Servers that are there or not, and who counts what they are asked.
    #[derive(Debug, Default)]
    struct Servers {
        away: Mutex<Option<StoreError>>,
        reads: AtomicU32,
    }

    #[async_trait]
    impl Store for Servers {
        async fn revision(&self) -> Result<Revision, StoreError> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let away = self.away.lock().unwrap().clone();
            away.map_or(Ok(1), Err)
        }
        async fn writable(&self) -> Result<(), StoreError> {
            unreachable!("what the servers write into their log is no business of a probe")
        }
        async fn get(&self, _: &str) -> Result<Option<Entry>, StoreError> {
            unreachable!()
        }
        async fn list(&self, _: &str, _: Page) -> Result<Listing, StoreError> {
            unreachable!()
        }
        async fn write(&self, _: Vec<Op>) -> Result<Revision, StoreError> {
            unreachable!("a probe does not write")
        }
        async fn delete(&self, _: &str, _: Expected) -> Result<Option<Revision>, StoreError> {
            unreachable!("a probe does not write")
        }
        async fn watch(&self, _: &str, _: Option<Revision>) -> Result<WatchStream, StoreError> {
            unreachable!()
        }
        async fn grant_lease(&self, _: Duration) -> Result<LeaseId, StoreError> {
            unreachable!("a probe does not write")
        }
        async fn keep_alive(&self, _: LeaseId) -> Result<(), StoreError> {
            unreachable!()
        }
        async fn revoke(&self, _: LeaseId) -> Result<(), StoreError> {
            unreachable!("a probe does not write")
        }
        async fn compact(&self, _: Revision) -> Result<(), StoreError> {
            unreachable!("a probe does not write")
        }
    }

    async fn told(readiness: &Readiness, servers: &Arc<Servers>) -> (u16, String) {
        let store: Arc<dyn Store> = servers.clone();
        let answer = answer(readiness, &store, &Supervisor::new("test")).await;
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1024).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_probes_write_nothing_and_read_once_in_a_while() {
        let (readiness, servers) = (Readiness::default(), Arc::<Servers>::default());
        let begin = Instant::now();
        for _ in 0..100 {
            let ten = (0..10).map(|_| told(&readiness, &servers));
            for told in futures::future::join_all(ten).await {
                assert_eq!(told, (200, "ready\n".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let most = begin.elapsed().as_secs() + 1;
        let reads = u64::from(servers.reads.load(Ordering::SeqCst));
        assert!((1..=most).contains(&reads), "{reads} reads in {most} s");
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_not_told_where_the_store_is() {
        let (readiness, servers) = (Readiness::default(), Arc::<Servers>::default());
        let source: Arc<dyn std::error::Error + Send + Sync> =
            Arc::from(Box::from("10.0.0.7:2379"));
        *servers.away.lock().unwrap() = Some(StoreError::Unavailable {
            reason: "etcd does not answer at http://10.0.0.7:2379".to_owned(),
            source,
        });
        let (status, said) = told(&readiness, &servers).await;
        assert_eq!(
            (status, &*said),
            (503, "not ready: the store does not answer\n")
        );
        // Soon after it is back that is told.
        *servers.away.lock().unwrap() = None;
        tokio::time::sleep(FRESH).await;
        assert_eq!(told(&readiness, &servers).await.0, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_what_is_found_out_to_the_next() {
        let (readiness, servers) = (Readiness::default(), Arc::<Servers>::default());
        let store: Arc<dyn Store> = servers.clone();
        let supervisor = Supervisor::new("test");
        for _ in 0..5 {
            let asked = answer(&readiness, &store, &supervisor);
            let soon = Duration::from_millis(20);
            assert!(tokio::time::timeout(soon, asked).await.is_err());
            tokio::time::sleep(Duration::from_millis(80)).await;
            assert_eq!(told(&readiness, &servers).await.0, 200);
            assert_eq!(servers.reads.swap(0, Ordering::SeqCst), 1);
            tokio::time::sleep(FRESH).await;
        }
    }
}
