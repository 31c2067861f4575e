//! Names: parsed once at the edge, trusted afterwards.
//!
//! Theory of operation: names end up in host names, image repositories, container names, file paths and store
//! keys. One narrow alphabet (RFC 1123 labels that begin with a letter) is safe in all of them, and has no
//! look-alikes: only ASCII is let through. Serde goes through the same parser, so a record or a request with
//! a bad name cannot be read at all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused: which field, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown}: {rule}")]
pub struct InvalidName {
    /// What was named, such as `app name`.
    pub what: &'static str,
    /// What was given, shortened and escaped so that it is safe to print.
    pub shown: String,
    /// What is allowed, in words.
    pub rule: String,
}

/// `input` quoted, escaped and cut to a length that is safe to show in an error or a log line.
#[must_use]
pub fn shown(input: &str) -> String {
    const MOST: usize = 48;
    let cut: String = input.chars().take(MOST).collect();
    let more = if cut.len() < input.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

fn check_label(input: &str, what: &'static str, most: usize) -> Result<(), InvalidName> {
    let bytes = input.as_bytes();
    let ok = !bytes.is_empty()
        && bytes.len() <= most
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if ok {
        return Ok(());
    }
    Err(InvalidName {
        what,
        shown: shown(input),
        rule: format!(
            "use 1 to {most} lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
        ),
    })
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// What is named, as errors call it.
            pub const WHAT: &'static str = $what;

            /// Parses a name.
            ///
            /// # Errors
            /// [`InvalidName`] says what is allowed.
            pub fn new(input: impl Into<String>) -> Result<Self, InvalidName> {
                let input = input.into();
                let check: fn(&str) -> Result<(), InvalidName> = $check;
                check(&input)?;
                Ok(Self(input))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::new(s)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, Self::Error> {
                Self::new(s)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A project: a boundary of names, access, quota and network.
    ProjectName,
    "project name",
    |s| check_label(s, Self::WHAT, 30)
);
name_type!(
    /// An app within its project. Short enough that `APP-PROJECT` is one DNS label.
    AppName,
    "app name",
    |s| check_label(s, Self::WHAT, 30)
);
name_type!(
    /// A process of an app, such as `web`.
    ProcessName,
    "process name",
    |s| check_label(s, Self::WHAT, 20)
);
name_type!(
    /// A pod within its project.
    PodName,
    "pod name",
    |s| check_label(s, Self::WHAT, 80)
);
name_type!(
    /// A volume within its project.
    VolumeName,
    "volume name",
    |s| check_label(s, Self::WHAT, 40)
);
name_type!(
    /// A person's or program's login name.
    UserName,
    "user name",
    |s| check_label(s, Self::WHAT, 40)
);
name_type!(
    /// An API token's name, unique for its owner.
    TokenName,
    "token name",
    |s| check_label(s, Self::WHAT, 60)
);
name_type!(
    /// The name of an environment variable (POSIX: letters, digits, underscore, not beginning with a digit).
    EnvName,
    "environment variable",
    |s| {
        let b = s.as_bytes();
        let ok = !b.is_empty()
            && b.len() <= 128
            && !b[0].is_ascii_digit()
            && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_');
        if ok {
            Ok(())
        } else {
            Err(InvalidName {
                what: Self::WHAT,
                shown: shown(s),
                rule: "use 1 to 128 letters, digits and underscores, not beginning with a digit".into(),
            })
        }
    }
);
name_type!(
    /// A DNS host name without a port, in lower case (RFC 1123).
    Hostname,
    "host name",
    |s| {
        let label = |l: &str| {
            let b = l.as_bytes();
            !b.is_empty()
                && b.len() <= 63
                && b[0] != b'-'
                && b[b.len() - 1] != b'-'
                && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
        };
        if s.len() <= 253 && s.split('.').all(label) {
            Ok(())
        } else {
            Err(InvalidName {
                what: Self::WHAT,
                shown: shown(s),
                rule: "use a lower-case DNS name such as shop.example.com (international names in their xn-- form)".into(),
            })
        }
    }
);
name_type!(
    /// A reference to a container image, as `docker pull` takes it: `[host[:port]/]path[:tag][@digest]`,
    /// or the id of a local image (`sha256:…`).
    ImageRef,
    "image",
    |s| {
        let ok = !s.is_empty()
            && s.len() <= 512
            && s.as_bytes()[0].is_ascii_alphanumeric()
            && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"./:_-@+".contains(&c))
            && !s.contains("..")
            && !s.contains("//")
            && !s.ends_with(['/', ':', '@']);
        if ok {
            Ok(())
        } else {
            Err(InvalidName {
                what: Self::WHAT,
                shown: shown(s),
                rule: "use an image reference such as nginx:1.27 or registry.example.com/team/app@sha256:…".into(),
            })
        }
    }
);

impl AppName {
    /// The most characters of a name.
    const MOST: usize = 30;

    /// A valid name made of a text that may not be one: of a folder, an image, a repository. Nothing where no letter is
    /// left.
    #[must_use]
    pub fn suggested(text: &str) -> Option<Self> {
        let mut made = String::new();
        for c in text.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_lowercase() || (c.is_ascii_digit() && !made.is_empty()) {
                made.push(c);
            } else if !made.is_empty() && !made.ends_with('-') {
                made.push('-');
            }
            if made.len() == Self::MOST {
                break;
            }
        }
        Self::new(made.trim_end_matches('-')).ok()
    }
}

impl ProjectName {
    /// The name of the project that exists from the start.
    pub const DEFAULT: &'static str = "default";

    /// The project that exists from the start.
    #[must_use]
    pub fn default_project() -> Self {
        Self(Self::DEFAULT.to_owned())
    }

    /// Is this the project that exists from the start?
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl ProcessName {
    /// The process that gets HTTP traffic.
    pub const WEB: &'static str = "web";

    /// The process that gets HTTP traffic.
    #[must_use]
    pub fn web() -> Self {
        Self(Self::WEB.to_owned())
    }

    /// Is this the process that gets HTTP traffic?
    #[must_use]
    pub fn is_web(&self) -> bool {
        self.0 == Self::WEB
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_refused_with_what_is_allowed() {
        let long64 = "a".repeat(64);
        let long1000 = "a".repeat(1000);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a b",
            "a;rm -rf /",
            "a\nb",
            "a/b",
            "../a",
            "a.b",
            "$(id)",
            "`id`",
            "аpp",
            "ａpp",
            "app\0",
            "1app",
            &long64,
            &long1000,
        ] {
            let error = AppName::new(bad).unwrap_err();
            assert!(error.rule.contains("1 to 30"), "{error}");
            assert!(
                error.to_string().len() < 400,
                "a refusal must not repeat the whole input"
            );
            assert!(
                !error.to_string().contains('\n'),
                "a refusal must be one line: {error}"
            );
        }
        assert_eq!(AppName::new("a").unwrap().as_str(), "a");
        assert!(AppName::new("a".repeat(30)).is_ok());
        assert!(AppName::new("a".repeat(31)).is_err());
    }

    #[test]
    fn host_names() {
        for good in [
            "a",
            "localhost",
            "a.b.example.com",
            "1.example.com",
            "xn--bcher-kva.example",
        ] {
            assert!(Hostname::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "A.example",
            "a_b.example",
            "*.example.com",
            "a:80",
            "a/b",
            "bücher.example",
        ] {
            assert!(Hostname::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn image_references() {
        for good in [
            "debian:12",
            "127.0.0.1:7070/default/hello:1",
            "a/b@sha256:00",
            "sha256:abcdef",
        ] {
            assert!(ImageRef::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-rm", "a b", "a;b", "../x", "a//b", "a:", "a\n", "$x"] {
            assert!(ImageRef::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_safe_dns_label(s in "\\PC{0,40}") {
            if let Ok(name) = AppName::new(s) {
                prop_assert!(Hostname::new(name.as_str()).is_ok());
                prop_assert!(!name.as_str().contains(['/', '.', ' ', '\0']));
            }
        }
    }
}
