//! A very small shell: enough of it for what the conformance suite runs.
//!
//! Commands joined by `;`, `&&`, `||` and new lines; quotes; `$NAME` from the environment; `>`, `>>`, `>&2`.
//! What it does not know ends with 127, as in a real shell.

use std::collections::BTreeMap;
use std::time::Duration;

use super::program::{Keep, Line, Step, When};
use crate::stream::Channel;

/// The steps of a command given as words.
pub(super) fn program(words: &[String], env: &BTreeMap<String, String>) -> Vec<Line> {
    match words {
        [sh, flag, script, ..] if is_shell(sh) && flag == "-c" => script_lines(script, env),
        _ => command(When::Always, words, &Redirect::None, env),
    }
}

/// What a line of a Dockerfile's `RUN` writes, and its status: nothing of it takes time.
pub(super) fn outcome(script: &str) -> (Vec<String>, i64) {
    let mut output = Vec::new();
    let mut status = 0;
    for line in script_lines(script, &BTreeMap::new()) {
        let wanted = match line.when {
            When::Always => true,
            When::Success => status == 0,
            When::Failure => status != 0,
        };
        if !wanted {
            continue;
        }
        status = 0;
        match line.step {
            Step::Print(_, text) => output.push(text),
            Step::Status(code) => status = code,
            Step::Exit(code) => return (output, code),
            _ => {}
        }
    }
    (output, status)
}

fn is_shell(word: &str) -> bool {
    matches!(word, "sh" | "/bin/sh")
}

/// Where a command's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Redirect {
    None,
    Stderr,
    File(String, Keep),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Then(When),
    ToStderr,
    ToFile(Keep),
}

fn script_lines(script: &str, env: &BTreeMap<String, String>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut words = Vec::new();
    let mut redirect = Redirect::None;
    let mut when = When::Always;
    let mut file_next = None;
    for token in tokens(script, env)
        .into_iter()
        .chain([Token::Then(When::Always)])
    {
        match token {
            Token::Word(word) => match file_next.take() {
                Some(keep) => redirect = Redirect::File(word, keep),
                None => words.push(word),
            },
            Token::ToStderr => redirect = Redirect::Stderr,
            Token::ToFile(keep) => file_next = Some(keep),
            Token::Then(next) => {
                if !words.is_empty() {
                    lines.extend(command(when, &words, &redirect, env));
                }
                words.clear();
                redirect = Redirect::None;
                when = next;
            }
        }
    }
    lines
}

fn tokens(script: &str, env: &BTreeMap<String, String>) -> Vec<Token> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let quoted: String = chars.by_ref().take_while(|&c| c != '\'').collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|&c| c != '"') {
                    match c {
                        '$' => word.push_str(&variable(&mut chars, env)),
                        '\\' => word.extend(chars.next()),
                        c => word.push(c),
                    }
                }
            }
            '$' => {
                let value = variable(&mut chars, env);
                word.get_or_insert_default().push_str(&value);
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            ';' | '\n' | '&' | '|' | '>' | ' ' | '\t' => {
                out.extend(word.take().map(Token::Word));
                let twice = matches!(c, '&' | '|' | '>') && chars.next_if_eq(&c).is_some();
                match (c, twice) {
                    (';' | '\n', _) => out.push(Token::Then(When::Always)),
                    ('&', true) => out.push(Token::Then(When::Success)),
                    ('|', true) => out.push(Token::Then(When::Failure)),
                    ('>', true) => out.push(Token::ToFile(Keep::Old)),
                    ('>', false) if chars.next_if_eq(&'&').is_some() => {
                        let _which = chars.next();
                        out.push(Token::ToStderr);
                    }
                    ('>', false) => out.push(Token::ToFile(Keep::Nothing)),
                    _ => {}
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word.map(Token::Word));
    out
}

fn variable(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    env: &BTreeMap<String, String>,
) -> String {
    let braces = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if braces {
        let _closing = chars.next_if_eq(&'}');
    }
    env.get(&name).cloned().unwrap_or_default()
}

/// What follows `-p`.
fn port_of(args: &[&str]) -> Option<u16> {
    let flag = args.windows(2).find(|pair| pair[0] == "-p")?;
    flag[1].parse().ok()
}

/// The steps of one simple command.
fn command(
    when: When,
    words: &[String],
    redirect: &Redirect,
    env: &BTreeMap<String, String>,
) -> Vec<Line> {
    let Some((name, args)) = words.split_first() else {
        return Vec::new();
    };
    let text: Vec<&str> = args.iter().map(String::as_str).collect();
    let print = |line: String| match redirect {
        Redirect::None => Step::Print(Channel::Stdout, line),
        Redirect::Stderr => Step::Print(Channel::Stderr, line),
        Redirect::File(path, keep) => Step::Write {
            path: path.clone(),
            text: line + "\n",
            keep: *keep,
        },
    };
    let number = |text: Option<&&str>| text.and_then(|t| t.parse::<i64>().ok()).unwrap_or(0);
    let steps = match (name.as_str(), text.as_slice()) {
        ("exec", _) => return command(when, args, redirect, env),
        // Nothing that it is used with hangs here.
        ("timeout", [_time, ..]) => return command(when, &args[1..], redirect, env),
        ("sh" | "/bin/sh", ["-c", script, ..]) => return script_lines(script, env),
        (":" | "true" | "mkdir" | "chmod" | "sync", _) => vec![Step::Status(0)],
        ("false", _) => vec![Step::Status(1)],
        ("echo", _) => vec![print(text.join(" "))],
        ("hostname", _) => vec![print(env.get("HOSTNAME").cloned().unwrap_or_default())],
        ("printenv", [name]) => match env.get(*name) {
            Some(value) => vec![print(value.clone())],
            None => vec![Step::Status(1)],
        },
        ("env", []) => env.iter().map(|(k, v)| print(format!("{k}={v}"))).collect(),
        ("seq", [from, to]) => {
            let (from, to) = (number(Some(from)), number(Some(to)));
            (from..=to).map(|n| print(n.to_string())).collect()
        }
        ("cat", []) => vec![Step::CopyInput],
        ("cat", files) => files.iter().map(|f| Step::Show((*f).to_owned())).collect(),
        ("rm", files) => files
            .iter()
            .filter(|f| !f.starts_with('-'))
            .map(|f| Step::Delete((*f).to_owned()))
            .collect(),
        ("test" | "[", ["-f" | "-e", file, ..]) => vec![Step::Exists((*file).to_owned())],
        ("test" | "[", ["-t", ..]) => vec![Step::IsTerminal],
        ("stty", ["size"]) => vec![Step::TerminalSize],
        ("wget", args) => match args.iter().rev().find(|a| a.starts_with("http://")) {
            Some(url) => vec![Step::Fetch((*url).to_owned())],
            None => vec![Step::Status(1)],
        },
        ("sleep", [time, ..]) => match time.parse::<f64>() {
            Ok(seconds) => vec![Step::Sleep(
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            )],
            Err(_infinity) => vec![Step::Hang],
        },
        ("tail", ["/dev/zero"]) | ("dd", _) => vec![Step::EatMemory],
        ("trap", ["", ..]) => vec![Step::IgnoreTerm],
        ("serve" | "/bin/serve", _) => {
            vec![
                Step::Listen(None),
                print("listening".to_owned()),
                Step::Hang,
            ]
        }
        ("httpd", args) => {
            vec![Step::Listen(port_of(args)), Step::Hang]
        }
        // Without `-e` it would send the console's input.
        ("nc", args) if args.ends_with(&["-e", "cat"]) => {
            vec![Step::Echo(port_of(args)), Step::Hang]
        }
        ("exit", args) => vec![Step::Exit(number(args.first()))],
        (unknown, _) => vec![
            Step::Print(Channel::Stderr, format!("sh: {unknown}: not found")),
            Step::Status(127),
        ],
    };
    steps
        .into_iter()
        .enumerate()
        .map(|(at, step)| Line {
            when: if at == 0 { when } else { When::Always },
            step,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(script: &str) -> Vec<Step> {
        let env = BTreeMap::from([("WHO".to_owned(), "you all".to_owned())]);
        script_lines(script, &env)
            .into_iter()
            .map(|line| line.step)
            .collect()
    }

    #[test]
    fn quotes_variables_and_redirects() {
        assert_eq!(
            steps("echo 'a  b' \"$WHO\" >&2; echo x > /data/f && exit 3"),
            [
                Step::Print(Channel::Stderr, "a  b you all".into()),
                Step::Write {
                    path: "/data/f".into(),
                    text: "x\n".into(),
                    keep: Keep::Nothing
                },
                Step::Exit(3),
            ]
        );
        assert_eq!(
            steps("trap '' TERM; exec httpd -f -p 81"),
            [Step::IgnoreTerm, Step::Listen(Some(81)), Step::Hang]
        );
    }
}
