//! Pods come, stay, change and go, on the real daemon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ground::{Ground, command, docker, pod_id, project, replicas, web, workload_id};
use coracle_engine::Engine as _;
use coracle_engine::stream::{
    Channel, ExecRequest, Follow, LogRequest, SessionInput, SessionOutput,
};
use coracle_model::name::ImageRef;
use coracle_model::pod::{ExitCause, PodPhase};
use coracle_model::workload::{TaskStart, Terminal, WorkloadKind};
use futures::StreamExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_change_and_go() {
    let mut ground = Ground::new().await;
    let began = Instant::now();
    ground.apply(web("web", replicas(2))).await;
    let first = ground.ready("web", 2).await;
    eprintln!("two pods ready after {:?}", began.elapsed());
    assert_ne!(first[0].status.address, first[1].status.address);
    assert!(first.iter().all(|p| p.id.name.as_str().starts_with("web-")));

    ground.apply(web("web", replicas(1))).await;
    ground.ready("web", 1).await;

    let mut second = web("web", replicas(1));
    second.generation = 2;
    ground.apply(second).await;
    ground
        .seen
        .until("generation 2 alone", |s| {
            let pods = s.of("web");
            pods.len() == 1 && pods[0].generation == 2 && pods[0].status.phase == PodPhase::Ready
        })
        .await;
    for (pod, phases) in &ground.seen.phases {
        if !ground.seen.pods.contains_key(pod) {
            assert_eq!(
                phases.last(),
                Some(&PodPhase::Stopping),
                "{pod}: {phases:?}"
            );
        }
    }
    ground.engine.remove(&workload_id("web")).await.unwrap();
    ground.gone("web").await;
    assert_eq!(ground.platform.containers(), [""; 0]);
    ground.engine.remove_project(&project()).await.unwrap();
    assert_eq!(ground.platform.networks(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_by_force_is_replaced_and_what_crashes_is_shown() {
    let mut ground = Ground::new().await;
    ground.apply(web("web", replicas(1))).await;
    let pod = ground.ready("web", 1).await.remove(0);
    let began = Instant::now();
    docker(&["rm", "-f", &ground.platform.container_of(&pod.id)]);
    ground
        .seen
        .until("another is ready", |s| {
            let pods = s.of("web");
            pods.len() == 1 && pods[0].id != pod.id && pods[0].status.phase == PodPhase::Ready
        })
        .await;
    eprintln!("replaced after {:?}", began.elapsed());

    ground
        .apply(command(
            "crash",
            WorkloadKind::Single,
            &["sh", "-c", "echo gone >&2; exit 3"],
        ))
        .await;
    ground
        .seen
        .until("its end is shown", |s| {
            s.of("crash").first().is_some_and(|p| {
                p.status.restarts >= 2
                    && p.status.phase == PodPhase::Pending
                    && p.status
                        .reason
                        .as_ref()
                        .is_some_and(|r| r.contains("exited with status 3"))
            })
        })
        .await;
    let exit = ground.seen.of("crash")[0].status.exit.clone().unwrap();
    assert_eq!((exit.code, exit.cause), (3, ExitCause::Exited));

    let mut hungry = command(
        "hungry",
        WorkloadKind::Task {
            start: TaskStart::AtOnce,
        },
        // Docker is told of what happens in the first moment by nobody.
        &["sh", "-c", "sleep 0.5; exec tail /dev/zero"],
    );
    hungry.template.resources.memory = Some("16Mi".parse().unwrap());
    ground.apply(hungry).await;
    ground
        .seen
        .until("it is told why", |s| {
            s.of("hungry").first().is_some_and(|p| {
                p.status.phase == PodPhase::Failed
                    && p.status
                        .exit
                        .as_ref()
                        .is_some_and(|e| e.cause == ExitCause::OutOfMemory)
            })
        })
        .await;
    assert!(
        ground.seen.of("hungry")[0]
            .status
            .reason
            .as_ref()
            .unwrap()
            .contains("memory of 16Mi")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let mut ground = Ground::new().await;
    ground
        .apply(command("foo", replicas(1), &["no-such-program"]))
        .await;
    let mut absent = web("absent", replicas(1));
    absent.template.image = ImageRef::new("127.0.0.1:1/no/such:1").unwrap();
    ground.apply(absent).await;
    let mut deaf = web("deaf", replicas(1));
    deaf.template.port = Some(9999);
    deaf.template.env = vec![(
        crate::ground::env("PORT"),
        coracle_model::env::Secret::new("8080"),
    )];
    ground.apply(deaf).await;
    let says = |s: &crate::ground::Seen, name: &str, phase: PodPhase, words: &str| {
        s.of(name).first().is_some_and(|p| {
            p.status.phase == phase && p.status.reason.as_ref().is_some_and(|r| r.contains(words))
        })
    };
    ground
        .seen
        .until("reasons are shown", |s| {
            says(s, "foo", PodPhase::Pending, "not found in the image")
                && says(s, "absent", PodPhase::Failed, "cannot be reached")
                && says(
                    s,
                    "deaf",
                    PodPhase::Starting,
                    "does not listen on port 9999",
                )
        })
        .await;
    // What is put right starts.
    let mut good = web("absent", replicas(1));
    good.generation = 2;
    ground.apply(good).await;
    ground.ready("absent", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_engine_takes_over_what_is_there() {
    let mut ground = Ground::new().await;
    let mut workload = web("web", replicas(2));
    workload.owner.app = Some(coracle_model::name::AppName::new("shop").unwrap());
    workload.template.drain = Duration::from_secs(30);
    ground.apply(workload.clone()).await;
    let before = ground.ready("web", 2).await;
    let platform = ground.crash().await;

    let mut ground = Ground::on(platform).await;
    let known = ground.seen.of("web");
    assert!(
        known.iter().all(|p| p.status.phase == PodPhase::Ready),
        "pods that serve are told as ready from the start: {known:?}"
    );
    let ids = |pods: &[coracle_model::workload::ObservedPod]| {
        pods.iter()
            .map(|p| (p.id.clone(), p.status.address, p.owner.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&known), ids(&before));
    ground.apply(workload).await;
    ground.ready("web", 2).await;
    assert_eq!(ids(&ground.seen.of("web")), ids(&before));

    // Requests in flight are waited for until somebody says that there are none.
    ground.engine.remove(&workload_id("web")).await.unwrap();
    ground
        .seen
        .until("all are stopping", |s| {
            s.of("web")
                .iter()
                .all(|p| p.status.phase == PodPhase::Stopping)
        })
        .await;
    assert_eq!(ground.platform.containers().len(), 2);
    let began = Instant::now();
    for pod in &before {
        ground.engine.drained(&pod.id).await.unwrap();
    }
    ground.gone("web").await;
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "drained() was not heard"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_run_once_and_can_be_attached_to() {
    let mut ground = Ground::new().await;
    let at_once = WorkloadKind::Task {
        start: TaskStart::AtOnce,
    };
    ground
        .apply(command("job", at_once, &["sh", "-c", "echo done; exit 4"]))
        .await;
    ground
        .seen
        .until("it failed", |s| {
            s.of("job")
                .first()
                .is_some_and(|p| p.status.phase == PodPhase::Failed)
        })
        .await;
    assert_eq!(
        ground.seen.of("job")[0].status.exit.as_ref().unwrap().code,
        4
    );

    let on_attach = WorkloadKind::Task {
        start: TaskStart::OnAttach {
            terminal: Terminal::Streams,
        },
    };
    ground
        .apply(command(
            "shell",
            on_attach,
            &["sh", "-c", "echo ready; cat; echo bad >&2; exit 7"],
        ))
        .await;
    let mut session = ground.engine.attach(&pod_id("shell")).await.unwrap();
    assert!(ground.engine.attach(&pod_id("shell")).await.is_err());
    session
        .input
        .send(SessionInput::Stdin("hello\n".into()))
        .await
        .unwrap();
    session.input.send(SessionInput::End).await.unwrap();
    let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
    while let Some(output) = session.output.next().await {
        match output.unwrap() {
            SessionOutput::Data(Channel::Stdout, bytes) => out.extend(bytes),
            SessionOutput::Data(Channel::Stderr, bytes) => err.extend(bytes),
            SessionOutput::Exit(status) => code = Some(status),
        }
    }
    assert_eq!(String::from_utf8_lossy(&out), "ready\nhello\n");
    assert_eq!(String::from_utf8_lossy(&err), "bad\n");
    assert_eq!(code, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_exec_connections_and_figures() {
    let mut ground = Ground::new().await;
    ground
        .apply(command(
            "talk",
            WorkloadKind::Single,
            &["sh", "-c", "echo begin; echo wrong >&2; sleep 0.3; exit 1"],
        ))
        .await;
    ground
        .seen
        .until("it is there", |s| {
            s.of("talk")
                .first()
                .is_some_and(|p| p.status.started.is_some())
        })
        .await;
    let follow = LogRequest {
        follow: Follow::Yes,
        ..LogRequest::default()
    };
    let mut lines = ground.engine.logs(&pod_id("talk"), follow).await.unwrap();
    let mut begins = 0;
    let mut moments = Vec::new();
    while begins < 3 {
        let line = tokio::time::timeout(crate::ground::LONG, lines.next())
            .await
            .expect("lines of every run come")
            .unwrap()
            .unwrap();
        moments.push(line.at);
        begins += u32::from(line.text == "begin");
    }
    let mut sorted = moments.clone();
    sorted.dedup();
    assert_eq!(sorted.len(), moments.len(), "no line comes twice");
    let last = LogRequest {
        tail: Some(1),
        ..LogRequest::default()
    };
    let tail: Vec<_> = ground
        .engine
        .logs(&pod_id("talk"), last)
        .await
        .unwrap()
        .collect()
        .await;
    assert_eq!(tail.len(), 1);

    ground.apply(web("web", WorkloadKind::Single)).await;
    ground.ready("web", 1).await;
    let run = |words: &[&str], terminal| ExecRequest {
        command: words.iter().map(|w| (*w).to_owned()).collect(),
        terminal,
    };
    let mut session = ground
        .engine
        .exec(
            &pod_id("web"),
            run(
                &["sh", "-c", "[ -t 0 ] && echo yes; exit 5"],
                Terminal::Tty {
                    columns: 97,
                    rows: 31,
                },
            ),
        )
        .await
        .unwrap();
    let (mut text, mut code) = (Vec::new(), None);
    while let Some(output) = session.output.next().await {
        match output.unwrap() {
            SessionOutput::Data(_, bytes) => text.extend(bytes),
            SessionOutput::Exit(status) => code = Some(status),
        }
    }
    assert_eq!(code, Some(5));
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("yes"), "{text}");

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = ground.engine.connect(&pod_id("web"), 8080).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.ends_with("ok\n") || answer.ends_with("ok"),
        "{answer}"
    );

    let first = ground.engine.stats(&pod_id("web")).await.unwrap();
    let second = ground.engine.stats(&pod_id("web")).await.unwrap();
    assert!(first.memory_bytes > 0 && first.cpu.is_none() && second.cpu.is_some());
    assert_eq!(first.memory_limit_bytes, Some(1 << 30));
    let nodes = ground.engine.nodes().await.unwrap();
    let used = nodes[0].status.used.unwrap();
    assert!(used.memory_bytes > 0 && used.disk_bytes.unwrap() > 0 && used.cpu >= 0.0);
}

/// Law 2, the hard way: the engine dies again and again in the middle of whatever it does.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_at_any_moment_leaves_nothing() {
    /// More lives make the test longer, not sharper.
    const LIVES: u64 = 12;
    let mut platform = Ground::new().await.crash().await;
    for life in 0..LIVES {
        let ground = Ground::on(Arc::clone(&platform)).await;
        let mut first = web("first", replicas(u32::try_from(life % 3).unwrap()));
        first.generation = life / 4;
        ground.apply(first).await;
        if life % 2 == 0 {
            let mut second = web("second", WorkloadKind::Single);
            second.generation = life;
            ground.apply(second).await;
        } else {
            ground.engine.remove(&workload_id("second")).await.unwrap();
        }
        // Some way into what that begins: after another number of events in each life.
        let mut events = ground.engine.watch();
        for _ in 0..life * 2 {
            let next = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
            if next.is_err() {
                break;
            }
        }
        platform = ground.crash().await;
    }
    let mut ground = Ground::on(platform).await;
    let mut first = web("first", replicas(2));
    first.generation = 100;
    ground.apply(first).await;
    ground.engine.remove(&workload_id("second")).await.unwrap();
    ground
        .seen
        .until("only what is wished is there", |s| {
            let pods = s.of("first");
            s.of("second").is_empty()
                && pods.len() == 2
                && pods
                    .iter()
                    .all(|p| p.generation == 100 && p.status.phase == PodPhase::Ready)
        })
        .await;
    assert_eq!(ground.platform.containers().len(), 2);
    assert_eq!(ground.platform.networks().len(), 1);
    ground.engine.remove_project(&project()).await.unwrap();
    assert_eq!(ground.platform.containers(), [""; 0]);
    assert_eq!(ground.platform.networks(), [""; 0]);
}
