//! Input of one-off commands that is much, is not wanted, or never ends.

use coracle_engine::stream::{Session, SessionInput, SessionOutput};
use coracle_engine::{Engine as _, EngineError};
use coracle_model::name::PodName;
use coracle_model::pod::PodPhase;
use coracle_model::release::CommandLine;
use coracle_model::workload::{
    ObservedPod, TaskStart, Terminal, Workload, WorkloadId, WorkloadKind,
};
use futures::StreamExt as _;

use super::{Bed, web};
use crate::ground::LONG;

/// More than all that waits between here and the command.
const MUCH: usize = 24 << 20;

fn command(name: &str, line: &str) -> Workload {
    let mut command = web(1);
    command.id = WorkloadId {
        name: PodName::new(name).unwrap(),
        ..command.id
    };
    let start = TaskStart::OnAttach {
        terminal: Terminal::Streams,
    };
    command.kind = WorkloadKind::Task { start };
    command.template.port = None;
    command.template.names = Vec::new();
    command.template.command = Some(CommandLine::Shell(line.to_owned()));
    command
}

/// Whether input ends after it was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Ends,
    Waits,
}

async fn converse(
    session: Session,
    bytes: usize,
    then: Then,
) -> Result<(i64, String), EngineError> {
    let Session { input, mut output } = session;
    let give = async {
        for _ in 0..bytes / (64 << 10) {
            let piece = SessionInput::Stdin(vec![b'x'; 64 << 10].into());
            if input.send(piece).await.is_err() {
                break;
            }
        }
        if then == Then::Waits {
            input.closed().await;
        }
        drop(input);
    };
    let take = async {
        let mut text = String::new();
        while let Some(piece) = output.next().await {
            match piece? {
                SessionOutput::Data(_, bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                SessionOutput::Exit(code) => return Ok((code, text)),
            }
        }
        panic!("no end after {text:?}");
    };
    tokio::pin!(take);
    tokio::select! {
        taken = &mut take => taken,
        () = give => take.await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_take_of_their_input_what_they_want() {
    let Some(bed) = Bed::new(|_| {}).await else {
        return;
    };
    let all = MUCH.to_string();
    for (name, line, bytes, then, wanted) in [
        ("little", "head -c 1; exit 3", MUCH, Then::Ends, (3, "x")),
        ("none", "echo hello", MUCH, Then::Ends, (0, "hello")),
        ("open", "echo hello", 0, Then::Waits, (0, "hello")),
        ("all", "wc -c", MUCH, Then::Ends, (0, all.as_str())),
        (
            "slow",
            "sleep 75; wc -c",
            MUCH,
            Then::Ends,
            (0, all.as_str()),
        ),
    ] {
        let command = command(name, line);
        bed.engine.apply(command.clone()).await.unwrap();
        let waits = |pod: &ObservedPod| {
            let reason = pod.status.reason.as_deref().unwrap_or_default();
            pod.status.phase == PodPhase::Pending && reason.contains("attach")
        };
        let pod = bed.pod("it waits for somebody", &command, waits).await;
        let session = bed.engine.attach(&pod.id).await.unwrap();
        let ended = tokio::time::timeout(LONG, converse(session, bytes, then)).await;
        let (code, text) = ended
            .unwrap()
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!((code, text.trim()), wanted, "{name}");
    }
}
