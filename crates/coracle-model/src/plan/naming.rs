//! What workloads and volumes are called.
//!
//! Theory of operation: names are made for people (`hello-web-v3`), but apps and processes may have hyphens
//! themselves, and then `a` + `web-x` and `a-web` + `x` would be one name for two things. No process begins
//! with a digit, so a last part that does can say how many parts belong to the process: `a-web-x-2-v1` is
//! process `web-x` of `a`, `a-web-x-v1` is process `x` of `a-web`. The tests hold that no two things share a name.

use crate::name::{AppName, PodName, ProcessName, ProjectName, VolumeName};
use crate::plan::fingerprint;
use crate::release::ReleaseNumber;
use crate::workload::WorkloadId;

/// The word that stands in the place of the process in the name of a release command's workload.
const RELEASE: &str = "release";

/// The longest volume name.
const VOLUME_BYTES: usize = 40;

/// The workload of a process: `APP-PROCESS-vN`.
#[must_use]
pub fn process(
    project: &ProjectName,
    app: &AppName,
    process: &ProcessName,
    release: ReleaseNumber,
) -> WorkloadId {
    let parts = process.as_str().split('-').count();
    let name = if parts > 1 || process.as_str() == RELEASE {
        format!("{app}-{process}-{parts}-{release}")
    } else {
        format!("{app}-{process}-{release}")
    };
    id(project, &name)
}

/// The workload of a release command: `APP-release-vN`.
#[must_use]
pub fn release_command(project: &ProjectName, app: &AppName, release: ReleaseNumber) -> WorkloadId {
    id(project, &format!("{app}-{RELEASE}-{release}"))
}

/// Does a name look like that of an app's workload or of one of its pods? Bare pods must not be called so.
#[must_use]
pub fn is_reserved(name: &PodName) -> bool {
    let version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    name.as_str().split('-').skip(2).any(version)
}

/// The volume of an app: `APP-NAME`, unique within the project and short enough for any engine.
#[must_use]
pub fn volume(app: &AppName, name: &VolumeName) -> VolumeName {
    let parts = name.as_str().split('-').count();
    let whole = if parts > 1 {
        format!("{app}-{name}-{parts}")
    } else {
        format!("{app}-{name}")
    };
    let short = if whole.len() <= VOLUME_BYTES {
        whole
    } else {
        // A last part that begins with 0 is never a count of parts.
        let hash = fingerprint(format!("{app}/{name}").as_bytes());
        let end = format!("-0{hash:016x}");
        format!("{}{end}", &whole[..VOLUME_BYTES - end.len()])
    };
    VolumeName::new(short).unwrap_or_else(|_never| name.clone())
}

/// The DNS names under which the pods of a process are found in their project, beside their own.
///
/// The web process is the app, for others: `APP` and `APP.PROJECT.internal`. Any other process has its own
/// name in front: `worker.APP` and `worker.APP.PROJECT.internal`.
#[must_use]
pub fn dns(project: &ProjectName, app: &AppName, process: &ProcessName) -> Vec<String> {
    let own = if process.is_web() {
        app.to_string()
    } else {
        format!("{process}.{app}")
    };
    vec![own.clone(), format!("{own}.{project}.internal")]
}

fn id(project: &ProjectName, name: &str) -> WorkloadId {
    // App (30), process (20), count (2), release (10) and hyphens are always a pod name of at most 80.
    let name = PodName::new(name).unwrap_or_else(|_never| unnamed());
    WorkloadId {
        project: project.clone(),
        name,
    }
}

#[expect(clippy::expect_used, reason = "a constant that is a name")]
fn unnamed() -> PodName {
    PodName::new("unnamed").expect("a constant name is a name")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn label() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("release".to_owned()),
            "[a-c][a-c0-2]{0,2}(-[a-c0-2]{1,2}){0,3}"
        ]
    }

    proptest! {
        #[test]
        fn no_two_things_share_a_name(all in prop::collection::vec((label(), label(), 1_u32..12), 2..40)) {
            let project = ProjectName::default_project();
            let mut seen = BTreeMap::new();
            for (app, process_name, n) in all {
                let app = AppName::new(app).unwrap();
                let name = ProcessName::new(process_name).unwrap();
                let n = ReleaseNumber(n);
                let process_id = process(&project, &app, &name, n);
                prop_assert!(is_reserved(&process_id.name), "{}", process_id);
                for (id, what) in [
                    (process_id.name.to_string(), format!("process {name} of {app} {n}")),
                    (release_command(&project, &app, n).name.to_string(), format!("command of {app} {n}")),
                    (volume(&app, &VolumeName::new(name.as_str()).unwrap()).to_string(), format!("volume {name} of {app}")),
                ] {
                    let before = seen.entry(id.clone()).or_insert_with(|| what.clone());
                    prop_assert!(*before == what, "{id} is {before} and {what}");
                }
            }
        }
    }

    #[test]
    fn names_are_those_that_people_expect() {
        let project = ProjectName::new("shop").unwrap();
        let app = AppName::new("hello").unwrap();
        let web = ProcessName::web();
        let worker = ProcessName::new("mail-worker").unwrap();
        let v3 = ReleaseNumber(3);
        assert_eq!(
            process(&project, &app, &web, v3).to_string(),
            "shop/hello-web-v3"
        );
        assert_eq!(
            process(&project, &app, &worker, v3).to_string(),
            "shop/hello-mail-worker-2-v3"
        );
        assert_eq!(
            release_command(&project, &app, v3).to_string(),
            "shop/hello-release-v3"
        );
        assert_eq!(dns(&project, &app, &web), ["hello", "hello.shop.internal"]);
        assert_eq!(
            dns(&project, &app, &worker),
            ["mail-worker.hello", "mail-worker.hello.shop.internal"]
        );
        assert!(!is_reserved(&PodName::new("database").unwrap()));
        assert!(!is_reserved(&PodName::new("postgres-v15").unwrap()));
        assert!(is_reserved(&PodName::new("hello-web-v1-k2x").unwrap()));
        let long = volume(
            &AppName::new("a".repeat(30)).unwrap(),
            &VolumeName::new("b".repeat(40)).unwrap(),
        );
        assert_eq!(long.as_str().len(), 40);
    }
}
