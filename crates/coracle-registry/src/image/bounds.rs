//! Bounds of what an image says about itself.
//!
//! Theory of operation: labels, history, variables and commands are whatever the maker of an image wrote, and are shown to others. They
//! stay text, nothing in them is interpreted, and each is cut at a length at which it still says what it is.

use std::collections::BTreeMap;

/// The most bytes of one text.
const TEXT_BYTES: usize = 4096;
/// The most bytes of a name.
const NAME_BYTES: usize = 256;
/// The most entries of one list.
const ENTRIES: usize = 256;

/// A text of bounded length.
pub(super) fn text(text: String) -> String {
    cut(text, TEXT_BYTES)
}

/// A name of bounded length.
pub(super) fn name(name: String) -> String {
    cut(name, NAME_BYTES)
}

/// A list of texts, of bounded length.
pub(super) fn texts(list: impl IntoIterator<Item = String>) -> Vec<String> {
    list.into_iter().take(ENTRIES).map(text).collect()
}

/// A list of names, of bounded length.
pub(super) fn names(list: impl IntoIterator<Item = String>) -> Vec<String> {
    list.into_iter().take(ENTRIES).map(name).collect()
}

/// Names with texts, of bounded length.
pub(super) fn map(map: BTreeMap<String, String>) -> BTreeMap<String, String> {
    map.into_iter()
        .take(ENTRIES)
        .map(|(key, value)| (name(key), text(value)))
        .collect()
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_things_are_cut_between_characters() {
        let long = text("é".repeat(TEXT_BYTES));
        assert!(
            long.len() <= TEXT_BYTES + '…'.len_utf8() && long.ends_with("é…"),
            "{}",
            long.len()
        );
        assert_eq!(text("<b>\u{1b}[2J".to_owned()), "<b>\u{1b}[2J");
        assert_eq!(names(vec!["a".to_owned(); 10_000]).len(), ENTRIES);
        let many = (0..10_000)
            .map(|i| (i.to_string(), String::new()))
            .collect();
        assert_eq!(map(many).len(), ENTRIES);
    }
}
