//! Where symbolic links lead, decided from the links alone.
//!
//! Theory of operation: the links of a source are known completely before any of them is followed, so whether
//! one leaves the folder is a pure question about a map from path to target. A link that leads nowhere is
//! allowed (it may be meant for the image), but the way to nowhere must stay inside too: what is missing now
//! could be there later.

use std::collections::BTreeMap;

/// Targets of links by the links' paths, relative to the folder.
pub(crate) type Links = BTreeMap<String, String>;

/// So many links are followed for one name, as in the kernel.
const MOST_FOLLOWED: usize = 40;

/// Does the link at `path` lead out of the folder, or in a circle that has no end?
pub(crate) fn leaves(links: &Links, path: &str) -> bool {
    let mut followed = 0;
    let mut at: Vec<&str> = Vec::new();
    // What is left to walk, the next component last.
    let mut rest: Vec<&str> = path.split('/').rev().collect();
    while let Some(name) = rest.pop() {
        match name {
            "" | "." => continue,
            ".." => {
                if at.pop().is_none() {
                    return true;
                }
                continue;
            }
            name => at.push(name),
        }
        let Some(target) = links.get(&at.join("/")) else {
            continue;
        };
        followed += 1;
        if target.starts_with('/') || followed > MOST_FOLLOWED {
            return true;
        }
        at.pop();
        rest.extend(target.split('/').rev());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(list: &[(&str, &str)]) -> Links {
        list.iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn inside_is_inside() {
        let links = links(&[
            ("a", "b"),
            ("d/e", "../x/./y"),
            ("d/up", ".."),
            ("d/f", "up/d/up/q"),
            ("gone", "no/such/../place"),
        ]);
        for path in links.keys() {
            assert!(!leaves(&links, path), "{path}");
        }
    }

    #[test]
    fn outside_is_found_by_every_way() {
        let links = links(&[
            ("abs", "/etc/passwd"),
            ("up", ".."),
            ("d/up", "../.."),
            ("d/here", ".."),
            ("via", "d/here/../x"),
            ("gone", "no/../../x"),
            ("chain", "d/up"),
            ("loop", "pool"),
            ("pool", "loop"),
            ("self", "self/x"),
        ]);
        for path in ["abs", "up", "d/up", "via", "gone", "chain", "loop", "self"] {
            assert!(leaves(&links, path), "{path}");
        }
        assert!(!leaves(&links, "d/here"));
    }
}
