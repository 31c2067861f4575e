//! With what a project logs in to the platform's own registry.
//!
//! Theory of operation: every project has two secrets, one that pulls its images and one that builds them (pulls and
//! pushes). Neither opens another project's images or anything of the API. They are random, sealed in one record, and made
//! by whoever needs them first, which is also how a platform that is older than they are gets them. The record goes in one
//! write with its project: a project of the same name gets others. A secret names its project, so that it is looked up by
//! one read; what follows is compared as a whole.

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

/// What a project may do in its part of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryRight {
    /// Pull: for nodes.
    Pull,
    /// Pull and push: for builds.
    Build,
}

impl RegistryRight {
    /// As it stands in the secret, and as the user that logs in with it.
    const fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Build => "build",
        }
    }
}

/// What somebody who logged in to the registry as a project may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryGrant {
    /// In whose part.
    pub project: ProjectName,
    /// What.
    pub right: RegistryRight,
}

/// The secrets of a project, sealed.
#[derive(Serialize, Deserialize)]
struct Record {
    pull: String,
    build: String,
}

impl Record {
    fn sealed(&self, right: RegistryRight) -> &str {
        match right {
            RegistryRight::Pull => &self.pull,
            RegistryRight::Build => &self.build,
        }
    }
}

/// What a sealed secret is bound to.
fn place(project: &ProjectName, right: RegistryRight) -> String {
    format!("registry/{project}/{}", right.word())
}

fn new_secret(project: &ProjectName, right: RegistryRight) -> Result<Secret, OperationError> {
    let mut random = zeroize::Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *random).map_err(|_no_entropy| OperationError::Unseal)?;
    // A project's name has neither underscores nor dots.
    let (right, random) = (right.word(), hex::encode(*random));
    Ok(Secret::new(format!(
        "{SECRET_PREFIX}{right}.{project}.{random}"
    )))
}

/// Whose a secret says that it is.
fn claim(presented: &str) -> Option<RegistryGrant> {
    let mut parts = presented.strip_prefix(SECRET_PREFIX)?.splitn(3, '.');
    let right = parts.next()?;
    let right = [RegistryRight::Pull, RegistryRight::Build]
        .into_iter()
        .find(|one| one.word() == right)?;
    let project = ProjectName::new(parts.next()?).ok()?;
    parts.next()?;
    Some(RegistryGrant { project, right })
}

impl Control {
    /// With what a project logs in to the platform's own registry. Made when there is nothing yet.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for the project, [`OperationError::Unseal`].
    pub async fn registry_login(
        &self,
        project: &ProjectName,
        right: RegistryRight,
    ) -> Result<RegistryCredentials, OperationError> {
        let record = self.registry_record(project).await?;
        Ok(RegistryCredentials {
            user: right.word().to_owned(),
            password: self
                .vault
                .open_sealed(&place(project, right), record.sealed(right))?,
        })
    }

    /// With what an engine pulls a project's images.
    ///
    /// # Errors
    /// As [`Control::registry_login`].
    pub async fn pull_credentials(
        &self,
        project: &ProjectName,
    ) -> Result<PullCredentials, OperationError> {
        Ok(PullCredentials {
            host: self.settings.registry_host.clone(),
            credentials: self.registry_login(project, RegistryRight::Pull).await?,
        })
    }

    /// What the bearer of a secret may do in the registry; nothing when it is no project's, or not any more.
    ///
    /// # Errors
    /// When the store fails, or the secret was sealed with another key.
    pub async fn registry_grant(
        &self,
        presented: &str,
    ) -> Result<Option<RegistryGrant>, OperationError> {
        let Some(grant) = claim(presented) else {
            return Ok(None);
        };
        let at = keys::registry_access(&grant.project);
        let Some(record) = self.objects.get_record::<Record>(&at).await? else {
            return Ok(None);
        };
        let place = place(&grant.project, grant.right);
        let secret = self.vault.open_sealed(&place, record.sealed(grant.right))?;
        let same: bool = secret
            .expose()
            .as_bytes()
            .ct_eq(presented.as_bytes())
            .into();
        Ok(same.then_some(grant))
    }

    async fn registry_record(&self, project: &ProjectName) -> Result<Record, OperationError> {
        let at = keys::registry_access(project);
        loop {
            if let Some(record) = self.objects.get_record::<Record>(&at).await? {
                return Ok(record);
            }
            let home = keys::project(project);
            let found = self.objects.need::<ProjectSpec>(&home, project).await?;
            let seal = |right| {
                self.vault
                    .seal(&place(project, right), &new_secret(project, right)?)
            };
            let record = Record {
                pull: seal(RegistryRight::Pull)?,
                build: seal(RegistryRight::Build)?,
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
        for right in [RegistryRight::Pull, RegistryRight::Build] {
            let secret = new_secret(&project, right).unwrap();
            let expected = RegistryGrant {
                project: project.clone(),
                right,
            };
            assert_eq!(claim(secret.expose()), Some(expected));
            assert_ne!(
                secret.expose(),
                new_secret(&project, right).unwrap().expose()
            );
            assert!(!secret.expose().starts_with(crate::token::SECRET_PREFIX));
        }
        for other in [
            "",
            "correg_",
            "correg_pull.shop",
            "correg_push.shop.00",
            "correg_pull..00",
            "correg_pull.a/b.00",
            "cor_0011",
            "pull.shop.00",
        ] {
            assert_eq!(claim(other), None, "{other}");
        }
    }
}
