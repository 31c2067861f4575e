//! What can be done with the settings that administrators change while the platform runs.
//!
//! Theory of operation: they are one record, which is there once somebody set something. Whoever needs one of them reads
//! it when it is needed. Only the domain is kept in memory ([`InForce`]), because every URL has it; it follows the
//! record. What must be done about a change, the settings controller does. Passwords are sealed for their registry: one
//! that was copied to another host's entry does not open there.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::DateTime;
use coracle_engine::build::{PullCredentials, RegistryCredentials};
use coracle_model::name::{AppName, Hostname, ImageRef, ProjectName};
use coracle_model::object::Kind;
use coracle_model::release::ProcessSpec;
use coracle_model::settings::{PlatformSettings, RegistryLogin, SettingsSpec};
use coracle_store::Revision;
use coracle_task::Supervisor;
use futures::StreamExt as _;

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, Objects, check_revision, new_object};

/// The name of the one object.
const NAME: &str = "platform";

/// Bytes of a registry's name, a user, a password.
const MOST_BYTES: usize = 4096;

/// How many builds or releases may be kept.
const MOST_KEPT: u32 = 1000;

/// Less memory than this no container starts with.
const LEAST_MEMORY: u64 = 6 << 20;

/// Before the store is asked again after it failed.
const PAUSE: Duration = Duration::from_secs(5);

/// The domain that was set, as far as this process knows. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct InForce(Arc<RwLock<Option<Hostname>>>);

impl InForce {
    fn domain(&self) -> Option<Hostname> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, domain: Option<Hostname>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = domain;
    }

    async fn read(&self, objects: &Objects) -> Result<(), OperationError> {
        let stored = objects.get::<SettingsSpec>(keys::SETTINGS).await?;
        self.set(stored.and_then(|stored| stored.spec.domain));
        Ok(())
    }

    /// Reads what was set, and follows its changes: another control plane may make them.
    pub(crate) async fn follow(
        objects: &Objects,
        supervisor: &Supervisor,
    ) -> Result<Self, OperationError> {
        let known = Self::default();
        known.read(objects).await?;
        let (following, objects) = (known.clone(), objects.clone());
        let stop = supervisor.token();
        supervisor.spawn("settings", async move {
            let follow = async {
                loop {
                    if let Err(error) = following.until_broken(&objects).await {
                        tracing::debug!(%error, "the settings cannot be followed; it is tried again");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            stop.run_until_cancelled(follow).await;
        });
        Ok(known)
    }

    async fn until_broken(&self, objects: &Objects) -> Result<(), OperationError> {
        let mut changes = objects.store().watch(keys::SETTINGS, None).await?;
        self.read(objects).await?;
        while let Some(change) = changes.next().await {
            change?;
            self.read(objects).await?;
        }
        Ok(())
    }
}

/// What a sealed password is bound to.
fn place(host: &str) -> String {
    format!("settings/registry/{host}")
}

impl Control {
    /// Apps are served under this domain.
    #[must_use]
    pub fn domain(&self) -> Hostname {
        let set = self.in_force.domain();
        set.unwrap_or_else(|| self.settings.domain.clone())
    }

    /// The host name that every app has.
    ///
    /// # Errors
    /// When the domain is so long that no host name fits before it.
    pub fn default_host(
        &self,
        project: &ProjectName,
        app: &AppName,
    ) -> Result<Hostname, OperationError> {
        Ok(super::default_host(project, app, &self.domain())?)
    }

    /// What was set. Passwords are in it as they are stored.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn platform_settings(&self) -> Result<PlatformSettings, OperationError> {
        let stored = self.objects.get::<SettingsSpec>(keys::SETTINGS).await?;
        Ok(self.with_status(stored.unwrap_or_else(|| {
            let mut never = new_object(NAME, None, SettingsSpec::default());
            never.metadata.created = DateTime::UNIX_EPOCH;
            never.metadata.uid = String::new();
            never
        })))
    }

    /// With what holds.
    #[must_use]
    pub fn with_status(&self, mut settings: PlatformSettings) -> PlatformSettings {
        let domain = settings.spec.domain.as_ref();
        settings.status.domain = domain.unwrap_or(&self.settings.domain).to_string();
        settings.status.session_days = settings.spec.days_of_session();
        settings
    }

    /// Sets all of it.
    ///
    /// # Errors
    /// [`OperationError::Stale`], [`OperationError::Invalid`].
    pub async fn update_settings(
        &self,
        spec: SettingsSpec,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<PlatformSettings, OperationError> {
        self.check_settings(&spec)?;
        loop {
            let before = self.platform_settings().await?;
            check_revision(&before, revision)?;
            let mut after = before.clone();
            after.spec = self.sealed(&before.spec, spec.clone())?;
            if after.spec == before.spec {
                return Ok(before);
            }
            let batch = if before.metadata.revision == 0 {
                let new = new_object(NAME, None, after.spec.clone());
                after.metadata = new.metadata;
                Batch::new().create(keys::SETTINGS.to_owned(), &after)?
            } else {
                let at = before.metadata.revision;
                Batch::new().update(keys::SETTINGS.to_owned(), at, &after)?
            };
            match self.objects.write(batch).await {
                Ok(_) => {}
                Err(error) if error.is_race() => continue,
                Err(error) => return Err(error),
            }
            self.in_force.set(after.spec.domain.clone());
            let message = format!("settings changed: {}", changes(&before.spec, &after.spec));
            self.journal
                .record(
                    actor,
                    "settings.changed",
                    None,
                    (Kind::Settings, NAME),
                    message,
                )
                .await;
            return self.platform_settings().await;
        }
    }

    fn check_settings(&self, spec: &SettingsSpec) -> Result<(), OperationError> {
        let between = |field: &str, value: Option<u32>, most: u32| match value {
            Some(value) if !(1..=most).contains(&value) => Err(OperationError::invalid(
                format!("spec.{field}"),
                format!("it is 1 to {most}"),
            )),
            _ => Ok(()),
        };
        between(
            "session_days",
            spec.session_days,
            SettingsSpec::MOST_SESSION_DAYS,
        )?;
        between("retention.builds", spec.retention.builds, MOST_KEPT)?;
        between("retention.releases", spec.retention.releases, MOST_KEPT)?;
        between(
            "defaults.replicas",
            spec.defaults.replicas,
            ProcessSpec::MOST_REPLICAS,
        )?;
        if spec.defaults.cpu.is_some_and(|cpu| cpu.milli() == 0) {
            return Err(OperationError::invalid(
                "spec.defaults.cpu",
                "it must be more than 0",
            ));
        }
        if spec
            .defaults
            .memory
            .is_some_and(|memory| memory.0 < LEAST_MEMORY)
        {
            let reason = "it must be at least 6Mi";
            return Err(OperationError::invalid("spec.defaults.memory", reason));
        }
        if spec.registries.len() > SettingsSpec::MOST_REGISTRIES {
            let reason = format!("there are at most {}", SettingsSpec::MOST_REGISTRIES);
            return Err(OperationError::invalid("spec.registries", reason));
        }
        let mut hosts = BTreeSet::new();
        for (n, login) in spec.registries.iter().enumerate() {
            let wrong = |field: &str, reason: &str| {
                OperationError::invalid(format!("spec.registries[{n}].{field}"), reason)
            };
            if !is_registry(&login.host) {
                return Err(wrong(
                    "host",
                    "it is a registry's name as images have it: host[:port]",
                ));
            }
            let own = self.settings.registry_names.contains(&login.host);
            if own || login.host == self.settings.registry_host {
                let reason = "that is the platform's own registry, and projects have their own passwords for it";
                return Err(wrong("host", reason));
            }
            if !hosts.insert(&login.host) {
                return Err(wrong("host", "it is there twice"));
            }
            let user = &login.username;
            if user.is_empty() || user.len() > MOST_BYTES || user.contains([':', '\0', '\n', '\r'])
            {
                return Err(wrong(
                    "username",
                    "it has 1 to 4096 bytes, without colons and line ends",
                ));
            }
            let password = login
                .password
                .as_ref()
                .map_or("-", |password| password.expose());
            if password.is_empty()
                || password.len() > MOST_BYTES
                || password.contains(['\0', '\n', '\r'])
            {
                return Err(wrong(
                    "password",
                    "it has 1 to 4096 bytes, without line ends",
                ));
            }
        }
        Ok(())
    }

    /// `spec` with its new passwords sealed, and those of `before` where none is sent.
    fn sealed(
        &self,
        before: &SettingsSpec,
        mut spec: SettingsSpec,
    ) -> Result<SettingsSpec, OperationError> {
        for (n, login) in spec.registries.iter_mut().enumerate() {
            let had = before.registries.iter().find(|had| had.host == login.host);
            let had = had.and_then(|had| had.sealed.clone());
            login.sealed = match (login.password.take(), had) {
                (Some(password), Some(had))
                    if self.vault.open_sealed(&place(&login.host), &had)? == password =>
                {
                    // The same again is no change.
                    Some(had)
                }
                (Some(password), _) => Some(self.vault.seal(&place(&login.host), &password)?),
                (None, Some(had)) => Some(had),
                (None, None) => {
                    let field = format!("spec.registries[{n}].password");
                    return Err(OperationError::invalid(field, "it has none yet: send one"));
                }
            };
            login.has_password = true;
        }
        spec.registries.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(spec)
    }

    /// With what images of other registries are pulled.
    ///
    /// # Errors
    /// When the store fails, or a password was sealed with another key.
    pub async fn registry_logins(&self) -> Result<Vec<PullCredentials>, OperationError> {
        let settings = self.platform_settings().await?;
        settings
            .spec
            .registries
            .iter()
            .map(|login| self.opened(login))
            .collect()
    }

    fn opened(&self, login: &RegistryLogin) -> Result<PullCredentials, OperationError> {
        let sealed = login.sealed.as_deref().unwrap_or_default();
        Ok(PullCredentials {
            host: login.host.clone(),
            credentials: RegistryCredentials {
                user: login.username.clone(),
                password: self.vault.open_sealed(&place(&login.host), sealed)?,
            },
            others: Vec::new(),
        })
    }

    /// How to log in for an image of another registry.
    ///
    /// # Errors
    /// As [`Control::registry_logins`].
    pub async fn login_for(
        &self,
        image: &ImageRef,
    ) -> Result<Option<RegistryCredentials>, OperationError> {
        let host = registry_of(image);
        let settings = self.platform_settings().await?;
        let login = settings
            .spec
            .registries
            .iter()
            .find(|login| login.host == host);
        let opened = login.map(|login| self.opened(login)).transpose()?;
        Ok(opened.map(|pull| pull.credentials))
    }
}

/// The registry that an image is pulled from.
fn registry_of(image: &ImageRef) -> &str {
    match image.as_str().split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// Is this a registry's name as images have it?
fn is_registry(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let port_is = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let qualified = name.contains('.') || name == "localhost" || port.is_some();
    port_is && qualified && Hostname::new(name).is_ok()
}

/// Which of the settings were changed, for the journal: no value of them.
fn changes(before: &SettingsSpec, after: &SettingsSpec) -> String {
    let mut words = Vec::new();
    if before.domain != after.domain {
        words.push("domain");
    }
    if before.registries != after.registries {
        words.push("registries");
    }
    if before.defaults != after.defaults {
        words.push("defaults");
    }
    if before.retention != after.retention {
        words.push("retention");
    }
    if before.session_days != after.session_days {
        words.push("session_days");
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_registry() {
        for (image, host) in [
            ("debian:13", "docker.io"),
            ("library/debian", "docker.io"),
            ("ghcr.io/a/b@sha256:00", "ghcr.io"),
            ("box:5000/a", "box:5000"),
            ("localhost/a", "localhost"),
        ] {
            assert_eq!(registry_of(&image.parse().unwrap()), host, "{image}");
        }
    }

    #[test]
    fn registries_are_named_as_images_name_them() {
        for good in [
            "docker.io",
            "registry.example.com:5000",
            "10.0.0.1",
            "127.0.0.1:1",
            "localhost",
            "box:5000",
        ] {
            assert!(is_registry(good), "{good}");
        }
        for bad in [
            "",
            "library",
            "Registry.example.com",
            "a.b/c",
            "http://a.b",
            "a.b:0",
            "a.b:x",
            "a.b:70000",
            "a b.c",
            "a.b\n",
        ] {
            assert!(!is_registry(bad), "{bad:?}");
        }
    }
}
