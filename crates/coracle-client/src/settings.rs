//! What is set for the whole platform.

use coracle_model::settings::{PlatformSettings, SettingsSpec};
use http::Method;

use crate::Result;
use crate::client::{Client, Input};

impl Client {
    /// What is set for the whole platform, and what holds. Without passwords.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn settings(&self) -> Result<PlatformSettings> {
        self.get("/settings").await
    }

    /// Sets all of it. A registry whose password is left out keeps the one that it has.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn update_settings(
        &self,
        spec: &SettingsSpec,
        expected: Option<u64>,
    ) -> Result<PlatformSettings> {
        let input = Input::new("platform", spec);
        self.write(Method::PUT, "/settings", &input, expected).await
    }
}
