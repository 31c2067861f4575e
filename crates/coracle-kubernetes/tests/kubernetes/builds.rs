//! The laws of builds, on the real cluster: with Buildah, an image of Coracle that fetches the source, and a registry that both
//! nodes and pods reach. Skipped where `CORACLE_TEST_SOURCE_IMAGE` names no image of Coracle that the nodes have.

use coracle_engine::conformance::{Bench, case};

use crate::conformance::OnKubernetes;
use crate::ground::kubeconfig;

/// Who builds, where that can be tested.
fn builders() -> Option<OnKubernetes> {
    let image = std::env::var("CORACLE_TEST_SOURCE_IMAGE");
    let Ok(image) = image else {
        eprintln!("skipped: CORACLE_TEST_SOURCE_IMAGE is not set (make test-kubernetes sets it)");
        return None;
    };
    kubeconfig().map(|config| OnKubernetes::that_builds(config, image))
}

macro_rules! cases {
    ($($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let Some(factory) = builders() else { return };
                let bench = Bench::open(&factory).await;
                case::$case(&bench).await;
                bench.close().await;
            }
        )*
    };
}

cases! {
    a_build_makes_an_image_that_runs
    a_failed_build_says_why
    a_cancelled_build_ends
    a_build_whose_time_is_over_ends
    a_build_gets_its_source_and_arguments
}
