//! `.dockerignore`: Docker's rules, not Git's.
//!
//! Theory of operation, after Docker's documentation: one pattern per line, relative to the folder, as in Go's
//! `filepath.Match` with `**` for any number of folders; `#` begins a comment at the start of a line only; blanks
//! around a pattern and slashes at its ends mean nothing; a pattern that matches a folder matches all below it; `!`
//! makes an exception; the last line that matches decides. Unlike Git, a pattern without a slash matches at the
//! top only, and an exception can bring back a file out of a folder that is left out.

use coracle_model::name::shown;

use crate::glob::Glob;

/// The rules of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    glob: Glob,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    LeaveOut,
    Keep,
}

/// A line that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(".dockerignore:{line}: {shown}: {rule}")]
pub struct BadIgnore {
    /// The line, from 1.
    pub line: usize,
    shown: String,
    rule: &'static str,
}

/// Which rules match a folder and so everything below it.
#[derive(Clone, Debug, Default)]
pub struct Below {
    matched: Vec<bool>,
}

/// What the rules say of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the source.
    Kept,
    /// It is left out; of a folder, all that is below it too.
    LeftOut,
    /// The folder is left out, but an exception may keep something below it.
    LeftOutPartly,
}

impl Ignore {
    /// The file's name in a source's folder.
    pub const FILE: &'static str = ".dockerignore";
    /// The most bytes that it may have.
    pub const MOST_BYTES: usize = 256 * 1024;
    /// The most patterns that are applied: each costs time for each file.
    pub const MOST_RULES: usize = 2000;

    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// [`BadIgnore`] names the line.
    pub fn parse(text: &str) -> Result<Self, BadIgnore> {
        let mut rules = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (i, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let bad = |rule| BadIgnore {
                line: i + 1,
                shown: shown(line),
                rule,
            };
            let line = line.trim();
            let (effect, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (Effect::Keep, pattern.trim()),
                None => (Effect::LeaveOut, line),
            };
            if pattern.is_empty() {
                if effect == Effect::Keep {
                    return Err(bad("an exception needs a pattern after the !"));
                }
                continue;
            }
            let Some(pattern) = clean(pattern) else {
                continue;
            };
            let glob = Glob::parse(&pattern).map_err(|_| {
                bad("this is no pattern: close every [ with ], and put a character after every \\")
            })?;
            rules.push(Rule { glob, effect });
            if rules.len() > Self::MOST_RULES {
                return Err(bad("there are too many patterns: use up to 2000"));
            }
        }
        Ok(Self { rules })
    }

    /// Is `path` left out?
    #[must_use]
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut below = Below::default();
        let mut verdict = Verdict::Kept;
        for (i, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (verdict, below) = self.judge(&path[..i], &below);
        }
        verdict != Verdict::Kept
    }

    /// Judges `path`, where `above` is what came of judging the folder that it lies in (the default for the top).
    #[must_use]
    pub fn judge(&self, path: &str, above: &Below) -> (Verdict, Below) {
        let mut verdict = Verdict::Kept;
        let mut matched = Vec::with_capacity(self.rules.len());
        for (i, rule) in self.rules.iter().enumerate() {
            let hit = above.matched.get(i).copied().unwrap_or_default() || rule.glob.matches(path);
            matched.push(hit);
            if hit {
                verdict = match rule.effect {
                    Effect::LeaveOut => Verdict::LeftOut,
                    Effect::Keep => Verdict::Kept,
                };
            }
        }
        let excepted =
            |rule: &Rule| rule.effect == Effect::Keep && rule.glob.could_match_below(path);
        if verdict == Verdict::LeftOut && self.rules.iter().any(excepted) {
            verdict = Verdict::LeftOutPartly;
        }
        (verdict, Below { matched })
    }
}

/// The pattern without `.`, `..` and empty names. None when nothing is left or it points outside: such a
/// pattern can match nothing.
fn clean(pattern: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    (!names.is_empty()).then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ignore: &str, paths: &[&str]) -> Vec<String> {
        let ignore = Ignore::parse(ignore).unwrap();
        paths
            .iter()
            .filter(|path| !ignore.leaves_out(path))
            .map(|path| (*path).to_owned())
            .collect()
    }

    #[test]
    fn the_documented_example() {
        let paths = [
            "somedir/temporary.txt",
            "somedir/sub/temp",
            "tempa",
            "tempab",
            "somedir/temp",
            "x",
        ];
        assert_eq!(
            kept("# comment\n*/temp*\n*/*/temp*\ntemp?\n", &paths),
            ["tempab", "x"]
        );
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        let paths = ["README.md", "README-secret.md", "other.md", "d/x.md"];
        assert_eq!(kept("*.md\n!README.md", &paths), ["README.md", "d/x.md"]);
        assert_eq!(
            kept("*.md\n!README*.md\nREADME-secret.md", &paths),
            ["README.md", "d/x.md"]
        );
        assert_eq!(
            kept("*.md\nREADME-secret.md\n!README*.md", &paths),
            ["README.md", "README-secret.md", "d/x.md"]
        );
    }

    #[test]
    fn a_folder_takes_all_below_with_it_and_exceptions_bring_back() {
        let paths = ["docs", "docs/a", "docs/b/c", "docs/b/d", "docsx"];
        assert_eq!(kept("docs", &paths), ["docsx"]);
        assert_eq!(kept("/docs/", &paths), ["docsx"]);
        assert_eq!(
            kept("docs\n!docs/b", &paths),
            ["docs/b/c", "docs/b/d", "docsx"]
        );
        assert_eq!(
            kept("docs/*\n!docs/b\ndocs/b/c", &paths),
            ["docs", "docs/b/d", "docsx"]
        );
        assert_eq!(kept("*\n!docs/b/d", &paths), ["docs/b/d"]);
        assert_eq!(kept("docs/**", &paths), ["docs", "docsx"]);
    }

    #[test]
    fn unlike_git_a_bare_name_matches_at_the_top_only() {
        let paths = ["node_modules/x", "pkg/node_modules/x"];
        assert_eq!(kept("node_modules", &paths), ["pkg/node_modules/x"]);
        assert_eq!(kept("**/node_modules", &paths), Vec::<String>::new());
    }

    #[test]
    fn blanks_comments_and_odd_paths() {
        let paths = ["a", "b", "#c", " d", "e/f"];
        assert_eq!(
            kept(
                "\u{feff}  a  \r\n\n! b\n  #c\n./e/../e/./f\n../a\n.\n/\n",
                &paths
            ),
            ["b", " d"]
        );
        assert_eq!(kept("#c\n", &["#c"]), ["#c"]);
    }

    #[test]
    fn bad_lines_are_named() {
        let error = Ignore::parse("a\n[x\n").unwrap_err();
        assert_eq!(error.line, 2);
        assert_eq!(Ignore::parse("!").unwrap_err().line, 1);
        assert!(Ignore::parse("a\\").is_err());
    }

    #[test]
    fn a_left_out_folder_is_entered_only_for_exceptions() {
        let verdict = |text, path| {
            Ignore::parse(text)
                .unwrap()
                .judge(path, &Below::default())
                .0
        };
        assert_eq!(
            verdict("node_modules\n!src/x", "node_modules"),
            Verdict::LeftOut
        );
        assert_eq!(verdict("a\n!a/b/c", "a"), Verdict::LeftOutPartly);
        assert_eq!(verdict("*\n!**/x", "a"), Verdict::LeftOutPartly);
        assert_eq!(verdict("*\n!a", "a"), Verdict::Kept);
    }
}
