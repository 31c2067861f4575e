//! Logs, commands beside the pod's own, connections, numbers.

use coracle_model::pod::PodPhase;
use coracle_model::quantity::ByteSize;
use coracle_model::workload::{PodId, Terminal};
use futures::StreamExt as _;

use crate::conformance::bench::{Bench, Given as _, converse, run_command};
use crate::engine::Support;
use crate::error::EngineError;
use crate::stream::{Channel, ExecRequest, Follow, LogLine, LogRequest};

async fn log(t: &Bench, pod: &PodId, request: LogRequest) -> Vec<LogLine> {
    let lines = t.engine().logs(pod, request).await.given("logs");
    let all = lines.map(|line| line.given("a line")).collect();
    let within = t.world().patience();
    tokio::time::timeout(within, all)
        .await
        .given("the log's end")
}

/// All of it, the last of it; both channels; it is there after the end.
pub async fn logs_have_a_tail_and_an_end(t: &Bench) {
    let task = t.task("talk", "echo one; echo two; echo three >&2");
    t.apply(&task).await;
    let pod = t.phase(&task, PodPhase::Exited).await.id;
    let all = log(t, &pod, LogRequest::default()).await;
    let mut texts: Vec<&str> = all.iter().map(|line| line.text.as_str()).collect();
    // The two channels are two pipes: between them there is no order.
    texts.sort_unstable();
    assert_eq!(texts, ["one", "three", "two"]);
    if t.engine().capabilities().log_channels == Support::Yes {
        let errors = all.iter().filter(|line| line.channel == Channel::Stderr);
        let errors: Vec<&str> = errors.map(|line| line.text.as_str()).collect();
        assert_eq!(errors, ["three"]);
    }
    let tail = LogRequest {
        tail: Some(1),
        ..LogRequest::default()
    };
    assert_eq!(log(t, &pod, tail).await.len(), 1);
    let last = all.iter().map(|line| line.at).max().given("a line");
    let later = LogRequest {
        since: Some(last + chrono::Duration::seconds(5)),
        ..LogRequest::default()
    };
    assert!(log(t, &pod, later).await.is_empty());
}

/// Following goes on over a restart and ends when the pod is gone.
pub async fn logs_follow_over_a_restart(t: &Bench) {
    let chatty = t.shell("chatty", "echo begun; sleep 1000");
    let pod = t.running(&chatty).await.remove(0).id;
    let follow = LogRequest {
        follow: Follow::Yes,
        ..LogRequest::default()
    };
    let mut lines = t.engine().logs(&pod, follow).await.given("logs");
    let within = t.world().patience();
    let mut next = async || match tokio::time::timeout(within, lines.next()).await {
        Ok(line) => line.map(|line| line.given("a line").text),
        Err(_elapsed) => panic!("no line within {within:?}"),
    };
    assert_eq!(next().await.as_deref(), Some("begun"));
    t.world().kill(&pod).await;
    assert_eq!(
        next().await.as_deref(),
        Some("begun"),
        "of the second start"
    );
    t.engine().remove(&chatty.id).await.given("remove");
    assert_eq!(next().await, None, "the pod is gone");
}

fn sh(line: &str, terminal: Terminal) -> ExecRequest {
    ExecRequest {
        command: vec!["sh".into(), "-c".into(), line.into()],
        terminal,
    }
}

/// Both channels and the status come back.
pub async fn exec_gives_output_and_status(t: &Bench) {
    let pod = t.running(&t.serving("web", 1)).await.remove(0).id;
    let line = sh("echo out; echo err >&2; exit 7", Terminal::Streams);
    let session = t.engine().exec(&pod, line).await.given("exec");
    let within = t.world().patience();
    let (status, output, errors) = converse(session, b"", within).await.given("a session");
    assert_eq!(
        (status, output.as_str(), errors.as_str()),
        (7, "out\n", "err\n")
    );
    assert_eq!(t.exec(&pod, "true").await, (0, String::new()));
    let absent = ExecRequest {
        command: vec!["no-such-program".into()],
        terminal: Terminal::Streams,
    };
    // Some engines say so before the session, some within.
    match run_command(&*t.engine(), &pod, absent, b"", within).await {
        Ok((status, _)) => assert!(status == 126 || status == 127, "{status}"),
        Err(error) => assert!(matches!(error, EngineError::Refused(_)), "{error:?}"),
    }
}

/// Input of more than one buffer comes through whole, and its end is seen.
pub async fn exec_takes_input(t: &Bench) {
    let pod = t.running(&t.serving("web", 1)).await.remove(0).id;
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let within = t.world().patience();
    // Whether its end can be told may show at a first command only.
    assert_eq!(t.exec(&pod, "true").await.0, 0);
    let line = match t.engine().capabilities().input_end {
        Support::Yes => "cat".to_owned(),
        Support::No => format!("head -c {}", text.len()),
    };
    let cat = sh(&line, Terminal::Streams);
    let echoed = run_command(&*t.engine(), &pod, cat, text.as_bytes(), within).await;
    let (status, echoed) = echoed.given("exec");
    assert_eq!(status, 0);
    assert_eq!(echoed.len(), text.len());
    assert_eq!(echoed, text);
}

/// A terminal is one, of the size that was asked for.
pub async fn exec_has_a_terminal(t: &Bench) {
    let pod = t.running(&t.serving("web", 1)).await.remove(0).id;
    let terminal = Terminal::Tty {
        columns: 91,
        rows: 17,
    };
    let within = t.world().patience();
    let line = sh("[ -t 0 ] && echo yes", terminal);
    let said = run_command(&*t.engine(), &pod, line, b"", within).await;
    let (status, output) = said.given("exec");
    assert_eq!((status, output.as_str()), (0, "yes\r\n"));
    let line = sh("[ -t 0 ] || echo no", Terminal::Streams);
    let said = run_command(&*t.engine(), &pod, line, b"", within).await;
    assert_eq!(said.given("exec").1, "no\n");
}

/// There must be a process to run beside.
pub async fn exec_in_what_does_not_run_is_refused(t: &Bench) {
    let task = t.task("done", "exit 0");
    t.apply(&task).await;
    let pod = t.phase(&task, PodPhase::Exited).await.id;
    let result = t.engine().exec(&pod, sh("true", Terminal::Streams)).await;
    let refused = matches!(result.as_ref().err(), Some(EngineError::WrongPhase { .. }));
    assert!(refused, "{:?}", result.err());
    let stats = t.engine().stats(&pod).await;
    assert!(
        matches!(stats, Err(EngineError::WrongPhase { .. })),
        "{stats:?}"
    );
}

/// What a pod uses.
pub async fn numbers_are_observed(t: &Bench) {
    let mut web = t.serving("web", 1);
    web.template.resources.memory = Some(ByteSize::mib(64));
    let pod = t.running(&web).await.remove(0).id;
    let stats = t.engine().stats(&pod).await.given("stats");
    assert!(stats.memory_bytes > 0);
    assert!(stats.memory_bytes < ByteSize::mib(64).0);
    assert_eq!(stats.memory_limit_bytes, Some(ByteSize::mib(64).0));
    if t.engine().capabilities().process_counts == Support::Yes {
        assert!(stats.pids > 0);
    }
}

/// The machines are there, with what they have.
pub async fn nodes_are_ready(t: &Bench) {
    let version = t.engine().ping().await.given("ping");
    assert!(!version.software.is_empty());
    let nodes = t.engine().nodes().await.given("nodes");
    let node = nodes.first().given("a node");
    assert!(node.status.ready, "{:?}", node.status.reason);
    assert!(node.status.capacity.cpu > 0.0);
    assert!(node.status.capacity.memory_bytes > 0);
    let web = t.serving("web", 1);
    let pod = t.running(&web).await.remove(0);
    let names: Vec<&str> = nodes.iter().map(|n| n.metadata.name.as_str()).collect();
    assert!(names.contains(&pod.status.node.given("a node").as_str()));
    t.until("the watch tells of a ready node", |seen| {
        seen.nodes
            .values()
            .any(|node| node.status.ready)
            .then_some(())
    })
    .await;
}
