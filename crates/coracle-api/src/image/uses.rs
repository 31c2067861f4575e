//! Who relies on an image, and whether it may be deleted.

use coracle_control::Control;
use coracle_control::OperationError;
use coracle_control::image_use::NamedUse;
use coracle_model::image::{ImageUse, Live};
use coracle_model::name::ProjectName;
use coracle_model::problem::{Code, Problem};
use coracle_registry::{Digest, RepositoryName, Tag};

use crate::error::ApiResult;

/// Those who are named where there are many.
const NAMED: usize = 5;

/// What relies on images of one repository.
pub(crate) struct Uses {
    repository: RepositoryName,
    all: Vec<NamedUse>,
}

impl Uses {
    /// Only a project's own workloads run its images; what is outside of every project is asked about everywhere.
    pub(crate) async fn of(
        control: &Control,
        repository: &RepositoryName,
    ) -> Result<Self, OperationError> {
        let first = repository.as_str().split_once('/');
        let project = first.and_then(|(first, _)| ProjectName::new(first).ok());
        let mut all = control.image_uses(project.as_ref()).await?;
        all.retain(|named| named.image.repository == repository.as_str());
        Ok(Self {
            repository: repository.clone(),
            all,
        })
    }

    /// What relies on the image, which has these tags: what would break most first.
    pub(crate) fn about(&self, digest: &Digest, tags: &[Tag]) -> Vec<ImageUse> {
        let digest = digest.to_string();
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let mut uses: Vec<ImageUse> = self
            .all
            .iter()
            .filter(|named| named.is_of(self.repository.as_str(), &digest, &tags))
            .map(|named| named.by.clone())
            .collect();
        uses.sort_by(|a, b| {
            let by_app = |by: &ImageUse| (by.app.clone(), std::cmp::Reverse(by.release));
            b.live.cmp(&a.live).then_with(|| by_app(a).cmp(&by_app(b)))
        });
        // A release may name its image twice.
        uses.dedup();
        uses
    }
}

/// Whether somebody insists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insisting {
    Yes,
    No,
}

/// Who is in the way of a deletion, in words.
pub(crate) fn in_the_way(uses: &[ImageUse], insisting: Insisting) -> Option<String> {
    let stands = |by: &&ImageUse| match insisting {
        Insisting::No => by.live > Live::No,
        Insisting::Yes => !by.live.may_be_forced(),
    };
    let names: Vec<String> = uses
        .iter()
        .filter(stands)
        .map(ToString::to_string)
        .collect();
    if names.is_empty() {
        return None;
    }
    let more = match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!(", and {more} more"),
        _ => String::new(),
    };
    let named = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    Some(format!("the image is needed: {named}{more}"))
}

/// Fails when the image may not be deleted.
pub(crate) fn check_deletable(uses: &[ImageUse], insisting: Insisting) -> ApiResult<()> {
    let Some(who) = in_the_way(uses, insisting) else {
        return Ok(());
    };
    let hint = if uses.iter().all(|by| by.live.may_be_forced()) {
        "with force it is deleted, and there is no way back to these releases"
    } else {
        "release another image there first"
    };
    Err(Problem::new(Code::Conflict, who).hint(hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_model::name::AppName;
    use coracle_model::release::ReleaseNumber;

    fn by(number: u32, live: Live) -> ImageUse {
        ImageUse {
            project: ProjectName::new("shop").unwrap(),
            app: Some(AppName::new("till").unwrap()),
            release: Some(ReleaseNumber(number)),
            build: None,
            pod: None,
            live,
        }
    }

    #[test]
    fn what_runs_is_never_in_nobody_s_way() {
        let say = |uses: &[ImageUse], insisting| in_the_way(uses, insisting);
        assert_eq!(say(&[by(1, Live::No)], Insisting::No), None);
        assert_eq!(say(&[by(1, Live::Earlier)], Insisting::Yes), None);
        assert_eq!(
            say(&[by(1, Live::Earlier)], Insisting::No).unwrap(),
            "the image is needed: release v1 of till in project shop (can be rolled back to)"
        );
        for live in [Live::Live, Live::Deploying] {
            assert!(say(&[by(1, live)], Insisting::Yes).is_some());
        }
        let many: Vec<_> = (1..=7).map(|n| by(n, Live::Earlier)).collect();
        let said = say(&many, Insisting::No).unwrap();
        assert!(said.ends_with(", and 2 more"), "{said}");
    }
}
