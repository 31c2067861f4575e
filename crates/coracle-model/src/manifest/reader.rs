//! Walks a parsed TOML document, with the path and place of every value at hand.

use std::ops::Range;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::fault::{Faults, key_shown, nearest};
use super::rules::Verdict;

/// A table of the document and where it stands.
pub(super) struct Section<'t, 'i> {
    pub(super) table: &'t DeTable<'i>,
    /// Its path with a dot at the end; empty for the whole document.
    pub(super) prefix: String,
    pub(super) span: Range<usize>,
}

/// A value of the document and where it stands.
pub(super) struct Found<'t, 'i> {
    pub(super) value: &'t DeValue<'i>,
    pub(super) path: String,
    pub(super) span: Range<usize>,
}

impl<'t, 'i> Section<'t, 'i> {
    pub(super) fn new(table: &'t DeTable<'i>, prefix: String, span: Range<usize>) -> Self {
        Self {
            table,
            prefix,
            span,
        }
    }

    /// The path of one of its keys.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{}", self.prefix, key_shown(key))
    }

    pub(super) fn find(&self, key: &str) -> Option<Found<'t, 'i>> {
        let value = self.table.get(key)?;
        Some(Found {
            value: value.get_ref(),
            path: self.path(key),
            span: value.span(),
        })
    }

    /// All its keys with their values and the place of the key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'t str, Range<usize>, Found<'t, 'i>)> {
        self.table.iter().map(|(key, value)| {
            let name: &'t str = key.get_ref();
            let found = Found {
                value: value.get_ref(),
                path: self.path(name),
                span: value.span(),
            };
            (name, key.span(), found)
        })
    }

    /// Refuses keys that are not among `allowed`.
    pub(super) fn only(&self, allowed: &[&str], faults: &mut Faults<'_>) {
        for (key, at, found) in self.entries() {
            if allowed.contains(&key) {
                continue;
            }
            let hint = nearest(key, allowed).map(|name| format!("did you mean `{name}`?"));
            let message = format!("there is no such key: use {}", listed(allowed));
            faults.add(&at, &found.path, message, hint);
        }
    }

    /// The table under `key`.
    pub(super) fn section(&self, key: &str, faults: &mut Faults<'_>) -> Option<Self> {
        self.find(key)?.into_section(faults)
    }

    /// The text under `key`, where `rule` lets it through.
    pub(super) fn text(
        &self,
        key: &str,
        rule: fn(&str) -> Verdict,
        faults: &mut Faults<'_>,
    ) -> Option<String> {
        let found = self.find(key)?;
        let text = found.text(faults)?;
        found.judged(text.to_owned(), |text| rule(text), faults)
    }

    /// The whole number under `key`.
    pub(super) fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
        faults: &mut Faults<'_>,
    ) -> Option<u32> {
        let found = self.find(key)?;
        let allowed = || {
            format!(
                "use a whole number from {} to {}",
                range.start(),
                range.end()
            )
        };
        let DeValue::Integer(number) = found.value else {
            found.wrong_type(&allowed(), faults);
            return None;
        };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        match value.filter(|value| range.contains(value)) {
            Some(value) => Some(value),
            None => {
                let given: String = number.as_str().chars().take(24).collect();
                faults.add(
                    &found.span,
                    &found.path,
                    format!("{given} is out of range: {}", allowed()),
                    None,
                );
                None
            }
        }
    }

    /// The quantity under `key`, as text or as a number.
    pub(super) fn quantity<T>(
        &self,
        key: &str,
        rule: impl Fn(T) -> Verdict,
        faults: &mut Faults<'_>,
    ) -> Option<T>
    where
        T: FromStr + Copy,
        T::Err: std::fmt::Display,
    {
        let found = self.find(key)?;
        let parsed = match found.value {
            DeValue::String(text) => text.parse::<T>(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse(),
            DeValue::Float(number) => number.as_str().parse(),
            _ => {
                found.wrong_type("use text in quotes with a unit, or a number", faults);
                return None;
            }
        };
        match parsed {
            Ok(value) => found.judged(value, |value| rule(*value), faults),
            Err(error) => {
                faults.add(&found.span, &found.path, error.to_string(), None);
                None
            }
        }
    }
}

impl<'t, 'i> Found<'t, 'i> {
    pub(super) fn into_section(self, faults: &mut Faults<'_>) -> Option<Section<'t, 'i>> {
        let Some(table) = self.value.as_table() else {
            self.wrong_type("use a table", faults);
            return None;
        };
        Some(Section::new(table, format!("{}.", self.path), self.span))
    }

    pub(super) fn text(&self, faults: &mut Faults<'_>) -> Option<&'t str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type("use text in quotes", faults);
        }
        text
    }

    pub(super) fn wrong_type(&self, allowed: &str, faults: &mut Faults<'_>) {
        let message = format!("this is {}: {allowed}", article(self.value.type_str()));
        faults.add(&self.span, &self.path, message, None);
    }

    /// `value` when `rule` lets it through; else a fault.
    pub(super) fn judged<T>(
        &self,
        value: T,
        rule: impl FnOnce(&T) -> Verdict,
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        match rule(&value) {
            Ok(()) => Some(value),
            Err(message) => {
                faults.add(&self.span, &self.path, message, None);
                None
            }
        }
    }
}

/// The type's name with its article.
fn article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {name}")
}

/// `a, b or c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
