//! What can be done with the host names of apps. Each is claimed by a record of its own, so that no two apps have it.

use std::collections::BTreeSet;

use coracle_model::app::{App, AppSpec};
use coracle_model::domain::{Claim, Domain, DomainSpec};
use coracle_model::name::{AppName, Hostname, ProjectName};
use coracle_model::object::Kind;
use coracle_store::{Revision, StoreError};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::new_object;
use crate::stale::check_seen;

/// The most host names that one app may have beside its own.
const MOST_DOMAINS: usize = 50;

impl Control {
    /// Gives an app one more host name.
    ///
    /// # Errors
    /// [`OperationError::DomainTaken`], [`OperationError::Invalid`], [`OperationError::Stale`].
    pub async fn add_domain(
        &self,
        project: &ProjectName,
        name: &AppName,
        host: &Hostname,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let own = self.default_host(project, name)?;
        let app = self
            .change_app(project, name, |app| {
                check_seen(app, revision)?;
                if !app.spec.domains.contains(host) {
                    app.spec.domains.push(host.clone());
                    app.spec.domains.sort();
                }
                check_domains(&app.spec.domains, &own)
            })
            .await?;
        self.record_app(
            actor,
            "app.domain_added",
            project,
            name,
            format!("{host} added"),
        )
        .await;
        Ok(app)
    }

    /// Takes a host name away from an app.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`].
    pub async fn remove_domain(
        &self,
        project: &ProjectName,
        name: &AppName,
        host: &Hostname,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let app = self
            .change_app(project, name, |app| {
                check_seen(app, revision)?;
                let before = app.spec.domains.len();
                app.spec.domains.retain(|has| has != host);
                if app.spec.domains.len() == before {
                    return Err(OperationError::not_found(Kind::Domain, host));
                }
                Ok(())
            })
            .await?;
        self.record_app(
            actor,
            "app.domain_removed",
            project,
            name,
            format!("{host} removed"),
        )
        .await;
        Ok(app)
    }

    /// Every host name of an app, its own first.
    ///
    /// # Errors
    /// When its own would be too long.
    pub fn hosts_of(
        &self,
        project: &ProjectName,
        app: &AppName,
        spec: &AppSpec,
    ) -> Result<Vec<Hostname>, OperationError> {
        let mut all = vec![self.default_host(project, app)?];
        all.extend(spec.domains.iter().cloned());
        Ok(all)
    }
}

pub(crate) fn claim(project: &ProjectName, app: &AppName, host: &Hostname, claim: Claim) -> Domain {
    new_object(
        host.as_str(),
        None,
        DomainSpec {
            project: project.clone(),
            app: app.clone(),
            claim,
        },
    )
}

pub(crate) fn taken_domain(error: OperationError) -> OperationError {
    match &error {
        OperationError::Store(StoreError::Conflict { key, .. }) => {
            match key.strip_prefix(keys::DOMAINS) {
                Some(host) => OperationError::DomainTaken {
                    host: host.to_owned(),
                },
                None => error,
            }
        }
        _ => error,
    }
}

/// Are these host names that an app may have beside its `own`?
pub(crate) fn check_domains(domains: &[Hostname], own: &Hostname) -> Result<(), OperationError> {
    if domains.contains(own) {
        let reason = format!("every app has a host name of its own, and {own} is this one's");
        return Err(OperationError::invalid("spec.domains", reason));
    }
    if domains.len() > MOST_DOMAINS {
        let reason = format!("an app has at most {MOST_DOMAINS} host names beside its own");
        return Err(OperationError::invalid("spec.domains", reason));
    }
    if domains.iter().collect::<BTreeSet<_>>().len() != domains.len() {
        return Err(OperationError::invalid(
            "spec.domains",
            "a host name is there twice",
        ));
    }
    Ok(())
}
