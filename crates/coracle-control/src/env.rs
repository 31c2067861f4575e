//! What can be done with the variables of apps.

use coracle_model::app::App;
use coracle_model::env::{EnvChange, EnvValue, EnvVars};
use coracle_model::name::{AppName, EnvName, ProjectName};
use coracle_model::release::Release;
use coracle_store::Revision;

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::stale::check_seen;

impl Control {
    /// Changes an app's variables. When it has a release, a new one with the changed variables is made in the
    /// same write.
    ///
    /// # Errors
    /// [`OperationError::Invalid`], [`OperationError::NotFound`].
    pub async fn change_env(
        &self,
        project: &ProjectName,
        name: &AppName,
        change: &EnvChange,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<(App, Option<Release>), OperationError> {
        check_env(change)?;
        let changed = self
            .write_release(project, name, None, |app, base| {
                check_seen(app, revision)?;
                let before = app.spec.env.clone();
                self.apply_env(project, name, &mut app.spec.env, change)?;
                if app.spec.env == before {
                    return Ok(None);
                }
                Ok(base.map(|base| base.with_config(actor)))
            })
            .await?;
        let mut names: Vec<String> = change
            .set
            .keys()
            .chain(change.secret.keys())
            .map(ToString::to_string)
            .collect();
        names.extend(change.unset.iter().map(|name| format!("-{name}")));
        self.record_app(
            actor,
            "app.env_changed",
            project,
            name,
            format!("variables {}", names.join(", ")),
        )
        .await;
        Ok(changed)
    }

    fn apply_env(
        &self,
        project: &ProjectName,
        app: &AppName,
        vars: &mut EnvVars,
        change: &EnvChange,
    ) -> Result<(), OperationError> {
        for name in &change.unset {
            vars.remove(name);
        }
        for (name, value) in &change.set {
            vars.insert(name.clone(), EnvValue::Plain(value.clone()));
        }
        for (name, secret) in &change.secret {
            vars.insert(
                name.clone(),
                self.vault.seal_env(project, app, name, secret)?,
            );
        }
        if vars.len() > EnvChange::VARIABLES {
            let reason = format!("an app has at most {} variables", EnvChange::VARIABLES);
            return Err(OperationError::invalid("set", reason));
        }
        Ok(())
    }
}

/// Is this a value that a variable may have, plain or secret?
pub(crate) fn check_value(name: &EnvName, value: &str) -> Result<(), OperationError> {
    if value.len() > EnvChange::VALUE_BYTES {
        let reason = format!("a value has at most {} bytes", EnvChange::VALUE_BYTES);
        return Err(OperationError::invalid(name.to_string(), reason));
    }
    if value.contains('\0') {
        let reason = "a value cannot hold a zero byte";
        return Err(OperationError::invalid(name.to_string(), reason));
    }
    Ok(())
}

fn check_env(change: &EnvChange) -> Result<(), OperationError> {
    let plain = change
        .set
        .iter()
        .map(|(name, value)| (name, value.as_str()));
    let secret = change
        .secret
        .iter()
        .map(|(name, value)| (name, value.expose()));
    for (name, value) in plain.chain(secret) {
        check_value(name, value)?;
    }
    if let Some(twice) = change
        .set
        .keys()
        .find(|name| change.secret.contains_key(*name))
    {
        return Err(OperationError::invalid(
            twice.to_string(),
            "it is set both plain and secret",
        ));
    }
    Ok(())
}
