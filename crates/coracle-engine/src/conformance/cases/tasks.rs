//! Tasks: they run once, and nothing of their output is lost.

use coracle_model::pod::{ExitCause, PodPhase};
use coracle_model::workload::{Terminal, Workload};

use crate::conformance::bench::{Bench, Given as _, converse};
use crate::error::EngineError;

/// A task that fails is not run again, and its status stays, also when it is wished again.
pub async fn a_task_runs_once_and_keeps_its_status(t: &Bench) {
    let task = t.task("migrate", "echo one; exit 3");
    t.apply(&task).await;
    let pod = t.phase(&task, PodPhase::Failed).await;
    assert_eq!(pod.id.name, task.id.name, "it has the workload's own name");
    assert_eq!(pod.status.restarts, 0);
    let exit = pod.status.exit.given("how it ended");
    assert_eq!((exit.code, exit.cause), (3, ExitCause::Exited));
    t.apply(&task).await;
    t.running(&t.serving("other", 1)).await;
    let still = t.phase(&task, PodPhase::Failed).await;
    assert_eq!(still.status.started, pod.status.started);
}

/// Status 0 is a good end.
pub async fn a_task_that_succeeds_is_exited(t: &Bench) {
    let task = t.task("migrate", "echo done");
    t.apply(&task).await;
    let pod = t.phase(&task, PodPhase::Exited).await;
    assert_eq!(pod.status.exit.given("how it ended").code, 0);
}

/// After its removal the same name can run again.
pub async fn a_removed_task_can_run_again(t: &Bench) {
    let task = t.task("migrate", "exit 3");
    t.apply(&task).await;
    t.phase(&task, PodPhase::Failed).await;
    t.engine().remove(&task.id).await.given("remove");
    t.gone(&task.id).await;
    let mut again = t.task("migrate", "exit 0");
    again.generation = 2;
    t.apply(&again).await;
    t.phase(&again, PodPhase::Exited).await;
}

async fn attach(t: &Bench, task: &Workload, input: &[u8]) -> (i64, String, String) {
    t.apply(task).await;
    let pod = t.phase(task, PodPhase::Pending).await;
    let waits = t
        .until("it waits for somebody", |seen| {
            let pod = seen.all_in(&task.id, 1, PodPhase::Pending)?.pop()?;
            pod.status.reason.filter(|reason| reason.contains("attach"))
        })
        .await;
    assert!(pod.status.started.is_none(), "not started: {waits}");
    let session = t.engine().attach(&pod.id).await.given("attach");
    converse(session, input, t.world().patience())
        .await
        .given("the session")
}

/// The first and the last line arrive, however fast the command is; its input reaches it.
pub async fn attaching_loses_no_output(t: &Bench) {
    let task = t.attached(
        "run",
        "seq 1 500; cat; echo last; exit 5",
        Terminal::Streams,
    );
    let (status, output, _) = attach(t, &task, b"typed\n").await;
    let numbers: String = (1..=500).map(|n| format!("{n}\n")).collect();
    assert_eq!(output, format!("{numbers}typed\nlast\n"));
    assert_eq!(status, 5);
    let pod = t.phase(&task, PodPhase::Failed).await;
    assert_eq!(pod.status.exit.given("how it ended").code, 5);
}

/// One session for one run.
pub async fn attaching_twice_is_refused(t: &Bench) {
    let task = t.attached("run", "echo hello", Terminal::Streams);
    let (status, output, errors) = attach(t, &task, b"").await;
    assert_eq!(
        (status, output.as_str(), errors.as_str()),
        (0, "hello\n", "")
    );
    let pod = t.phase(&task, PodPhase::Exited).await;
    let again = t.engine().attach(&pod.id).await.err();
    let refused = matches!(again, Some(EngineError::WrongPhase { .. }));
    assert!(refused, "{again:?}");
}

/// A terminal is one, of the size that was asked for.
pub async fn a_task_with_a_terminal_has_one(t: &Bench) {
    let terminal = Terminal::Tty {
        columns: 91,
        rows: 17,
    };
    let task = t.attached("run", "[ -t 0 ] && echo yes; exit 0", terminal);
    let (status, output, _) = attach(t, &task, b"").await;
    assert_eq!(status, 0);
    assert!(output.contains("yes"), "{output:?}");
}
