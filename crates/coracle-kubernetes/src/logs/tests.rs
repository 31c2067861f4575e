//! Logs and one-off commands whose connections break, on a simulated API server.

use coracle_engine::stream::{SessionInput, SessionOutput};
use coracle_model::name::{PodName, ProjectName};
use serde_json::{Value, json};

use super::*;
use crate::facts::{FACTS, PLATFORM, PROJECT};
use crate::simulated::log::{Followed, Log};
use crate::simulated::{ApiServer, Release};

const LONG: Duration = Duration::from_secs(60);
const POD: &str = "/api/v1/namespaces/coracle-shop/pods/once-x";
const JOB: &str = "/apis/batch/v1/namespaces/coracle-shop/jobs/once-1";

struct Bed {
    server: ApiServer,
    core: Arc<Core>,
    id: PodId,
}

impl Bed {
    async fn new() -> Self {
        let server = ApiServer::start(Release::Current).await;
        let core = server.core().await;
        let synced = core.when(|state| state.is_synced().then_some(()));
        tokio::time::timeout(LONG, synced).await.expect("a view");
        let id = PodId {
            project: ProjectName::new("shop").unwrap(),
            name: PodName::new("once").unwrap(),
        };
        Self { server, core, id }
    }

    fn meta(kind: &str) -> Value {
        let facts = json!({
            "project": "shop", "workload": "once", "generation": 1, "kind": kind, "image": "i:1", "drain_ms": 0,
        });
        json!({
            "labels": { PLATFORM: "p1", PROJECT: "shop" },
            "annotations": { FACTS: facts.to_string() },
        })
    }

    fn runs(&self, kind: &str, state: &Value, restarts: i32) {
        let phase = if state["terminated"].is_null() {
            "Running"
        } else {
            "Failed"
        };
        self.server.put(POD, json!({
            "metadata": Self::meta(kind),
            "spec": { "restartPolicy": "Never", "containers": [] },
            "status": { "phase": phase, "containerStatuses": [{
                "name": CONTAINER, "state": state, "ready": false, "restartCount": restarts, "image": "", "imageID": "",
            }]},
        }));
    }

    fn ends(&self, kind: &str, code: i32) {
        // A merge would leave the state before.
        self.runs(
            kind,
            &json!({ "running": null, "terminated": { "exitCode": code } }),
            0,
        );
    }

    fn says(&self, lines: &[&str], followed: Followed) {
        let lines = lines.iter().map(ToString::to_string).collect();
        self.server.log(POD, CONTAINER, Log { lines, followed });
    }

    async fn seen<T>(&self, what: &str, look: impl FnMut(&State) -> Option<T>) -> T {
        let seen = tokio::time::timeout(LONG, self.core.when(look)).await;
        seen.unwrap_or_else(|_| panic!("{what} is not seen"))
    }
}

async fn next<T>(
    stream: &mut (impl futures::Stream<Item = Result<T, EngineError>> + Unpin),
) -> Option<T> {
    let next = tokio::time::timeout(LONG, stream.next()).await;
    next.expect("something comes").transpose().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_that_breaks_goes_on_while_the_container_runs() {
    let bed = Bed::new().await;
    bed.says(&["a", "b", "c", "d", "e"], Followed::Breaks(3));
    bed.runs("single", &json!({ "running": {} }), 0);
    bed.seen("the pod", |state| state.told(&bed.id).map(|_| ()))
        .await;
    let request = LogRequest {
        follow: Follow::Yes,
        tail: None,
        since: None,
    };
    let mut log = logs(&bed.core, &bed.id, request).await.unwrap();
    for line in ["a", "b", "c"] {
        assert_eq!(next(&mut log).await.unwrap().text, line);
    }
    bed.says(&["a", "b", "c", "d", "e", "f"], Followed::Open);
    for line in ["d", "e", "f"] {
        assert_eq!(next(&mut log).await.unwrap().text, line);
    }
    bed.says(&["a", "b", "c", "d", "e", "f", "last"], Followed::Open);
    bed.ends("single", 0);
    assert_eq!(next(&mut log).await.unwrap().text, "last");
    assert!(next(&mut log).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_off_whose_log_breaks_ends_with_its_own_status() {
    let bed = Bed::new().await;
    bed.server.put(
        "/api/v1/namespaces/coracle-shop",
        json!({ "metadata": { "labels": { PLATFORM: "p1" } } }),
    );
    bed.server.put(JOB, json!({ "metadata": Bed::meta("task-on-attach"), "spec": { "parallelism": 0, "template": {} } }));
    bed.seen("the job", |state| state.told(&bed.id).map(|_| ()))
        .await;
    let mut session = crate::session::attach(&bed.core, &bed.id).await.unwrap();
    drop(session.input.send(SessionInput::End).await);
    bed.says(&["a", "b", "c", "d"], Followed::Breaks(2));
    bed.runs("task-on-attach", &json!({ "running": {} }), 0);
    let mut shown = String::new();
    while shown != "a\nb\n" {
        match next(&mut session.output).await.unwrap() {
            SessionOutput::Data(_, bytes) => shown.push_str(std::str::from_utf8(&bytes).unwrap()),
            SessionOutput::Exit(code) => panic!("ended with {code}"),
        }
    }
    bed.says(&["a", "b", "c", "d"], Followed::Open);
    bed.ends("task-on-attach", 7);
    let code = loop {
        match next(&mut session.output).await.unwrap() {
            SessionOutput::Data(_, bytes) => shown.push_str(std::str::from_utf8(&bytes).unwrap()),
            SessionOutput::Exit(code) => break code,
        }
    };
    assert_eq!((shown.as_str(), code), ("a\nb\nc\nd\n", 7));
}
