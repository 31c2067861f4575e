//! What of an object is shown: sealed values and variables have no place in answers and events.

use coracle_model::app::App;
use coracle_model::release::Release;

/// An app as it is shown.
pub(crate) fn app(mut app: App) -> App {
    app.spec.env.clear();
    app
}

/// A release as it is shown.
pub(crate) fn release(mut release: Release) -> Release {
    release.spec.env.clear();
    release
}
