//! One pattern of a `.dockerignore`, matched in time that is bounded whatever the pattern.
//!
//! Theory of operation: Docker documents its patterns as those of Go's `filepath.Match`, plus `**`. A pattern
//! is a row of steps, and all places in the row that the text so far can have reached are kept at once: each
//! character costs one pass over the steps, so no pattern can make matching slow, which matters because
//! patterns come with uploads.

/// A pattern of a `.dockerignore` without its `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    steps: Vec<Step>,
    /// The whole pattern where it has nothing to expand: most have not.
    literal: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This character.
    Just(char),
    /// `?`: one character, not a slash.
    One,
    /// `[a-z]`: one character of (or not of) these ranges, not a slash.
    Class {
        not: bool,
        ranges: Vec<(char, char)>,
    },
    /// `*`: any characters but slashes.
    Many,
    /// `**` at an end: any characters.
    All,
    /// The beginning of `**/`, which may stand for nothing: leads on to the next step and past it.
    MaybeFolders,
    /// The inside of `**/`: any characters; only a slash leads out of it.
    Folders,
}

/// A pattern that breaks its own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPattern;

impl Glob {
    /// Reads a pattern that has no `.`, `..` or empty names in it.
    pub(crate) fn parse(pattern: &str) -> Result<Self, BadPattern> {
        let mut steps = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let step = match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    // More stars say nothing more.
                    while chars.next_if_eq(&'*').is_some() {}
                    let slash = chars.next_if_eq(&'/').is_some();
                    let at_end = chars.peek().is_none();
                    if at_end || (steps.is_empty() && !slash) {
                        Step::All
                    } else {
                        steps.push(Step::MaybeFolders);
                        Step::Folders
                    }
                }
                '*' => Step::Many,
                '?' => Step::One,
                '[' => class(&mut chars)?,
                '\\' => Step::Just(chars.next().ok_or(BadPattern)?),
                c => Step::Just(c),
            };
            steps.push(step);
        }
        let literal = steps
            .iter()
            .map(|step| match step {
                Step::Just(c) => Some(*c),
                _ => None,
            })
            .collect();
        Ok(Self { steps, literal })
    }

    /// Does it match the whole of `path`?
    pub(crate) fn matches(&self, path: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal == path;
        }
        let mut at = self.start();
        for c in path.chars() {
            at = self.step(&at, c);
            if !at.contains(&true) {
                return false;
            }
        }
        at[self.steps.len()]
    }

    /// Could it match something below `folder`? When in doubt, yes.
    pub(crate) fn could_match_below(&self, folder: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'));
        }
        let mut at = self.start();
        for c in folder.chars().chain(['/']) {
            at = self.step(&at, c);
        }
        at.contains(&true)
    }

    fn start(&self) -> Vec<bool> {
        let mut at = vec![false; self.steps.len() + 1];
        at[0] = true;
        self.skip_optional(&mut at);
        at
    }

    /// Adds the places that are reached without a character. They only lie ahead: one pass finds all.
    fn skip_optional(&self, at: &mut [bool]) {
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Step::Many | Step::All if at[i] => at[i + 1] = true,
                // `Folders` always follows.
                Step::MaybeFolders if at[i] => {
                    at[i + 1] = true;
                    at[i + 2] = true;
                }
                _ => {}
            }
        }
    }

    fn step(&self, at: &[bool], c: char) -> Vec<bool> {
        let mut next = vec![false; at.len()];
        for (i, step) in self.steps.iter().enumerate() {
            if !at[i] {
                continue;
            }
            match step {
                Step::Just(just) => next[i + 1] |= *just == c,
                Step::One => next[i + 1] |= c != '/',
                Step::Class { not, ranges } => {
                    let within = ranges.iter().any(|(a, b)| (*a..=*b).contains(&c));
                    next[i + 1] |= c != '/' && within != *not;
                }
                Step::Many => next[i] |= c != '/',
                Step::All => next[i] = true,
                Step::MaybeFolders => {}
                Step::Folders => {
                    next[i] = true;
                    next[i + 1] |= c == '/';
                }
            }
        }
        self.skip_optional(&mut next);
        next
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Step, BadPattern> {
    let not = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next().ok_or(BadPattern)? {
            ']' if ranges.is_empty() => return Err(BadPattern),
            ']' => return Ok(Step::Class { not, ranges }),
            '-' => return Err(BadPattern),
            '\\' => chars.next().ok_or(BadPattern)?,
            c => c,
        };
        let high = if chars.next_if_eq(&'-').is_some() {
            match chars.next().ok_or(BadPattern)? {
                ']' | '-' => return Err(BadPattern),
                '\\' => chars.next().ok_or(BadPattern)?,
                c => c,
            }
        } else {
            low
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(path)
    }

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, path, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("*.go", "x.go", true),
            ("*.go", "d/x.go", false),
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/temp*", "temporary.txt", false),
            ("*/*/temp*", "somedir/subdir/temporary.txt", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("temp?", "temp/", false),
            ("**/*.go", "x.go", true),
            ("**/*.go", "a/b/x.go", true),
            ("**/*.go", "a/b/x.god", false),
            ("**/foo", "foo", true),
            ("**/foo", "afoo", false),
            ("**/foo", "a/foo", true),
            ("**/foo", "a/bfoo", false),
            ("**", "anything/at/all", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**.go", "d/x.go", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[\\]a]", "]", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a.b$", "a.b$", true),
            ("a.b", "axb", false),
            ("é*", "éa", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
        for bad in ["[", "[]", "[a", "[a-", "[a-]", "[-a]", "a\\", "[\\"] {
            assert_eq!(Glob::parse(bad), Err(BadPattern), "{bad}");
        }
    }

    #[test]
    fn below() {
        let below = |pattern, folder| Glob::parse(pattern).unwrap().could_match_below(folder);
        assert!(below("a/b/c", "a"));
        assert!(below("a/b/c", "a/b"));
        assert!(!below("a/b/c", "a/b/c"));
        assert!(!below("a/b", "ab"));
        assert!(below("*/x", "a"));
        assert!(!below("*/x", "a/b"));
        assert!(below("**/x", "a/b/c"));
    }

    #[test]
    fn hostile_patterns_are_quick() {
        let pattern = format!("{}b", "*a".repeat(200));
        let path = "a".repeat(1000);
        assert!(!matches(&pattern, &path));
    }

    /// The same rules, written as a search that tries everything.
    fn slow(pattern: &[char], path: &[char], first: bool) -> bool {
        match pattern {
            [] => path.is_empty(),
            ['*', '*'] => true,
            ['*', '*', '/'] => true,
            ['*', '*', '/', rest @ ..] => {
                slow(rest, path, false)
                    || (0..path.len()).any(|i| path[i] == '/' && slow(rest, &path[i + 1..], false))
            }
            ['*', '*', rest @ ..] if first => {
                (0..=path.len()).any(|i| slow(rest, &path[i..], false))
            }
            ['*', rest @ ..] => (0..=path.len())
                .take_while(|i| !path[..*i].contains(&'/'))
                .any(|i| slow(rest, &path[i..], false)),
            ['?', rest @ ..] => {
                path.first().is_some_and(|c| *c != '/') && slow(rest, &path[1..], false)
            }
            [c, rest @ ..] => path.first() == Some(c) && slow(rest, &path[1..], false),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_search_that_tries_everything(
            pattern in "(\\*\\*/|[ab/?]|\\*[ab/]){0,6}(\\*\\*|[ab*])?",
            path in "[ab](/?[ab]){0,6}",
        ) {
            prop_assume!(!pattern.contains("***") && !pattern.contains("a**") && !pattern.contains("b**") && !pattern.contains("?**"));
            let p: Vec<char> = pattern.chars().collect();
            let s: Vec<char> = path.chars().collect();
            prop_assert_eq!(matches(&pattern, &path), slow(&p, &s, true));
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in "[*?/a\\[\\]^\\\\-]{0,12}", path in "[a/]{0,8}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let below = glob.could_match_below(&path);
                let child = format!("{path}/a");
                prop_assert!(below || !glob.matches(&child));
            }
        }
    }
}
