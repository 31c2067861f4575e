//! The connection to the daemon, and errors made from its answers.
//!
//! Theory of operation: the daemon may be away when the engine is made and may come back as another version, so
//! the API version is negotiated at the first use and again after each loss ([`Client::forget`]). A `Docker` is
//! a cheap handle; every request opens the socket anew.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use coracle_engine::EngineError;

/// The most seconds that one answer of the daemon may take to begin. Stops have their own.
const ANSWER_SECONDS: u64 = 120;

/// The connection to the daemon.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    negotiated: Mutex<Option<Docker>>,
}

impl Client {
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            negotiated: Mutex::new(None),
        }
    }

    pub(crate) const fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// A handle that speaks the daemon's version.
    pub(crate) async fn docker(&self) -> Result<Docker, EngineError> {
        if let Some(docker) = self.lock().as_ref() {
            return Ok(docker.clone());
        }
        let path = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, ANSWER_SECONDS, API_DEFAULT_VERSION)
            .map_err(engine_error)?;
        let docker = docker.negotiate_version().await.map_err(engine_error)?;
        *self.lock() = Some(docker.clone());
        Ok(docker)
    }

    /// The daemon went away: it may come back as another version.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.negotiated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status that the daemon answered with, if it did.
pub(crate) const fn status_of(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Is this the daemon saying that there is no such thing?
pub(crate) fn is_missing(error: &Error) -> bool {
    status_of(error) == Some(404)
}

/// What the daemon said, in its own words.
pub(crate) fn words_of(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    }
}

/// An absence is what was wanted.
pub(crate) fn ignore_missing(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if is_missing(&error) => Ok(()),
        other => other,
    }
}

/// The port's error for a failed call.
pub(crate) fn engine_error(error: Error) -> EngineError {
    match &error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => {
            if message.contains("no space left on device") {
                EngineError::Full("the disk of the Docker daemon is full".to_owned())
            } else if matches!(status_code, 400 | 403 | 409) {
                EngineError::Refused(message.trim().to_owned())
            } else {
                EngineError::Failed {
                    message: message.trim().to_owned(),
                    source: Some(Box::new(error)),
                }
            }
        }
        Error::DockerStreamError { error: words } => {
            if words.contains("no space left on device") {
                EngineError::Full("the disk of the Docker daemon is full".to_owned())
            } else {
                EngineError::Failed {
                    message: words.trim().to_owned(),
                    source: Some(Box::new(error)),
                }
            }
        }
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => EngineError::Failed {
            message: "its answer cannot be read".to_owned(),
            source: Some(Box::new(error)),
        },
        _ => EngineError::Unavailable(Box::new(error)),
    }
}
