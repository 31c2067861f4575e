//! Paging of lists.

use coracle_model::object::List;
use serde::Deserialize;

/// The most objects on one page.
const MOST: usize = 500;

/// Which page of a list.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// `next` of the page before.
    #[serde(default)]
    pub(crate) after: Option<String>,
    /// The most objects on the page, 1 to 500.
    #[serde(default)]
    pub(crate) limit: Option<usize>,
}

impl Page {
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(MOST).clamp(1, MOST)
    }

    /// Cuts a page out of `all`, which is in the order of what `name` says of each.
    pub(crate) fn cut<T>(&self, all: Vec<T>, name: impl Fn(&T) -> String) -> List<T> {
        let mut rest = all
            .into_iter()
            .filter(|item| self.after.as_ref().is_none_or(|after| name(item) > *after));
        let items: Vec<T> = rest.by_ref().take(self.limit()).collect();
        let next = rest.next().and(items.last()).map(&name);
        List { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_a_partition() {
        let all: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        let mut seen = Vec::new();
        let mut page = Page {
            after: None,
            limit: Some(2),
        };
        loop {
            let cut = page.cut(all.clone(), Clone::clone);
            assert!(cut.items.len() <= 2);
            seen.extend(cut.items);
            match cut.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }
}
