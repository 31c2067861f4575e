//! Bare pods, one-off commands and projects.

use std::time::Duration;

use coracle_engine::sim::{Behaviour, image};
use coracle_model::name::{PodName, ProjectName};
use coracle_model::pod::{PodPhase, PodStart};
use coracle_model::project::ProjectSpec;

use crate::platform::{Platform, ann, hello, project, until, web};

fn bare(image: &str) -> coracle_model::pod::PodSpec {
    serde_json::from_value(serde_json::json!({"image": image, "port": 8080})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_bare_pod_is_made_changed_and_deleted_also_over_a_restart() {
    let platform = Platform::new();
    platform.sim().define(image("tool:1"));
    platform.sim().define(image("tool:2"));
    let life = platform.start().await;
    let name = PodName::new("tool").unwrap();
    life.control
        .create_pod(&project(), &name, bare("tool:1"), &ann())
        .await
        .unwrap();
    until("it is ready", || async {
        platform.pods() == ["tool ready"]
    })
    .await;
    platform.kill(life).await;
    let life = platform.start().await;
    life.control
        .update_pod(&project(), &name, bare("tool:2"), None, &ann())
        .await
        .unwrap();
    until("it runs the other image", || async {
        let pods = platform.sim().pods();
        pods.len() == 1
            && pods[0].image.contains("tool:2")
            && pods[0].status.phase == PodPhase::Ready
    })
    .await;
    life.control
        .delete_pod(&project(), &name, None, &ann())
        .await
        .unwrap();
    until("it is gone", || async {
        life.control.pod(&project(), &name).await.is_err()
    })
    .await;
    assert_eq!(platform.pods(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_one_off_command_waits_to_be_attached_to_and_is_cleared_away() {
    let platform = Platform::new();
    let echo = Behaviour::exits(0, &["done"]);
    platform
        .sim()
        .define(image("hello:1").ports([8080]).on_command("task", echo));
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(1)).await;
    life.decided(v1).await;
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
    let (project, app) = (project(), hello());
    let command = vec!["task".to_owned()];
    let run = life
        .control
        .run_once(&project, &app, command, PodStart::Attached, &ann())
        .await;
    let name = run.unwrap().metadata.name;
    until("it waits", || async { platform.pods().len() == 2 }).await;
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert!(
        platform.pods().iter().any(|pod| pod.starts_with(&name)),
        "it still waits"
    );
    let name = PodName::new(name).unwrap();
    until("it is cleared away", || async {
        life.control.pod(&project, &name).await.is_err()
    })
    .await;
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_project_has_a_network_as_long_as_it_exists() {
    let platform = Platform::new();
    let life = platform.start().await;
    let shop = ProjectName::new("shop").unwrap();
    life.control
        .create_project(&shop, ProjectSpec::default(), &ann())
        .await
        .unwrap();
    let network = || {
        platform
            .sim()
            .leftovers()
            .contains(&"network shop".to_owned())
    };
    until("its network is there", || async { network() }).await;
    life.control
        .delete_project(&shop, None, &ann())
        .await
        .unwrap();
    until("it is gone", || async {
        life.control.project(&shop).await.is_err()
    })
    .await;
    assert!(!network());
}
