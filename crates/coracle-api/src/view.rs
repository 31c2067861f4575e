//! What of an object is shown: sealed values and variables have no place in answers and events.
//!
//! Variables are for those who may change them: an app's have a route of their own, which viewers may not call, and
//! so viewers do not see those of bare pods or of a release's manifest either.

use coracle_model::app::App;
use coracle_model::build::Build;
use coracle_model::pod::Pod;
use coracle_model::release::Release;
use coracle_model::settings::PlatformSettings;
use coracle_model::source::Source;
use coracle_model::user::Role;

/// An app as it is shown.
pub(crate) fn app(mut app: App) -> App {
    app.spec.env.clear();
    app.status.spec_after = 0;
    app
}

/// A source as it is shown to somebody of this role.
pub(crate) fn source(mut source: Source, role: Role) -> Source {
    source.status.archive = None;
    if role < Role::Developer
        && let Some(detected) = &mut source.status.detected
    {
        detected.env.clear();
    }
    source
}

/// A build as it is shown to somebody of this role.
pub(crate) fn build(mut build: Build, role: Role) -> Build {
    if role < Role::Developer {
        build.spec.config.env.clear();
    }
    build
}

/// A release as it is shown to somebody of this role.
pub(crate) fn release(mut release: Release, role: Role) -> Release {
    release.spec.env.clear();
    if role < Role::Developer {
        release.spec.config.env.clear();
    }
    release
}

/// The settings as they are shown.
pub(crate) fn settings(mut settings: PlatformSettings) -> PlatformSettings {
    for login in &mut settings.spec.registries {
        login.sealed = None;
        login.password = None;
    }
    settings
}

/// A pod as it is shown to somebody of this role.
pub(crate) fn pod(mut pod: Pod, role: Role) -> Pod {
    if role < Role::Developer {
        pod.spec.env.clear();
    }
    pod
}
