//! Samples of what is used, on virtual time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_control::controllers::Options;
use coracle_control::usage::Past;
use coracle_engine::fault::{Fault, Verb};
use coracle_engine::sim::{Behaviour, image};
use coracle_model::name::AppName;
use coracle_model::route::{AppTraffic, GatewayReport};
use coracle_model::usage::{Metric, Unit, Usage, UsageRange, UsageSample};
use tokio::time::Instant;

use crate::platform::{Life, Platform, hello, project, until, web};

/// The virtual wall clock.
struct Clock {
    epoch: DateTime<Utc>,
    at: Instant,
}

impl Clock {
    fn of(options: &Options) -> Self {
        match options.clock {
            coracle_control::controllers::Clock::Timers { epoch, at } => Self { epoch, at },
            coracle_control::controllers::Clock::System => unreachable!("time is virtual here"),
        }
    }

    fn past(&self, range: UsageRange) -> Past {
        Past {
            range,
            now: self.epoch + self.at.elapsed(),
            since: None,
        }
    }
}

/// With images to deploy.
fn platform_with(nodes: u8) -> Platform {
    let platform = Platform::with_nodes(nodes);
    for name in ["hello:1", "hello:2"] {
        let image = image(name).ports([8080]).behaviour(Behaviour::serves());
        platform.sim().define(image);
    }
    platform
}

fn latest(life: &Life) -> Option<std::sync::Arc<UsageSample>> {
    life.control.usage.samples().borrow().clone()
}

fn known(usage: &Usage, metric: Metric) -> Vec<f32> {
    let series = usage.series.iter().find(|series| series.name == metric);
    series.unwrap().values.iter().flatten().copied().collect()
}

fn runs(life: &Life) -> u64 {
    let statuses = life.controllers.statuses();
    statuses
        .iter()
        .find(|status| status.name == "usage")
        .unwrap()
        .runs
}

async fn sampled(life: &Life, times: u64) {
    let goal = runs(life) + times;
    until(&format!("{times} samples are taken"), || async {
        runs(life) >= goal
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sampled_while_nothing_runs() {
    let platform = platform_with(1);
    let life = platform.start().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(runs(&life), 0);
    assert!(latest(&life).is_none());
    life.decided(life.deploy("hello:1", &web(1)).await).await;
    sampled(&life, 3).await;
    assert_eq!(latest(&life).unwrap().pods.len(), 1);
    life.control
        .delete_app(&project(), &hello(), None, &crate::platform::ann())
        .await
        .unwrap();
    until("the present is forgotten", || async {
        latest(&life).is_none()
    })
    .await;
    let before = runs(&life);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(runs(&life), before);
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_taken_every_quarter_of_a_minute() {
    let platform = platform_with(2);
    let clock = Clock::of(&platform.options);
    let life = platform.start().await;
    life.decided(life.deploy("hello:1", &web(2)).await).await;
    sampled(&life, 2).await;
    let before = runs(&life);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(runs(&life) - before, 40);
    let sample = latest(&life).unwrap();
    assert_eq!(sample.at.timestamp() % 15, 0);
    let pod = &sample.pods[0];
    assert_eq!(pod.app, Some(hello()));
    assert!(
        pod.cpu.is_some_and(|cpu| (cpu - 0.01).abs() < 0.001),
        "{pod:?}"
    );
    assert_eq!(pod.memory, Some(4 << 20));
    let app = &sample.apps[0];
    assert_eq!(
        (&app.name, app.pods, app.memory),
        (&hello(), 2, Some(8 << 20))
    );
    assert_eq!(sample.nodes.len(), 2);
    assert_eq!(sample.nodes[0].memory_limit, Some(8 << 30));
    let past = clock.past(UsageRange::Hour);
    let id = coracle_model::workload::PodId {
        project: pod.project.clone(),
        name: pod.name.clone(),
    };
    let usage = life.control.usage.of_pod(&id, past);
    assert_eq!(usage.step_seconds, 15);
    let memory = known(&usage, Metric::Memory);
    assert!((41..=44).contains(&memory.len()), "{}", memory.len());
    assert!(usage.series.iter().all(|series| series.values.len() == 240));
    let usage = life
        .control
        .usage
        .of_app(&project(), &hello(), clock.past(UsageRange::Day));
    assert_eq!(usage.step_seconds, 300);
    let pods = known(&usage, Metric::Pods);
    assert!((2..=4).contains(&pods.len()), "{pods:?}");
    let of_platform = life.control.usage.of_platform(past);
    let cpu = of_platform
        .series
        .iter()
        .find(|series| series.name == Metric::Cpu)
        .unwrap();
    assert_eq!((cpu.unit, cpu.limit), (Unit::Cores, Some(8.0)));
    let node = life.control.usage.of_node("node-a", past);
    assert!(known(&node, Metric::Memory).len() > 40);
    let nobody = AppName::new("nobody").unwrap();
    let none = life.control.usage.of_app(&project(), &nobody, past);
    assert!(
        none.series
            .iter()
            .all(|series| series.values.iter().all(Option::is_none))
    );
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_leaves_a_gap() {
    let platform = platform_with(1);
    let clock = Clock::of(&platform.options);
    let life = platform.start().await;
    life.decided(life.deploy("hello:1", &web(1)).await).await;
    sampled(&life, 4).await;
    for fault in [Fault::Unavailable, Fault::Hangs] {
        platform.sim().fail_next(Verb::Usage, 1, fault);
        let before = runs(&life);
        until("it is noted", || async {
            let statuses = life.controllers.statuses();
            let status = statuses
                .iter()
                .find(|status| status.name == "usage")
                .unwrap();
            runs(&life) > before && status.failing == 1
        })
        .await;
        sampled(&life, 2).await;
    }
    let app = life
        .control
        .usage
        .of_app(&project(), &hello(), clock.past(UsageRange::Hour));
    let memory = &app.series[1].values;
    let first = memory.iter().position(Option::is_some).unwrap();
    let gaps = memory[first..]
        .iter()
        .filter(|value| value.is_none())
        .count();
    assert!((2..=4).contains(&gaps), "{:?}", &memory[first..]);
}

#[tokio::test(start_paused = true)]
async fn gateways_counters_become_rates() {
    let platform = platform_with(1);
    let clock = Clock::of(&platform.options);
    let life = platform.start().await;
    life.decided(life.deploy("hello:1", &web(1)).await).await;
    sampled(&life, 1).await;
    let mut traffic = AppTraffic::default();
    // Three requests a second, one in ten of them an error, told every ten seconds.
    for _ in 0..30 {
        traffic.answers[1] += 27;
        traffic.answers[4] += 3;
        traffic.wait_micros += 30 * 2000;
        let report = GatewayReport {
            generation: life.control.feed.gateways()["gateway"].report.generation,
            apps: [("default/hello".to_owned(), traffic.clone())].into(),
            ..GatewayReport::default()
        };
        life.control.feed.report("gateway", report).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let app = life
        .control
        .usage
        .of_app(&project(), &hello(), clock.past(UsageRange::Hour));
    for (metric, expected) in [
        (Metric::Requests, 3.0_f32),
        (Metric::Errors, 0.3),
        (Metric::Latency, 2.0),
    ] {
        let values = known(&app, metric);
        assert!(values.len() >= 18, "{metric:?}: {values:?}");
        let near = |value: &&f32| (**value - expected).abs() < expected * 0.01;
        let good = values.iter().filter(near).count();
        assert!(good + 2 >= values.len(), "{metric:?}: {values:?}");
    }
    let sample = latest(&life).unwrap();
    assert!(sample.apps[0].requests.is_some_and(|rate| rate > 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_pods_past_goes_with_the_pod_and_an_apps_stays() {
    let platform = platform_with(1);
    let clock = Clock::of(&platform.options);
    let life = platform.start().await;
    life.decided(life.deploy("hello:1", &web(1)).await).await;
    sampled(&life, 4).await;
    let first = latest(&life).unwrap().pods[0].clone();
    life.decided(life.deploy("hello:2", &web(1)).await).await;
    life.at_rest(&platform, &["hello-web-v2 ready"]).await;
    sampled(&life, 2).await;
    let id = coracle_model::workload::PodId {
        project: first.project.clone(),
        name: first.name.clone(),
    };
    let past = clock.past(UsageRange::Hour);
    let pod = life.control.usage.of_pod(&id, past);
    assert!(known(&pod, Metric::Memory).is_empty(), "its pod is gone");
    let app = life.control.usage.of_app(&project(), &hello(), past);
    assert!(known(&app, Metric::Memory).len() >= 6);
}
