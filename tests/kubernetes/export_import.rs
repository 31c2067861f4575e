//! From one machine to a cluster and back: what leaves the one engine runs on the other.

use coracle_e2e::{Cluster, Finished, Platform, Source};
use serde_json::json;

const PASSPHRASE: &[u8] = b"correct horse battery\n";

async fn export(from: &Platform, project: &str, file: &str, passphrase: &str) {
    let seal = ["--passphrase-file", passphrase];
    let export = [&["--project", project, "export", file], &seal[..]].concat();
    from.coracle(&export).await.ok();
}

async fn import(to: &Platform, file: &str, passphrase: &str) -> Finished {
    let import = ["import", file, "--passphrase-file", passphrase];
    let imported = to.coracle(&import).await;
    imported.ok();
    imported
}

/// What the app's own pods are told.
async fn key(platform: &Platform, project: &str) -> String {
    let run = ["--project", project, "run", "shop", "--"];
    let told = [&run[..], &["sh", "-c", "echo $KEY"]].concat();
    platform.coracle(&told).await.ok().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_moves_from_a_machine_to_a_cluster_and_back() {
    let cluster = Cluster::start().await;
    let (project, host) = (cluster.project(), cluster.host("shop"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (there, back, passphrase) = (path("there"), path("back"), path("passphrase"));
    std::fs::write(&passphrase, PASSPHRASE).unwrap();

    let machine = Platform::start().await;
    let wish = json!({"metadata": {"name": project}, "spec": {}});
    machine.api().await.post("/projects", &wish).await.ok();
    let source = Source::page("first");
    for text in ["first\n", "second\n"] {
        source.write("index.html", text);
        let deploy = [
            "--project",
            project,
            "deploy",
            source.arg(),
            "--app",
            "shop",
        ];
        machine.coracle(&deploy).await.ok();
    }
    let set = [
        "--project",
        project,
        "env",
        "shop",
        "set",
        "KEY=hunter2",
        "--secret",
    ];
    machine.coracle(&set).await.ok();
    export(&machine, project, &there, &passphrase).await;

    import(&cluster, &there, &passphrase).await;
    let took = cluster.serves(&host, "/", 200, "second").await;
    eprintln!(
        "served by the cluster {} ms after the import",
        took.as_millis()
    );
    assert_eq!(key(&cluster, project).await, "hunter2");
    let again = import(&cluster, &there, &passphrase).await;
    assert_eq!(again.stdout.matches("unchanged").count(), 2, "{again}");
    // The builds of the machine are history on the cluster, with their images.
    cluster.run(&["rollback", "shop", "v1"]).await.ok();
    cluster.serves(&host, "/", 200, "first").await;

    export(&cluster, project, &back, &passphrase).await;
    let another = Platform::start().await;
    import(&another, &back, &passphrase).await;
    another.serves(&host, "/", 200, "first").await;
    let known = ["--project", project, "rollback", "shop", "v2"];
    another.coracle(&known).await.ok();
    another.serves(&host, "/", 200, "second").await;

    // Its pods use the images that the machines remove.
    let app = cluster.at("/apps/shop");
    cluster.api().await.delete(&app).await.ok();
    crate::projects::nothing_left(&cluster).await;
}
