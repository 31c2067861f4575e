//! What an engine itself says of a pod, without what is secret in it.
//!
//! Theory of operation: an engine's own words ([`crate::Engine::describe`]) are for people who look for a fault, and hold
//! all that a pod was made with. So every variable loses its value, whatever it is called, and so does every member whose
//! name says that it is a credential. What was hidden there is then hidden wherever else it stands: in a command
//! line, a label, an error. Short values (`true`, `8080`) are hidden in their places only: they are no secrets, and stand
//! everywhere.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What stands in the place of what is hidden.
pub const HIDDEN: &str = "(hidden)";

/// What is hidden in its place is hidden everywhere from this length on, in bytes.
const LONG: usize = 6;

/// A line of what is hidden is hidden on its own from this length on, in bytes: of a key in PEM, say.
const LONG_LINE: usize = 16;

/// Ends of the names of members that hold credentials, in small letters and without dashes.
const CREDENTIALS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "credentials",
    "authorization",
];

/// `raw` without values of variables, credentials, and whatever else has them or one of `known` in it.
#[must_use]
pub fn redact<'a>(mut raw: Value, known: impl IntoIterator<Item = &'a str>) -> Value {
    let mut needles = Needles::default();
    for value in known {
        needles.add(value);
    }
    needles.take(&mut raw);
    needles.hide(&mut raw);
    raw
}

/// What is to be found nowhere.
#[derive(Default)]
struct Needles(BTreeSet<String>);

impl Needles {
    fn add(&mut self, value: &str) {
        if value == HIDDEN {
            return;
        }
        if value.len() >= LONG {
            self.0.insert(value.to_owned());
            // As it stands in JSON that stands in a text.
            let quoted = Value::from(value).to_string();
            self.0.insert(quoted[1..quoted.len() - 1].to_owned());
        }
        let lines = value.lines().map(str::trim);
        self.0.extend(
            lines
                .filter(|line| line.len() >= LONG_LINE)
                .map(str::to_owned),
        );
    }

    /// Takes values out of their places.
    fn take(&mut self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if name.eq_ignore_ascii_case("env") {
                        self.take_variables(value);
                    } else if is_credential(name) {
                        self.take_texts(value);
                    } else {
                        self.take(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.take(item)),
            _ => {}
        }
    }

    /// `["NAME=VALUE"]`, `[{"name", "value"}]`, or `{"NAME": "VALUE"}`.
    fn take_variables(&mut self, variables: &mut Value) {
        match variables {
            Value::Array(all) => {
                for variable in all {
                    match variable {
                        Value::String(text) => {
                            let kept = match text.split_once('=') {
                                Some((name, value)) => {
                                    self.add(value);
                                    format!("{name}={HIDDEN}")
                                }
                                None => HIDDEN.to_owned(),
                            };
                            *text = kept;
                        }
                        Value::Object(members) => self.take_variable(members),
                        other => *other = Value::from(HIDDEN),
                    }
                }
            }
            Value::Object(members) => members
                .values_mut()
                .for_each(|value| self.take_texts(value)),
            Value::Null => {}
            other => self.take_texts(other),
        }
    }

    /// All but its name; a reference to where its value is has names only.
    fn take_variable(&mut self, members: &mut Map<String, Value>) {
        for (name, value) in members {
            if name == "valueFrom" {
                self.take(value);
            } else if name != "name" {
                self.take_texts(value);
            }
        }
    }

    fn take_texts(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                self.add(text);
                *value = Value::from(HIDDEN);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.take_texts(item)),
            // Names of secrets and keys: what is in it is judged by its own names.
            Value::Object(_) => self.take(value),
            Value::Null | Value::Bool(_) => {}
            Value::Number(_) => *value = Value::from(HIDDEN),
        }
    }

    /// Hides what was taken wherever else it stands.
    fn hide(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                let hidden: Vec<_> = members
                    .keys()
                    .filter(|name| self.hidden(name) != **name)
                    .cloned()
                    .collect();
                for name in hidden {
                    if let Some(value) = members.remove(&name) {
                        members.insert(self.hidden(&name), value);
                    }
                }
                for (name, value) in members {
                    // The names of variables are told, even where one has the other's value.
                    if !name.eq_ignore_ascii_case("env") {
                        self.hide(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Value::String(text) => *text = self.hidden(text),
            _ => {}
        }
    }

    fn hidden(&self, text: &str) -> String {
        let mut text = without_logins(text);
        // The longest first: one may be the beginning of another.
        let mut needles: Vec<&String> = self.0.iter().collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        for needle in needles {
            if text.contains(needle.as_str()) {
                text = text.replace(needle.as_str(), HIDDEN);
            }
        }
        text
    }
}

fn is_credential(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    CREDENTIALS.iter().any(|end| plain.ends_with(end))
}

/// `text` with `scheme://user:password@host` as `scheme://(hidden)@host`.
fn without_logins(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#');
        let end = after.find(ends).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(login) => {
                out.push_str(HIDDEN);
                &after[login..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_keep_their_names_and_credentials_nothing() {
        let pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----";
        let raw = json!({
            "Config": {
                "Env": ["A=hunter2-long", "EMPTY=", "EQ=a=b=cdefg", "PORT=8080", "nothing", format!("KEY={pem}"), "NAME_OF_hunter2-long=x"],
                "Cmd": ["sh", "-c", "login hunter2-long; serve 8080"],
                "Labels": { "io.coracle.port": "8080", "with hunter2-long": "x", "cache": "redis://me:pass@cache/0" },
                "AuthToken": "t", "secretName": "kept",
            },
            "spec": { "containers": [{
                "env": [
                    { "name": "B", "value": "line one\nline \"two\"" },
                    { "name": "C", "valueFrom": { "secretKeyRef": { "name": "env", "key": "C" } } },
                ],
                "health": "{\"say\":\"line one\\nline \\\"two\\\"\"}",
            }] },
            "error": "cannot read MIIEvQIBADANBgkqhkiG9w0B of known-from-elsewhere, http://u:p@h:1/x and ssh://me@h",
            "env": { "D": 12345678, "E": null, "F": ["hunter3-long"] },
            "token": null, "password": ["hunter4-long"],
        });
        let told = redact(raw, ["known-from-elsewhere"]);
        assert_eq!(
            told,
            json!({
                "Config": {
                    "Env": ["A=(hidden)", "EMPTY=(hidden)", "EQ=(hidden)", "PORT=(hidden)", "(hidden)", "KEY=(hidden)", "NAME_OF_hunter2-long=(hidden)"],
                    "Cmd": ["sh", "-c", "login (hidden); serve 8080"],
                    "Labels": { "io.coracle.port": "8080", "with (hidden)": "x", "cache": "redis://(hidden)@cache/0" },
                    "AuthToken": HIDDEN, "secretName": "kept",
                },
                "spec": { "containers": [{
                    "env": [
                        { "name": "B", "value": HIDDEN },
                        { "name": "C", "valueFrom": { "secretKeyRef": { "name": "env", "key": "C" } } },
                    ],
                    "health": "{\"say\":\"(hidden)\"}",
                }] },
                "error": "cannot read (hidden) of (hidden), http://(hidden)@h:1/x and ssh://(hidden)@h",
                "env": { "D": HIDDEN, "E": null, "F": [HIDDEN] },
                "token": null, "password": [HIDDEN],
            })
        );
    }

    proptest! {
        #[test]
        fn no_value_of_a_variable_is_found_anywhere(
            values in prop::collection::vec("[^\u{0}]{6,40}", 1..6),
            wrap in "[a-z \\n]{0,5}",
        ) {
            let env: Vec<_> = values.iter().enumerate().map(|(n, value)| format!("V{n}={value}")).collect();
            let text = values.iter().map(|value| format!("{wrap}{value}{wrap}")).collect::<String>();
            let told = redact(json!({ "Env": env, "Args": [text], "in": { "json": json!({ "x": text }).to_string() } }), []);
            let mut all = Vec::new();
            texts(&told, &mut all);
            for value in values.iter().filter(|value| !HIDDEN.contains(value.as_str())) {
                for text in &all {
                    prop_assert!(!text.replace(HIDDEN, "\u{0}").contains(value.as_str()), "{value:?} is in {text:?}");
                }
            }
        }

        #[test]
        fn what_is_not_secret_stays(text in "[^:@]{0,60}") {
            let raw = json!({ "a": [text, { "b": text }] });
            prop_assert_eq!(redact(raw.clone(), []), raw);
        }
    }

    fn texts(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.values().for_each(|value| texts(value, all)),
            Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
            Value::String(text) => all.push(text.clone()),
            _ => {}
        }
    }
}
