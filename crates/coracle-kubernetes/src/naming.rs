//! Names of objects in the cluster.
//!
//! Theory of operation: a project is a namespace, so names need only be unique within it. What may be longer than a
//! label or an object's name may be is cut and ends in a piece of its digest, so that two long names do not meet. The
//! true names stand in an annotation ([`crate::facts`]); nothing is ever read back from a cut name.

use coracle_model::name::{PodName, ProjectName, VolumeName};
use sha2::{Digest as _, Sha256};

/// The longest name of a Service, and of a label's value.
const LABEL: usize = 63;
/// What a workload's name takes in the names of its objects: with a generation behind it, and a suffix of Kubernetes'
/// behind that, it still fits a label.
const BASE: usize = 36;
const DIGEST: usize = 8;

fn digest(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text));
    hash.truncate(DIGEST);
    hash
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most - DIGEST - 1).collect();
    format!("{}-{}", head.trim_end_matches('-'), digest(text))
}

/// The namespace of a project. Nothing when prefix and name together are too long for one.
pub(crate) fn namespace(prefix: &str, project: &ProjectName) -> Option<String> {
    let name = format!("{prefix}{project}");
    (name.len() <= LABEL).then_some(name)
}

/// A workload's name as the value of a label.
pub(crate) fn workload_label(workload: &PodName) -> String {
    cut(workload.as_str(), LABEL)
}

/// The Deployment or Job of one generation of a workload, and its Secret.
pub(crate) fn set(workload: &PodName, generation: u64) -> String {
    format!("{}-g{}", cut(workload.as_str(), BASE), base36(generation))
}

/// The Secret with the environment of a Deployment, Job or bare pod.
pub(crate) fn environment(set: &str) -> String {
    format!("{set}-env")
}

/// The claim of a volume.
pub(crate) fn claim(volume: &VolumeName) -> String {
    format!("volume-{volume}")
}

/// The Service of a name that pods are found under. Nothing when a Service cannot be called so: names with dots, names
/// that do not begin with a letter.
pub(crate) fn service(name: &str) -> Option<&str> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    (plain && starts && !name.ends_with('-') && name.len() <= LABEL).then_some(name)
}

fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    loop {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        text.push(DIGITS[digit]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.reverse();
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long =
            |end: &str| PodName::new(format!("{}{end}", "a".repeat(79 - end.len()))).unwrap();
        let (one, two) = (set(&long("x"), u64::MAX), set(&long("y"), u64::MAX));
        assert_ne!(one, two);
        assert!(
            environment(&one).len() <= LABEL,
            "{}",
            environment(&one).len()
        );
        assert!(workload_label(&long("x")).len() <= LABEL);
        assert_eq!(set(&PodName::new("web").unwrap(), 36), "web-g10");
    }

    #[test]
    fn only_labels_are_names_of_services() {
        assert_eq!(service("web"), Some("web"));
        assert_eq!(service("web.default.internal"), None);
        assert_eq!(service("1web"), None);
        assert_eq!(service(&"a".repeat(64)), None);
    }
}
