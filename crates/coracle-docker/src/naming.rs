//! Names of containers, networks and volumes.
//!
//! Theory of operation: project and pod names may contain hyphens, so a hyphen cannot part them (`a-b`, `c` and
//! `a`, `b-c` would be the same container). A dot can: no name has one.

use coracle_model::name::{PodName, ProjectName, VolumeName};
use coracle_model::workload::PodId;
use sha2::{Digest as _, Sha256};

/// Letters of a platform's id in names: enough to tell platforms on one daemon apart.
const PLATFORM_LETTERS: usize = 8;

/// Makes the names of one platform.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    platform: String,
}

impl Names {
    pub(crate) fn new(platform: &str) -> Self {
        let plain = platform.len() >= PLATFORM_LETTERS
            && platform
                .bytes()
                .take(PLATFORM_LETTERS)
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let short = if plain {
            platform[..PLATFORM_LETTERS].to_owned()
        } else {
            let mut hash = hex::encode(Sha256::digest(platform.as_bytes()));
            hash.truncate(PLATFORM_LETTERS);
            hash
        };
        Self { platform: short }
    }

    pub(crate) fn container(&self, pod: &PodId) -> String {
        format!("coracle-{}-{}.{}", self.platform, pod.project, pod.name)
    }

    pub(crate) fn network(&self, project: &ProjectName) -> String {
        format!("coracle-{}-{project}", self.platform)
    }

    /// Of the volume that says that the node is cordoned. No project's name begins with a dot.
    pub(crate) fn cordon(&self) -> String {
        format!("coracle-{}-.cordoned", self.platform)
    }

    pub(crate) fn volume(&self, project: &ProjectName, volume: &VolumeName) -> String {
        format!("coracle-{}-{project}.{volume}", self.platform)
    }
}

/// A pod's host name: its name, cut to what the kernel takes.
pub(crate) fn hostname(pod: &PodName) -> String {
    const MOST: usize = 63;
    let cut: String = pod.as_str().chars().take(MOST).collect();
    cut.trim_end_matches('-').to_owned()
}

/// Letters of a pod's suffix: without vowels and look-alikes.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxz2456789";
/// Length of a suffix: 26^6 names per workload.
pub(crate) const SUFFIX_LENGTH: usize = 6;

/// A new name for a pod of a replicated workload.
pub(crate) fn fresh(workload: &PodName) -> Option<PodName> {
    let mut random = [0_u8; SUFFIX_LENGTH];
    getrandom::fill(&mut random).ok()?;
    let suffix: String = random
        .iter()
        .map(|b| char::from(SUFFIX_LETTERS[usize::from(*b) % SUFFIX_LETTERS.len()]))
        .collect();
    PodName::new(format!("{workload}-{suffix}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_two_projects_never_meet() {
        let names = Names::new("0123456789abcdef");
        let id = |project: &str, pod: &str| PodId {
            project: ProjectName::new(project).unwrap(),
            name: PodName::new(pod).unwrap(),
        };
        assert_eq!(names.container(&id("a-b", "c")), "coracle-01234567-a-b.c");
        assert_ne!(
            names.container(&id("a-b", "c")),
            names.container(&id("a", "b-c"))
        );
        assert_ne!(
            Names::new("Zeta/1").network(&id("a", "b").project),
            Names::new("Zeta/2").network(&id("a", "b").project)
        );
    }

    #[test]
    fn a_host_name_fits_the_kernel() {
        let long = PodName::new(format!("{}-{}", "a".repeat(62), "b".repeat(10))).unwrap();
        assert_eq!(hostname(&long), "a".repeat(62));
    }
}
