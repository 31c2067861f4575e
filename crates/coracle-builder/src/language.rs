//! Which language a source without a Dockerfile is in.
//!
//! Only to help: whoever deploys a folder without a Dockerfile gets one to start from. Each language is a row of
//! data with a file beside it; language recipes that build without a Dockerfile will take the rows' place.

use std::path::Path;

/// A language that can be told from the files at the top of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language {
    /// As people call it.
    pub name: &'static str,
    /// Any of these files means it.
    pub files: &'static [&'static str],
    /// A Dockerfile to start from.
    pub dockerfile: &'static str,
}

/// Languages, the first that fits being the one: a Python project may well have a `package.json` for its assets,
/// and most have some `index.html`.
pub const LANGUAGES: &[Language] = &[
    Language {
        name: "Rust",
        files: &["Cargo.toml"],
        dockerfile: include_str!("languages/rust.Dockerfile"),
    },
    Language {
        name: "Go",
        files: &["go.mod"],
        dockerfile: include_str!("languages/go.Dockerfile"),
    },
    Language {
        name: "Python",
        files: &[
            "requirements.txt",
            "pyproject.toml",
            "setup.py",
            "Pipfile",
            "app.py",
            "main.py",
            "manage.py",
        ],
        dockerfile: include_str!("languages/python.Dockerfile"),
    },
    Language {
        name: "Ruby",
        files: &["Gemfile", "config.ru"],
        dockerfile: include_str!("languages/ruby.Dockerfile"),
    },
    Language {
        name: "Java",
        files: &["pom.xml", "build.gradle", "build.gradle.kts"],
        dockerfile: include_str!("languages/java.Dockerfile"),
    },
    Language {
        name: "PHP",
        files: &["composer.json", "index.php"],
        dockerfile: include_str!("languages/php.Dockerfile"),
    },
    Language {
        name: "Node.js",
        files: &["package.json", "server.js", "index.js"],
        dockerfile: include_str!("languages/node.Dockerfile"),
    },
    Language {
        name: "static web",
        files: &["index.html"],
        dockerfile: include_str!("languages/static.Dockerfile"),
    },
];

/// The language of the source in `dir`.
#[must_use]
pub fn detect(dir: &Path) -> Option<&'static Language> {
    let has = |file: &&str| dir.join(file).is_file();
    LANGUAGES
        .iter()
        .find(|language| language.files.iter().any(has))
}
