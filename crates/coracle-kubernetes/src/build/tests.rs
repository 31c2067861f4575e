//! What is asked for a build, held to examples.

use std::path::PathBuf;
use std::time::Duration;

use coracle_engine::ContextDesk;
use coracle_engine::build::{BuildLimits, BuildRequest, RegistryCredentials};
use coracle_model::env::Secret;
use coracle_model::name::ImageRef;
use coracle_model::quantity::Cpu;
use coracle_task::{CancellationToken, Supervisor};
use serde_json::Value;

use super::config::{BuildConfig, BuildTool, Transport};
use super::object::{LOGIN, TICKET, job, name, network_policy, secret};
use super::tool::{buildah_registries, buildkit_registries, target};
use crate::config::{KubernetesConfig, RegistryNames};

fn config() -> KubernetesConfig {
    KubernetesConfig {
        registry: Some(RegistryNames {
            own: "127.0.0.1:7070".to_owned(),
            nodes: "127.0.0.1:30070".to_owned(),
        }),
        ..KubernetesConfig::new("p1", Supervisor::new("test"))
    }
}

fn build(tool: BuildTool) -> BuildConfig {
    BuildConfig {
        base_images: Some("base".to_owned()),
        cpu: Some(Cpu::from_milli(2000)),
        ..BuildConfig::new(
            tool,
            "coracle:1",
            "http://coracle-control.coracle-system:7070",
            "coracle-registry.coracle-system:5000",
            ContextDesk::default(),
        )
    }
}

fn request() -> BuildRequest {
    BuildRequest {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        context: PathBuf::from("/data/work/0123"),
        dockerfile: PathBuf::from("docker/File"),
        push: ImageRef::new("127.0.0.1:7070/shop/web:b3").unwrap(),
        credentials: Some(RegistryCredentials {
            user: "coracle-build".to_owned(),
            password: Secret::new("hush"),
        }),
        cache: "shop".to_owned(),
        arguments: vec![("WORD".to_owned(), "$(HOME) a".to_owned())],
        limits: BuildLimits {
            time: Duration::from_secs(600),
            memory_bytes: 1 << 30,
        },
        cancel: CancellationToken::new(),
    }
}

fn words(container: &Value) -> String {
    let all = ["command", "args"].map(|key| container[key].as_array().cloned().unwrap_or_default());
    let words: Vec<String> = all
        .concat()
        .iter()
        .map(|word| word.as_str().unwrap_or_default().to_owned())
        .collect();
    words.join(" ")
}

#[test]
fn buildah_builds_then_pushes_to_the_name_that_pods_know() {
    let job = job(&config(), &build(BuildTool::Buildah), &request());
    let spec = &job["spec"]["template"]["spec"];
    let (first, last) = (&spec["initContainers"], &spec["containers"][0]);
    assert_eq!(first[0]["name"], "source");
    assert_eq!(
        words(&first[0]),
        "fetch-source --from http://coracle-control.coracle-system:7070 --ticket-file /coracle/ticket --to /work/source"
    );
    let text = words(&first[1]);
    assert!(text.starts_with("buildah --root /work/storage "), "{text}");
    assert!(text.contains(" --file=/work/source/docker/File "), "{text}");
    assert!(text.contains(" --build-arg=WORD=$$(HOME) a "), "{text}");
    assert!(text.ends_with(" /work/source"), "{text}");
    let text = words(last);
    assert!(
        text.ends_with(
            "--tls-verify=false localhost/coracle-build:latest docker://coracle-registry.coracle-system:5000/shop/web:b3"
        ),
        "{text}"
    );
    serde_json::from_value::<k8s_openapi::api::batch::v1::Job>(job).unwrap();
}

#[test]
fn buildkit_builds_and_pushes_in_one() {
    let job = job(&config(), &build(BuildTool::Buildkit), &request());
    let spec = &job["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"].as_array().unwrap().len(), 1);
    let text = words(&spec["containers"][0]);
    assert!(text.starts_with("buildctl-daemonless.sh build "), "{text}");
    assert!(
        text.contains("--local=dockerfile=/work/source/docker --opt=filename=File "),
        "{text}"
    );
    assert!(
        text.ends_with(
            "--output=type=image,name=coracle-registry.coracle-system:5000/shop/web:b3,push=true,registry.insecure=true"
        ),
        "{text}"
    );
}

#[test]
fn a_build_is_bounded_and_may_do_little() {
    for tool in [BuildTool::Buildkit, BuildTool::Buildah] {
        let job = job(&config(), &build(tool), &request());
        assert_eq!(job["spec"]["backoffLimit"], 0);
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 620);
        let spec = &job["spec"]["template"]["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        let last = &spec["containers"][0];
        assert_eq!(last["securityContext"]["privileged"], false);
        let limits = &last["resources"]["limits"];
        assert_eq!(limits["memory"], "1073741824");
        assert_eq!(limits["cpu"], "2000m");
        assert_eq!(
            limits["ephemeral-storage"],
            BuildConfig::DEFAULT_STORAGE.0.to_string()
        );
        let source = &spec["initContainers"][0];
        assert_eq!(source["securityContext"]["allowPrivilegeEscalation"], false);
        for volume in spec["volumes"].as_array().unwrap() {
            assert!(volume.get("hostPath").is_none());
        }
    }
}

#[test]
fn a_build_reaches_no_metadata_and_nobody_reaches_a_build() {
    let policy = network_policy(&config());
    let spec = &policy["spec"];
    assert_eq!(
        spec["policyTypes"],
        serde_json::json!(["Ingress", "Egress"])
    );
    assert!(spec.get("ingress").is_none());
    let open = &spec["egress"][0];
    assert!(open.get("ports").is_none());
    assert!(
        open["to"][0]["ipBlock"]["except"]
            .to_string()
            .contains("169.254.0.0/16")
    );
    // The one link-local address that is a server of names is one for names only.
    let names = &spec["egress"][1];
    assert_eq!(names["to"][0]["ipBlock"]["cidr"], "169.254.20.10/32");
    let ports = names["ports"].as_array().unwrap();
    assert!(ports.iter().all(|port| port["port"] == 53));
    serde_json::from_value::<k8s_openapi::api::networking::v1::NetworkPolicy>(policy).unwrap();
}

#[test]
fn what_is_secret_stands_in_the_secret_and_each_container_sees_its_part() {
    let (config, build, request) = (config(), build(BuildTool::Buildah), request());
    let ticket = Secret::new("one-use");
    let secret = secret(&config, &build, &request, &ticket);
    assert_eq!(secret["stringData"][TICKET], "one-use");
    let login: Value = serde_json::from_str(secret["stringData"][LOGIN].as_str().unwrap()).unwrap();
    let hosts: Vec<&String> = login["auths"].as_object().unwrap().keys().collect();
    assert_eq!(
        hosts,
        [
            "127.0.0.1:30070",
            "127.0.0.1:7070",
            "coracle-registry.coracle-system:5000"
        ]
    );
    let job = job(&config, &build, &request);
    let text = job.to_string();
    assert!(
        !text.contains("hush") && !text.contains("one-use"),
        "{text}"
    );
    let spec = &job["spec"]["template"]["spec"];
    assert!(!spec["initContainers"][0].to_string().contains(LOGIN));
    for container in [&spec["initContainers"][1], &spec["containers"][0]] {
        assert!(!container.to_string().contains("\"subPath\":\"ticket\""));
    }
}

#[test]
fn registries_are_told_in_the_tools_own_words() {
    let config = config();
    let text = buildah_registries(&config, &build(BuildTool::Buildah));
    assert!(text.contains("prefix = \"127.0.0.1:7070\"\nlocation = \"coracle-registry.coracle-system:5000\"\ninsecure = true\n"), "{text}");
    assert!(
        text.contains(
            "[[registry.mirror]]\nlocation = \"coracle-registry.coracle-system:5000/base\"\n"
        ),
        "{text}"
    );
    let text = buildkit_registries(&config, &build(BuildTool::Buildkit));
    assert!(
        text.contains("[registry.\"coracle-registry.coracle-system:5000\"]\nhttp = true\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "[registry.\"docker.io\"]\nmirrors = [\"coracle-registry.coracle-system:5000/base\"]\n"
        ),
        "{text}"
    );
}

#[test]
fn what_goes_elsewhere_goes_there_over_tls() {
    let (config, build) = (config(), build(BuildTool::Buildah));
    assert_eq!(
        target(&config, &build, "ghcr.io/a/b:1"),
        ("ghcr.io/a/b:1".to_owned(), Transport::Tls)
    );
    // Another host that begins with the same letters.
    let (name, _) = target(&config, &build, "127.0.0.1:70701/a/b:1");
    assert_eq!(name, "127.0.0.1:70701/a/b:1");
}

#[test]
fn any_id_is_a_name() {
    assert_eq!(name("abc1"), "build-abc1");
    for odd in ["", "A/b", &"x".repeat(200)] {
        let name = name(odd);
        assert!(name.len() <= 63 && name.starts_with("build-"), "{name}");
    }
    assert_ne!(name("A"), name("B"));
}
