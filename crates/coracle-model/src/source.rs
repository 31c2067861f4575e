//! Sources: what an app is to be built from, before there is a build.
//!
//! Theory of operation: somebody sends an archive, names a Git repository, or picks a template; the platform fetches it
//! into one archive, whatever it was, and says what it found in it. A build is then asked for with the source's id.
//! Addresses and references end up as arguments of `git`, so they are parsed here once, into an alphabet in which
//! nothing can be an option, another protocol, a refspec, or credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::manifest::rules;
use crate::name::{AppName, EnvName, Hostname, InvalidName, ProcessName, shown};
use crate::object::{Kind, Of, Spec};
use crate::problem::{Code, Problem};
use crate::release::{CommandLine, ProcessSpec, VolumeMount};

/// A source. Its `metadata.name` is its id.
pub type Source = Of<SourceSpec>;

/// Where a source comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceSpec {
    /// Where from.
    pub origin: SourceOrigin,
    /// Who asked for it.
    pub created_by: String,
}

/// Where a source comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceOrigin {
    /// Somebody sent an archive.
    Upload {
        /// Its compressed size in bytes.
        bytes: u64,
    },
    /// A Git repository.
    Git(GitOrigin),
    /// One of the platform's templates.
    Template {
        /// Its name.
        template: TemplateName,
    },
}

/// A place in a Git repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GitOrigin {
    /// The repository, without credentials.
    pub url: GitUrl,
    /// A branch, a tag, or a whole commit id; the repository's default branch when absent.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitRef>,
    /// The folder in the repository that is the source; all of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<SourcePath>,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// Parses it.
            ///
            /// # Errors
            /// [`InvalidName`] says what is allowed. It never repeats an address, which may have a password in it.
            pub fn new(input: impl Into<String>) -> Result<Self, InvalidName> {
                let parse: fn(String) -> Result<String, InvalidName> = $parse;
                parse(input.into()).map(Self)
            }

            /// As text.
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
        impl std::str::FromStr for $name {
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
            fn from(it: $name) -> Self {
                it.0
            }
        }
    };
}

text_type!(
    /// The address of a Git repository: `http://` or `https://`, without credentials, query or fragment.
    GitUrl,
    "Git address",
    |text| {
        match parse_url(&text) {
            Ok(()) => Ok(text),
            Err(rule) => Err(InvalidName {
                what: "Git address",
                // It may have a password in it.
                shown: "as it was given".into(),
                rule: rule.into(),
            }),
        }
    }
);

text_type!(
    /// A branch, a tag or a whole commit id.
    GitRef,
    "Git reference",
    |text| {
        if is_reference(&text) {
            return Ok(text);
        }
        Err(InvalidName {
            what: "Git reference",
            shown: shown(&text),
            rule: "name a branch, a tag or a whole commit id, such as main or v1.2".into(),
        })
    }
);

text_type!(
    /// A folder within a source: names joined by `/`, none of them `.` or `..`.
    SourcePath,
    "path",
    |text| {
        let text = text.trim_end_matches('/').to_owned();
        match rules::source_path(&text) {
            Ok(()) if !text.starts_with(['-', ':']) => Ok(text),
            _ => Err(InvalidName {
                what: "path",
                shown: shown(&text),
                rule: "name a folder of the repository, such as services/web".into(),
            }),
        }
    }
);

text_type!(
    /// A source's id: whoever does not know it cannot guess it.
    SourceId,
    "source",
    |text| {
        let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == ID_DIGITS && digits(&text) {
            return Ok(text);
        }
        Err(InvalidName {
            what: "source",
            shown: shown(&text),
            rule: "use the id that the platform gave it, of 32 hexadecimal digits".into(),
        })
    }
);

text_type!(
    /// A template's name.
    TemplateName,
    "template",
    |text| {
        // The same alphabet as of apps, which are called after templates.
        match AppName::new(text.clone()) {
            Ok(_) => Ok(text),
            Err(error) => Err(InvalidName {
                what: "template",
                ..error
            }),
        }
    }
);

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;
/// The most bytes of an address.
const URL_BYTES: usize = 1024;
/// The most bytes of a reference.
const REF_BYTES: usize = 255;

/// How Git is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// The parts of an address that say with whom is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitServer {
    /// How.
    pub scheme: GitScheme,
    /// Its name or address.
    pub host: GitHost,
    /// Its port.
    pub port: u16,
}

/// A server's name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitHost {
    /// To be resolved.
    Name(Hostname),
    /// As it is.
    Address(IpAddr),
}

fn parse_url(text: &str) -> Result<(), &'static str> {
    if text.len() > URL_BYTES {
        return Err("use up to 1024 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\\\"'`<>{}|^".contains(&b))
    {
        return Err("use printable ASCII without spaces, quotes and backslashes");
    }
    if text.contains(['?', '#']) {
        return Err("leave out what begins with ? or #; a branch or tag has a field of its own");
    }
    let (_, rest) =
        split_scheme(text).ok_or("use an address that begins with https:// or http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("leave user and password out of the address: they have fields of their own");
    }
    if path.trim_matches('/').is_empty() {
        return Err("name a repository, such as https://git.example.com/team/app.git");
    }
    server(text).map(drop).ok_or(
        "name a server by its host name or address, such as https://git.example.com/team/app.git",
    )
}

fn split_scheme(text: &str) -> Option<(GitScheme, &str)> {
    [("https://", GitScheme::Https), ("http://", GitScheme::Http)]
        .into_iter()
        .find_map(|(prefix, scheme)| Some((scheme, text.strip_prefix(prefix)?)))
}

fn server(text: &str) -> Option<GitServer> {
    let (scheme, rest) = split_scheme(text)?;
    let authority = rest.split('/').next()?;
    let usual = match scheme {
        GitScheme::Http => 80,
        GitScheme::Https => 443,
    };
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        let address: std::net::Ipv6Addr = inside.parse().ok()?;
        (
            GitHost::Address(address.into()),
            after.strip_prefix(':').or(after.is_empty().then_some(""))?,
        )
    } else {
        let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
        (host(name)?, port)
    };
    let port = match port {
        "" => usual,
        port if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0)?
        }
        _ => return None,
    };
    Some(GitServer { scheme, host, port })
}

/// What is no plain IPv4 address and ends in a number is refused: programs disagree about which address `127.1` or
/// `0x7f000001` is.
fn host(name: &str) -> Option<GitHost> {
    if let Ok(address) = name.parse::<std::net::Ipv4Addr>() {
        return Some(GitHost::Address(address.into()));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.starts_with(|c: char| c.is_ascii_digit());
    let name = Hostname::new(name.to_ascii_lowercase()).ok()?;
    (!number).then_some(GitHost::Name(name))
}

impl GitUrl {
    /// With whom is spoken.
    #[must_use]
    pub fn server(&self) -> Option<GitServer> {
        server(&self.0)
    }

    /// What an app made from it may be called: after the last part of its path.
    #[must_use]
    pub fn last_name(&self) -> &str {
        let path = self.0.trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        last.strip_suffix(".git").unwrap_or(last)
    }

    /// Other spellings under which servers keep the same repository, for those that redirect: with `.git`, and over TLS.
    #[must_use]
    pub fn spellings(&self) -> Vec<Self> {
        let text = self.0.trim_end_matches('/');
        let mut all = vec![self.0.clone()];
        if !text.ends_with(".git") {
            all.push(format!("{text}.git"));
        }
        let plain = self.server().is_some_and(|server| server.port == 80);
        if let (Some(rest), true) = (text.strip_prefix("http://"), plain) {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let authority = authority.strip_suffix(":80").unwrap_or(authority);
            let secure = format!("https://{authority}/{path}");
            if !text.ends_with(".git") {
                all.push(format!("{secure}.git"));
            }
            all.push(secure);
        }
        all.into_iter().map(Self).collect()
    }
}

/// As `git check-ref-format` has it, and nothing that is an option, a refspec or an expression.
fn is_reference(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.ends_with(".lock")
    };
    !text.is_empty()
        && text.len() <= REF_BYTES
        && text != "@"
        && !text.starts_with(['-', '+'])
        && !text.contains("..")
        && !text.contains("@{")
        && text.chars().all(|c| {
            !c.is_control() && !c.is_whitespace() && !"~^:?*[\\\"'`$<>|;&(){}!".contains(c)
        })
        && text.chars().all(|c| c.is_ascii() || c.is_alphanumeric())
        && text.split('/').all(part)
}

/// Where a source stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SourcePhase {
    /// It is fetched and looked through.
    #[default]
    Fetching,
    /// It can be built, unless `detected.problem` says why not.
    Ready,
    /// `reason` says why.
    Failed,
}

impl SourcePhase {
    /// Will nothing more happen to it by itself?
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Failed)
    }
}

/// What the platform made of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SourceStatus {
    /// Where it stands.
    pub phase: SourcePhase,
    /// Why it failed, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes of all files in it.
    pub bytes: u64,
    /// Files and links in it.
    pub files: u64,
    /// The commit that it is, for Git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// What was found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected: Option<Detected>,
    /// The file that it is kept in. API answers leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub archive: Option<Archive>,
    /// When it was fetched, or that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<DateTime<Utc>>,
    /// When a build of it was last asked for. One that is not used for an hour goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<DateTime<Utc>>,
}

/// The file of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Its name; made by the platform.
    pub id: String,
    /// Its compressed size.
    pub bytes: u64,
}

/// A commit. Whoever made it chose all of it but the id: it is text, and escaped wherever it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Commit {
    /// 40 (or 64) hexadecimal digits.
    pub id: String,
    /// Who wrote it, without the mail address.
    pub author: String,
    /// When, as far as the author's clock goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateTime<Utc>>,
    /// The first line of its message.
    pub subject: String,
}

/// What was found in a source: what a build of it would make, and how it would be run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Detected {
    /// A name for the app: what `coracle.toml` says, else after the repository or template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The Dockerfile, within the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The programming language, where it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The port of `web` where the source says one: in `coracle.toml`, else as the Dockerfile's only `EXPOSE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What would be kept running.
    pub processes: BTreeMap<ProcessName, ProcessSpec>,
    /// Plain variables that the source sets. Those who may not change variables do not see them.
    pub env: BTreeMap<EnvName, String>,
    /// Volumes.
    pub volumes: Vec<VolumeMount>,
    /// What runs before a new release gets the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_command: Option<CommandLine>,
    /// What may surprise.
    pub warnings: Vec<String>,
    /// Why it cannot be built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<SourceProblem>,
}

/// Why a source cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceProblem {
    /// For programs.
    pub code: Code,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Problem> for SourceProblem {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code,
            detail: problem.detail,
            hint: problem.hint,
        }
    }
}

impl Spec for SourceSpec {
    const KIND: Kind = Kind::Source;
    type Status = SourceStatus;
}

/// A template, as people choose among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Template {
    /// Its name.
    pub name: TemplateName,
    /// What it is called.
    pub title: String,
    /// What it is, in a sentence or two.
    pub description: String,
    /// What sort: `web`, `database`, `worker`.
    pub category: String,
    /// The name of a picture, such as `python`.
    pub icon: String,
    /// Ports that it listens on.
    pub ports: Vec<u16>,
    /// Files in it.
    pub files: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        for good in [
            "https://github.com/team/app",
            "https://github.com/team/app.git",
            "http://git.internal:3000/a/b.git/",
            "https://10.1.2.3/a",
            "https://[2001:db8::1]:8443/a",
            "https://Git.Example.COM/a/~user/b+c",
        ] {
            let url = GitUrl::new(good).unwrap();
            assert_eq!(url.as_str(), good);
            assert!(url.server().is_some(), "{good}");
        }
        for bad in [
            "",
            "github.com/team/app",
            "ssh://git@github.com/a",
            "git@github.com:team/app",
            "git://github.com/a/b",
            "ext::sh -c touch% /tmp/x",
            "ext::https://github.com/a",
            "file:///etc",
            "file://localhost/etc",
            "/etc",
            "--upload-pack=touch /tmp/x",
            "-https://github.com/a/b",
            "HTTPS://github.com/a/b",
            "https://user:secret-word@github.com/a/b",
            "https://token@github.com/a/b",
            "https://github.com/",
            "https://github.com",
            "https:///a/b",
            "https://github.com/a b",
            "https://github.com/a\nb",
            "https://github.com/a\0b",
            "https://github.com/a?x=y",
            "https://github.com/a#main",
            "https://github.com\\@evil.example/a",
            "https://127.1/a",
            "https://2130706433/a",
            "https://0x7f000001/a",
            "https://0x7f.1/a",
            "https://[::1]x/a",
            "https://[fe80::1%eth0]/a",
            "https://github.com:0/a",
            "https://github.com:99999/a",
            "https://github.com:+1/a",
            "https://githüb.com/a",
            "https://github.com./a\u{202e}",
        ] {
            let refused = GitUrl::new(bad).expect_err(bad);
            assert!(!refused.to_string().contains("secret-word"), "{refused}");
        }
    }

    #[test]
    fn references_are_no_options_and_no_refspecs() {
        for good in [
            "main",
            "v1.2",
            "feature/x_y-z",
            "0123456789abcdef",
            "größe",
            "a@b",
            "release+1",
        ] {
            assert!(GitRef::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "+main",
            "a:b",
            "refs/*",
            "a..b",
            "a b",
            "a\nb",
            "a\u{0}",
            "@",
            "a@{1}",
            "a^",
            "a~1",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "a\\b",
            "a[b",
            "a?",
            "$(x)",
            "`x`",
            "a;b",
            "a\u{202e}b",
            "a\u{a0}b",
        ] {
            assert!(GitRef::new(bad).is_err(), "{bad:?}");
        }
        assert!(GitRef::new("a".repeat(256)).is_err());
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(
            SourcePath::new("services/web/").unwrap().as_str(),
            "services/web"
        );
        for bad in [
            "", "/", "/etc", "..", "a/../b", "./a", "-x", ":(top)a", "a\nb", "a//b",
        ] {
            assert!(SourcePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_server_that_redirects_is_asked_by_its_other_names() {
        let all = |url: &str| -> Vec<String> {
            let url = GitUrl::new(url).unwrap();
            url.spellings().iter().map(ToString::to_string).collect()
        };
        assert_eq!(all("https://g.io/a.git"), ["https://g.io/a.git"]);
        assert_eq!(
            all("https://g.io/a/"),
            ["https://g.io/a/", "https://g.io/a.git"]
        );
        assert_eq!(
            all("http://g.io:80/a"),
            [
                "http://g.io:80/a",
                "http://g.io:80/a.git",
                "https://g.io/a.git",
                "https://g.io/a"
            ]
        );
        assert_eq!(all("http://g.io:3000/a.git"), ["http://g.io:3000/a.git"]);
        assert_eq!(
            GitUrl::new("https://g.io/team/My.App.git/")
                .unwrap()
                .last_name(),
            "My.App"
        );
    }
}
