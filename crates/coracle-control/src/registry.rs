//! What is asked of the registry as a whole: the collection of what nothing needs.
//!
//! Theory of operation: the wish and the outcome are one record. Whoever asks for a collection writes the wish; the leader's
//! controller ([`crate::controllers::collection`]) sees it, collects, and writes what came of it.

use chrono::Utc;
use coracle_model::object::Kind;
use coracle_model::quantity::Span;
use coracle_model::registry::{CollectionPhase, Registry, RegistrySpec};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::new_object;

/// The record's name.
pub const NAME: &str = "registry";

impl Control {
    /// The registry's record, which is made where there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn registry(&self) -> Result<Registry, OperationError> {
        loop {
            if let Some(record) = self.objects.get::<RegistrySpec>(keys::REGISTRY).await? {
                return Ok(record);
            }
            let new = new_object::<RegistrySpec>(NAME, None, RegistrySpec::default());
            match self.objects.create(keys::REGISTRY.to_owned(), new).await {
                Ok(record) => return Ok(record),
                // Somebody else was faster.
                Err(OperationError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for a collection. What is younger than `min_age` stays; without it, as in the daily one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn collect_registry(
        &self,
        min_age: Option<Span>,
        actor: &Actor,
    ) -> Result<Registry, OperationError> {
        self.registry().await?;
        let (now, by) = (Utc::now(), actor.to_string());
        let asked = self
            .objects
            .modify::<RegistrySpec>(keys::REGISTRY, NAME, |registry| {
                registry.spec = RegistrySpec {
                    requested: Some(now),
                    requested_by: Some(by.clone()),
                    min_age,
                };
                // As soon as it is asked for it goes on, for whoever looks.
                registry.status.phase = CollectionPhase::Running;
                Ok(())
            })
            .await?;
        let what = (Kind::Registry, NAME);
        let message = "a collection of the registry was asked for";
        self.journal
            .record(actor, "registry.collect", None, what, message)
            .await;
        Ok(asked)
    }
}
