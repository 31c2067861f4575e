//! With what a project logs in to the platform's own registry.
//!
//! Theory of operation: every project has a secret that pulls its images, and opens neither another project's nor anything
//! of the API. It is random, sealed in a record, and made by whoever needs it first, which is also how a platform that is
//! older than these secrets gets them. The record goes in one write with its project: a project of the same name gets
//! another. A secret names its project, so that it is looked up by one read; what follows is compared as a whole. Builds
//! push with passes of their own ([`crate::build_pass`]).

use coracle_engine::build::{PullCredentials, RegistryCredentials};
use coracle_model::env::Secret;
use coracle_model::name::ProjectName;
use coracle_model::project::ProjectSpec;
use coracle_store::Expected;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::control::Control;
use crate::error::OperationError;
use crate::keys;
use crate::objects::Batch;

/// What every such secret begins with, so that scanners for leaked secrets find it. No token begins so.
const SECRET_PREFIX: &str = "correg_";

/// The user that logs in with such a secret, and the word for it in the secret itself.
const PULL: &str = "pull";

/// The secret of a project, sealed.
#[derive(Serialize, Deserialize)]
struct Record {
    pull: String,
    /// What builds pushed with before they had passes. Versions that are older cannot read a record without it.
    build: String,
}

/// What a sealed secret is bound to.
fn place(project: &ProjectName, word: &str) -> String {
    format!("registry/{project}/{word}")
}

fn new_secret(project: &ProjectName, word: &str) -> Result<Secret, OperationError> {
    let mut random = zeroize::Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *random).map_err(|_no_entropy| OperationError::Unseal)?;
    // A project's name has neither underscores nor dots.
    let random = hex::encode(*random);
    Ok(Secret::new(format!(
        "{SECRET_PREFIX}{word}.{project}.{random}"
    )))
}

/// Whose a secret says that it is.
fn claim(presented: &str) -> Option<ProjectName> {
    let mut parts = presented.strip_prefix(SECRET_PREFIX)?.splitn(3, '.');
    if parts.next()? != PULL {
        return None;
    }
    let project = ProjectName::new(parts.next()?).ok()?;
    parts.next()?;
    Some(project)
}

impl Control {
    /// With what a project logs in to the platform's own registry. Made when there is nothing yet.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for the project, [`OperationError::Unseal`].
    pub async fn registry_login(
        &self,
        project: &ProjectName,
    ) -> Result<RegistryCredentials, OperationError> {
        let record = self.registry_record(project).await?;
        Ok(RegistryCredentials {
            user: PULL.to_owned(),
            password: self
                .vault
                .open_sealed(&place(project, PULL), &record.pull)?,
        })
    }

    /// With what an engine pulls images for a project: its own, and those of registries that administrators named.
    ///
    /// # Errors
    /// As [`Control::registry_login`].
    pub async fn pull_credentials(
        &self,
        project: &ProjectName,
    ) -> Result<PullCredentials, OperationError> {
        Ok(PullCredentials {
            host: self.settings.registry_host.clone(),
            credentials: self.registry_login(project).await?,
            others: self.registry_logins().await?,
        })
    }

    /// Whose images the bearer of a secret may pull; nobody's when it is no project's, or not any more.
    ///
    /// # Errors
    /// When the store fails, or the secret was sealed with another key.
    pub async fn registry_grant(
        &self,
        presented: &str,
    ) -> Result<Option<ProjectName>, OperationError> {
        let Some(project) = claim(presented) else {
            return Ok(None);
        };
        let at = keys::registry_access(&project);
        let Some(record) = self.objects.get_record::<Record>(&at).await? else {
            return Ok(None);
        };
        let place = place(&project, PULL);
        let secret = self.vault.open_sealed(&place, &record.pull)?;
        let same: bool = secret
            .expose()
            .as_bytes()
            .ct_eq(presented.as_bytes())
            .into();
        Ok(same.then_some(project))
    }

    async fn registry_record(&self, project: &ProjectName) -> Result<Record, OperationError> {
        let at = keys::registry_access(project);
        loop {
            if let Some(record) = self.objects.get_record::<Record>(&at).await? {
                return Ok(record);
            }
            let home = keys::project(project);
            let found = self.objects.need::<ProjectSpec>(&home, project).await?;
            let seal = |word| {
                self.vault
                    .seal(&place(project, word), &new_secret(project, word)?)
            };
            let record = Record {
                pull: seal(PULL)?,
                build: seal("build")?,
            };
            let batch = Batch::new()
                // It must not come to be behind the back of the project's end.
                .check(home, Expected::Revision(found.metadata.revision))
                .create(at.clone(), &record)?;
            match self.objects.write(batch).await {
                Ok(_) => return Ok(record),
                // Another came first, or the project changed.
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_says_whose_it_is() {
        let project = ProjectName::new("my-shop").unwrap();
        let secret = new_secret(&project, PULL).unwrap();
        assert_eq!(claim(secret.expose()), Some(project.clone()));
        let another = new_secret(&project, PULL).unwrap();
        assert_ne!(secret.expose(), another.expose());
        assert!(!secret.expose().starts_with(crate::token::SECRET_PREFIX));
        for other in [
            "",
            "correg_",
            "correg_pull.shop",
            "correg_build.shop.00",
            "correg_pull..00",
            "correg_pull.a/b.00",
            "cor_0011",
            "pull.shop.00",
        ] {
            assert_eq!(claim(other), None, "{other}");
        }
    }
}
