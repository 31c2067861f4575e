//! Templates: sources that come with the platform.
//!
//! Theory of operation: each is a folder of `templates/` in the repository, put into the program at compile time
//! (`build.rs`); its `template.toml` says what it is, and is no part of the source. Nothing is read or unpacked before
//! somebody asks.

use coracle_model::source::{Template, TemplateName};
use serde::Deserialize;

use crate::pack::pack_files;

/// The file that says what a template is.
pub const CARD: &str = "template.toml";

/// A template in the program.
#[derive(Debug)]
pub struct Embedded {
    name: &'static str,
    card: &'static str,
    files: &'static [EmbeddedFile],
}

/// One of its files.
#[derive(Debug)]
pub struct EmbeddedFile {
    pub(crate) path: &'static str,
    pub(crate) content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    title: String,
    description: String,
    category: String,
    icon: String,
    #[serde(default)]
    ports: Vec<u16>,
}

/// All templates, by name.
#[must_use]
pub fn templates() -> Vec<Template> {
    TEMPLATES.iter().filter_map(Embedded::describe).collect()
}

/// A template by its name.
#[must_use]
pub fn template(name: &TemplateName) -> Option<&'static Embedded> {
    TEMPLATES.iter().find(|one| one.name == name.as_str())
}

impl Embedded {
    /// What people see of it. Every one in the program has a card that can be read: a test sees to it.
    fn describe(&self) -> Option<Template> {
        let card: Card = toml::from_str(self.card).ok()?;
        Some(Template {
            name: TemplateName::new(self.name).ok()?,
            title: card.title,
            description: card.description,
            category: card.category,
            icon: card.icon,
            ports: card.ports,
            files: u32::try_from(self.files.len()).unwrap_or(u32::MAX),
        })
    }

    /// The source as a compressed tar, the same bytes each time.
    ///
    /// # Errors
    /// When memory cannot be written to, which does not happen.
    pub fn archive(&self) -> std::io::Result<Vec<u8>> {
        pack_files(self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::inspect;
    use crate::limits::Limits;
    use coracle_model::name::ProcessName;

    #[test]
    fn every_card_can_be_read() {
        let all = templates();
        assert_eq!(all.len(), TEMPLATES.len());
        let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        for expected in [
            "node",
            "postgres",
            "python",
            "redis",
            "static-site",
            "worker",
        ] {
            assert!(names.contains(&expected), "{names:?}");
        }
        for one in &all {
            assert!(one.files >= 2 && !one.title.is_empty() && !one.description.is_empty());
            assert!(
                ["web", "database", "worker"].contains(&one.category.as_str()),
                "{one:?}"
            );
        }
    }

    #[tokio::test]
    async fn every_template_can_be_built_as_it_is() {
        for one in TEMPLATES {
            let dir = tempfile::tempdir().unwrap();
            let archive = one.archive().unwrap();
            assert_eq!(archive, one.archive().unwrap());
            let found = inspect(std::io::Cursor::new(archive), dir.path(), Limits::default())
                .await
                .unwrap();
            assert_eq!(found.detected.problem, None, "{}", one.name);
            assert_eq!(
                found.detected.warnings,
                Vec::<String>::new(),
                "{}",
                one.name
            );
            assert_eq!(found.unpacked.files, one.files.len() as u64);
            let ports = one.describe().unwrap().ports;
            // Databases have no `web`.
            let web = found.detected.processes.contains_key(&ProcessName::web());
            assert_eq!(
                found.detected.port,
                ports.first().copied().filter(|_| web),
                "{}",
                one.name
            );
        }
    }
}
