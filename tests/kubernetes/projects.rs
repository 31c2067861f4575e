//! Scale over the nodes, names, the boundary between projects, and that nothing is left of what is deleted.

use std::collections::BTreeSet;
use std::sync::Mutex;

use coracle_e2e::{Cluster, LONG, Source, VERY_LONG, until, until_ok};
use serde_json::{Value, json};

/// Asserts that no object of an app or a pod is left in the cluster, only what projects have from the start.
pub(crate) async fn nothing_left(cluster: &Cluster) {
    until_ok("everything to be removed", VERY_LONG, || async {
        let left = cluster.objects();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a name means inside a pod.
async fn addresses_of(cluster: &Cluster, project: &str, pod: &str, name: &str) -> BTreeSet<String> {
    let line = ["-p", project, "exec", pod, "--", "nslookup", name];
    let done = cluster.coracle(&line).await;
    // The first address is that of the name server.
    let answer = done
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Name:"));
    answer
        .filter_map(|line| line.strip_prefix("Address:"))
        .map(|rest| rest.trim().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_spread_over_the_nodes_and_find_each_other() {
    let cluster = Cluster::start().await;
    let host = cluster.host("shop");
    let image = cluster.push(&Source::page("hello"), "shop", "1");
    cluster.deploy("shop", &image).await.ok();
    let nodes = cluster.kubectl().nodes().len();
    let line = format!("web={nodes}");
    let scaled = cluster.run(&["scale", "shop", &line]).await;
    scaled.ok();
    cluster.settled().await;
    eprintln!(
        "scale from 1 to {nodes}: {} ms for the command",
        scaled.took.as_millis()
    );

    let pods = cluster.pods().await;
    assert_eq!(pods.len(), nodes);
    let places: BTreeSet<&str> = pods
        .iter()
        .map(|pod| text(&pod["status"]["node"]))
        .collect();
    assert_eq!(places.len(), nodes, "{places:?}");
    let addresses: BTreeSet<String> = pods
        .iter()
        .map(|pod| text(&pod["status"]["address"]).to_owned())
        .collect();
    assert_eq!(addresses.len(), nodes, "{addresses:?}");

    let hosts = Mutex::new(BTreeSet::new());
    until("all of them to answer", LONG, || async {
        let said = cluster.get(&host, "/cgi-bin/whoami").await.body;
        let mut hosts = hosts.lock().unwrap();
        hosts.insert(said);
        hosts.len() == nodes
    })
    .await;
    let pod = text(&pods[0]["metadata"]["name"]);
    until("the name to mean all of them", LONG, || async {
        addresses_of(&cluster, cluster.project(), pod, "shop").await == addresses
    })
    .await;
    for place in ["shop"]
        .into_iter()
        .chain(addresses.iter().map(String::as_str))
    {
        let url = format!("http://{place}:8080/");
        let wget = ["timeout", "5", "wget", "-q", "-O", "-", &url];
        let done = cluster
            .run(&[&["exec", pod, "--"], &wget[..]].concat())
            .await;
        assert!(done.ok().contains("hello"), "{place}: {done}");
    }

    cluster.run(&["scale", "shop", "web=0"]).await.ok();
    cluster.settled().await;
    assert_ne!(cluster.get(&host, "/").await.status, 200);
    cluster.run(&["scale", "shop", "web=1"]).await.ok();
    cluster.serves(&host, "/", 200, "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_are_apart_and_leave_nothing() {
    let cluster = Cluster::start().await;
    let api = cluster.api().await;
    let other = format!("{}b", cluster.project());
    cluster.make_project(&other).await;
    let page = Source::page("hello");
    let image = cluster.push(&page, "shop", "1");
    cluster.deploy("shop", &image).await.ok();
    let image = cluster.push_for(&other, &page, "shop", "1");
    let line = ["-p", &other, "deploy", "--app", "shop", "--image"];
    let deployed = cluster.coracle(&[&line[..], &[&image]].concat()).await;
    let url = format!("http://shop-{other}.localhost:{}", cluster.http().port());
    assert_eq!(deployed.last_line(), url);

    // Each project's name for `shop` means its own.
    let path = format!("/projects/{other}/pods");
    let there = api.list(&path).await.unwrap().remove(0);
    let here = cluster.pods().await.remove(0);
    for (project, pod) in [(cluster.project(), &here), (&*other, &there)] {
        let name = text(&pod["metadata"]["name"]);
        let own = BTreeSet::from([text(&pod["status"]["address"]).to_owned()]);
        until("the name to mean the project's own", LONG, || async {
            addresses_of(&cluster, project, name, "shop").await == own
        })
        .await;
    }
    // Whoever enforces policies (no plugin of the test cluster does) lets in the own project and the platform.
    let kubectl = cluster.kubectl();
    for namespace in [cluster.namespace(), format!("coracle-{other}")] {
        let policies = kubectl.get(&["networkpolicies", "-n", &namespace]);
        let [policy] = policies.as_slice() else {
            panic!("{policies:?}");
        };
        assert_eq!(policy["spec"]["podSelector"], json!({}), "{policy}");
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        let from = policy["spec"]["ingress"][0]["from"].as_array().unwrap();
        let strangers = from.iter().filter(|rule| {
            let system = &rule["namespaceSelector"]["matchLabels"]["coracle.io/system"];
            !rule["podSelector"].is_object() && *system != "true"
        });
        assert_eq!(strangers.count(), 0, "{policy}");
        let pods = kubectl.get(&["pods", "-n", &namespace]);
        for pod in pods {
            assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
            let security = &pod["spec"]["containers"][0]["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{pod}");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{pod}");
        }
    }

    let refused = api.delete(&format!("/projects/{other}")).await;
    assert_eq!(
        refused.problem(409),
        "conflict",
        "a project that has apps is not deleted"
    );
    for project in [cluster.project(), &other] {
        let app = format!("/projects/{project}/apps/shop");
        api.delete(&app).await.ok();
        until("the app to be gone", VERY_LONG, || async {
            api.get(&app).await.status == 404
        })
        .await;
        let path = format!("/projects/{project}");
        api.delete(&path).await.ok();
        until("the project to be gone", VERY_LONG, || async {
            api.get(&path).await.status == 404
        })
        .await;
    }
    nothing_left(&cluster).await;
    until_ok("the namespaces to be gone", VERY_LONG, || async {
        let left = cluster.namespaces();
        let ours = left.iter().any(|name| name.contains(cluster.project()));
        if ours {
            Err(format!("{left:?}"))
        } else {
            Ok(())
        }
    })
    .await;
}
