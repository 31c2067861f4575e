//! What a pod may do, and what is not the platform's.

use coracle_engine::{Engine as _, EngineError};
use coracle_model::env::Secret;
use coracle_model::name::{ProjectName, VolumeName};
use coracle_model::pod::PodPhase;
use coracle_model::quantity::Cpu;
use coracle_model::workload::{Mount, WorkloadKind};

use crate::ground::{Ground, IMAGE, docker, env, pod_id, project, quiet, replicas, web};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_few_rights_and_publishes_nothing() {
    let mut ground = Ground::new().await;
    let mut workload = web("web", WorkloadKind::Single);
    workload.template.resources.memory = Some("64Mi".parse().unwrap());
    workload.template.resources.cpu = Some(Cpu::from_milli(500));
    workload.template.env = vec![(env("GREETING"), Secret::new("a=b\n\"c\""))];
    ground.apply(workload).await;
    ground.ready("web", 1).await;
    let name = ground.platform.container_of(&pod_id("web"));
    let inspected: serde_json::Value = serde_json::from_str(&docker(&["inspect", &name])).unwrap();
    let host = &inspected[0]["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    let added: Vec<&str> = host["CapAdd"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_str().unwrap())
        .collect();
    for risky in [
        "NET_RAW",
        "MKNOD",
        "SYS_ADMIN",
        "SYS_CHROOT",
        "NET_ADMIN",
        "SYS_PTRACE",
    ] {
        assert!(!added.iter().any(|c| c.ends_with(risky)), "{added:?}");
    }
    assert_eq!(
        host["SecurityOpt"],
        serde_json::json!(["no-new-privileges"])
    );
    assert_eq!(host["PidsLimit"], 512);
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["MemorySwap"], 64 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
    assert_eq!(host["PublishAllPorts"], false);
    assert!(
        host["PortBindings"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    );
    assert!(host["Binds"].is_null());
    assert_eq!(inspected[0]["Mounts"], serde_json::json!([]));
    assert_eq!(host["LogConfig"]["Config"]["max-size"], "10m");
    let ports = docker(&["port", &name]);
    assert_eq!(ports, "");
    let effective = docker(&[
        "exec",
        &name,
        "grep",
        "-E",
        "CapEff|NoNewPrivs",
        "/proc/1/status",
    ]);
    assert!(effective.contains("NoNewPrivs:\t1"), "{effective}");
    let told = docker(&["exec", &name, "sh", "-c", "echo \"$PORT $GREETING\""]);
    assert_eq!(told, "8080 a=b\n\"c\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_kept_whoever_restarts() {
    let mut ground = Ground::new().await;
    ground.apply(web("web", replicas(2))).await;
    let before = ground.ready("web", 2).await;
    for pod in &before {
        docker(&["restart", "-t", "1", &ground.platform.container_of(&pod.id)]);
    }
    ground
        .seen
        .until("both run again", |s| {
            s.of("web").iter().zip(&before).all(|(now, before)| {
                now.id == before.id
                    && now.status.phase == PodPhase::Ready
                    && now.status.started > before.status.started
            })
        })
        .await;
    for (now, before) in ground.seen.of("web").iter().zip(&before) {
        assert_eq!(now.status.address, before.status.address);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_strangers_have_are_refused() {
    let mut ground = Ground::new().await;
    let name = ground.platform.container_of(&pod_id("alone"));
    let other = ProjectName::new("taken").unwrap();
    let network = format!("coracle-{}-taken", ground.platform.id);
    let volume = format!("coracle-{}-default.data", ground.platform.id);
    docker(&["create", "--name", &name, IMAGE]);
    docker(&["network", "create", "--subnet", "10.214.78.0/28", &network]);
    docker(&["volume", "create", &volume]);

    ground.apply(web("alone", WorkloadKind::Single)).await;
    ground
        .seen
        .until("the stranger is named", |s| {
            s.of("alone").first().is_some_and(|p| {
                p.status.phase == PodPhase::Failed
                    && p.status
                        .reason
                        .as_ref()
                        .is_some_and(|r| r.contains("not this platform's"))
            })
        })
        .await;
    let refused = ground.engine.ensure_project(&other).await;
    assert!(
        matches!(refused, Err(EngineError::Refused(_))),
        "{refused:?}"
    );
    let refused = ground.engine.remove_project(&other).await;
    assert!(
        matches!(refused, Err(EngineError::Refused(_))),
        "{refused:?}"
    );
    let data = VolumeName::new("data").unwrap();
    let refused = ground.engine.ensure_volume(&project(), &data, None).await;
    assert!(
        matches!(refused, Err(EngineError::Refused(_))),
        "{refused:?}"
    );
    let refused = ground.engine.remove_volume(&project(), &data).await;
    assert!(
        matches!(refused, Err(EngineError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(ground.engine.volumes().await.unwrap(), []);
    docker(&["inspect", &name]);
    quiet(&["rm", "-f", &name]);
    quiet(&["network", "rm", &network]);
    quiet(&["volume", "rm", &volume]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_run_is_refused_at_once() {
    let ground = Ground::new().await;
    let refused = async |change: &dyn Fn(&mut coracle_model::workload::Workload), words: &str| {
        let mut workload = web("bad", replicas(1));
        change(&mut workload);
        match ground.engine.apply(workload).await {
            Err(EngineError::Refused(reason)) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{words}: {other:?}"),
        }
    };
    use coracle_model::release::CommandLine;
    refused(
        &|w| w.template.command = Some(CommandLine::Exec(Vec::new())),
        "command",
    )
    .await;
    refused(
        &|w| w.template.command = Some(CommandLine::Shell("  ".into())),
        "command",
    )
    .await;
    refused(
        &|w| w.template.resources.memory = Some("1Mi".parse().unwrap()),
        "memory",
    )
    .await;
    refused(
        &|w| w.template.env = vec![(env("A"), Secret::new("a\0b"))],
        "env",
    )
    .await;
    for path in ["/", "data", "/a/../etc"] {
        refused(
            &|w| {
                w.template.volumes = vec![Mount {
                    volume: VolumeName::new("data").unwrap(),
                    path: path.to_owned(),
                }];
            },
            "volume",
        )
        .await;
    }
    assert!(ground.seen.pods.is_empty());
    assert_eq!(ground.platform.containers(), [""; 0]);
}
