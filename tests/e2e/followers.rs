//! A control plane that does not lead does everything that is asked of it: nobody needs to know which one leads.

use std::time::Instant;

use coracle_e2e::{Fleet, LONG, Load, ONE_POD, Source, until_ok};
use reqwest::Method;
use serde_json::{Value, json};

async fn web_pod(fleet: &Fleet, number: usize) -> Value {
    let api = fleet.members[number].api().await;
    let pods = api.list("/projects/default/pods").await.unwrap();
    let web = pods.into_iter().find(|pod| pod["spec"]["process"] == "web");
    web.unwrap()
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_of_one_that_follows_is_done() {
    let Some(fleet) = Fleet::start(3, 10).await else {
        return;
    };
    let (leader, _, _) = fleet.leads_after(0).await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    for number in [one, other] {
        fleet.members[number].log_in().await;
    }
    let (first, second) = (&fleet.members[one], &fleet.members[other]);
    let began = Instant::now();
    let note = |what: &str| eprintln!("after {} ms: {what}", began.elapsed().as_millis());

    // An upload and its build, whose log is told here while another works at it.
    let source = Source::page("first words");
    source.write(
        "Procfile",
        "web: echo started; exec serve\nworker: while true; do echo working; sleep 0.2; done\n",
    );
    let deployed = first
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    assert!(
        deployed.last_line().contains("shop.localhost"),
        "{deployed}"
    );
    assert!(
        deployed.stderr.contains("index.html"),
        "the build is told of: {deployed}"
    );
    // The URL that was printed shows it at the first request.
    let page = first.get("shop.localhost", "/").await;
    assert_eq!((page.status, page.body.as_str()), (200, "first words\n"));
    note("deployed");
    let log = second.coracle(&["builds", "log", "shop", "1"]).await;
    assert!(log.ok().contains("index.html"), "{log}");

    note("a build's log");
    let mut follow = second.coracle_running(&["logs", "shop", "-f"]);
    follow.says("working").await;
    drop(follow);
    note("logs are followed");
    let web = web_pod(&fleet, one).await;
    let done = first
        .coracle_with(
            &["exec", name(&web), "--", "sh", "-c", "cat; exit 7"],
            b"in and out",
        )
        .await;
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(7), "in and out"),
        "{done}"
    );
    let done = second
        .coracle(&["run", "shop", "--", "sh", "-c", "echo once; exit 5"])
        .await;
    assert_eq!((done.code, done.stdout.trim()), (Some(5), "once"), "{done}");
    first.coracle(&["scale", "shop", "web=2"]).await.ok();
    second
        .coracle(&["env", "shop", "set", "WORD=set"])
        .await
        .ok();
    note("commands are run");
    second.settled().await;

    // Users notice nothing of a restart, and of a pod that is deleted.
    let load = Load::start(first.http(), "shop.localhost", "/", ONE_POD, 100);
    load.more(20).await;
    let before = fleet.containers();
    let web = web_pod(&fleet, other).await;
    let at = format!("/projects/default/pods/{}", name(&web));
    let api = second.api().await;
    let again = api.post(&format!("{at}/restart"), &json!({})).await;
    assert_eq!(again.status, 202, "{again:?}");
    until_ok("the pod to be started again", LONG, || async {
        let now = api.get(&at).await.ok();
        let again = now["status"]["started"] != web["status"]["started"];
        if again && now["status"]["phase"] == "ready" {
            return Ok(());
        }
        Err(now.to_string())
    })
    .await;
    first.settled().await;
    let after = fleet.containers();
    let ids = |all: &[String]| -> Vec<String> {
        let id = |one: &String| one.split(' ').next().unwrap().to_owned();
        all.iter().map(id).collect()
    };
    assert_eq!(ids(&before), ids(&after), "in place");
    let same = before.iter().filter(|one| after.contains(one)).count();
    assert_eq!(
        same,
        before.len() - 1,
        "one, and once: {before:?} became {after:?}"
    );
    first.api().await.delete(&at).await.ok();
    until_ok("the pod to go", LONG, || async {
        match first.api().await.get(&at).await.status {
            404 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
    second.settled().await;
    let left = fleet.containers();
    assert_eq!(left.len(), after.len(), "another took its place");
    let same = after.iter().filter(|one| left.contains(one)).count();
    assert_eq!(same, after.len() - 1, "{after:?} became {left:?}");
    load.more(20).await;
    load.stop()
        .await
        .nothing_failed("pods that are restarted and deleted by one that follows");

    note("a pod is restarted, a pod is deleted");
    // A build that is ended.
    source.write("Dockerfile", "FROM coracle-test:1\nRUN sleep 600\n");
    let at = "/projects/default/apps/shop/builds";
    let queued = first
        .api()
        .await
        .upload(at, source.archive())
        .await
        .unwrap()
        .ok();
    let number = &queued["spec"]["number"];
    let at = format!("{at}/{number}");
    let phase = async || {
        let build = second.api().await.get(&at).await.ok();
        build["status"]["phase"].as_str().unwrap().to_owned()
    };
    let is = async |wanted: &str| {
        until_ok("the build's phase", LONG, || async {
            match phase().await {
                phase if phase == wanted => Ok(()),
                phase => Err(phase),
            }
        })
        .await;
    };
    is("running").await;
    let ended = second
        .api()
        .await
        .send(Method::POST, &format!("{at}/cancel"), None)
        .await;
    assert!(ended.is_ok_and(|ended| ended.status < 300));
    is("cancelled").await;

    note("a build is ended");
    // A bare pod, and the node.
    let body = json!({"metadata": {"name": "tool"}, "spec": {"image": "coracle-test:1", "command": ["sleep", "600"]}});
    first
        .api()
        .await
        .post("/projects/default/pods", &body)
        .await
        .ok();
    let at = "/projects/default/pods/tool";
    until_ok("the bare pod to run", LONG, || async {
        let pod = second.api().await.get(at).await;
        match pod.body["status"]["phase"].as_str() {
            Some("ready") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    second.api().await.delete(at).await.ok();
    note("a bare pod comes and goes");
    let node = first.api().await.list("/nodes").await.unwrap();
    let node = name(&node[0]).to_owned();
    for (verb, unschedulable) in [("cordon", true), ("uncordon", false)] {
        first.coracle(&["nodes", verb, &node]).await.ok();
        until_ok("the node to be so", LONG, || async {
            let seen = second.api().await.get(&format!("/nodes/{node}")).await.ok();
            let cordoned = seen.to_string().contains("cordoned\"");
            if cordoned == unschedulable {
                Ok(())
            } else {
                Err(seen.to_string())
            }
        })
        .await;
    }
    note("the node is cordoned and open");
    second.settled().await;
    first.coracle(&["rollback", "shop"]).await.ok();
    second.settled().await;
    first
        .api()
        .await
        .delete("/projects/default/apps/shop")
        .await
        .ok();
    second.nothing_left().await;
    note("nothing is left");
}
