//! How whoever runs the platform is logged in without a password.
//!
//! Theory of operation: the control plane listens on a socket in the data directory, which only its owner may
//! enter, and gives a session to a peer that the kernel says is the same user (or root). Such a user could read the
//! whole data directory anyway, so nobody gets more than they have. The socket is reached through the folder's file
//! descriptor, because the path of a socket may have 107 bytes only and that of a data directory more.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use coracle_control::Control;
use coracle_control::journal::Actor;
use coracle_control::objects::new_uid;
use coracle_model::env::Secret;
use coracle_model::name::{TokenName, UserName};
use coracle_model::token::{TokenPurpose, TokenSpec};
use coracle_model::user::{ProjectScope, Role};
use coracle_task::{Backoff, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::error::chain;

const SOCKET: &str = "operator.sock";
/// The longest answer, in bytes.
const MOST_BYTES: u64 = 4096;
/// How long one conversation may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a session lasts.
const SESSION_DAYS: i64 = 365;

/// A session of the operator's.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) user: String,
    /// Its secret.
    pub(crate) token: String,
}

fn socket(run: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(run)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, path))
}

/// Gives sessions to local operators until `supervisor` ends.
pub(crate) fn listen(run: &Path, control: Control, supervisor: &Supervisor) -> io::Result<()> {
    let (folder, path) = socket(run)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = Arc::new(UnixListener::bind(&path)?);
    drop(folder);
    supervisor.service("operator's socket", Backoff::default(), move || {
        let (listener, control) = (Arc::clone(&listener), control.clone());
        async move { log_in(&listener, &control).await }
    });
    Ok(())
}

/// Logs in whoever comes.
async fn log_in(listener: &UnixListener, control: &Control) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let answered = tokio::time::timeout(PATIENCE, answer(stream, control));
        let answered = answered.await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        if let Err(error) = answered {
            tracing::warn!(error = chain(&error), "an operator was not logged in");
        }
    }
}

async fn answer(mut stream: UnixStream, control: &Control) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid();
    if peer != own.as_raw() && peer != 0 {
        return Err(io::Error::other(format!("user id {peer} is not ours")));
    }
    let session = session(control).await.map_err(io::Error::other)?;
    stream.write_all(&serde_json::to_vec(&session)?).await?;
    stream.shutdown().await
}

async fn session(control: &Control) -> Result<Session, coracle_control::OperationError> {
    let users = control.users().await?;
    let admin = users
        .iter()
        .filter(|user| user.spec.role == Role::Admin)
        .min_by_key(|user| (user.metadata.name != "admin", user.metadata.name.clone()))
        .ok_or_else(|| coracle_control::OperationError::conflict("there is no administrator"))?;
    let user = UserName::new(admin.metadata.name.clone())?;
    let spec = TokenSpec {
        user: user.clone(),
        role: Role::Admin,
        projects: ProjectScope::All,
        expires: Some(Utc::now() + chrono::Duration::days(SESSION_DAYS)),
        purpose: TokenPurpose::Session,
    };
    let name = TokenName::new(format!("cli-{}", &new_uid()[..16]))?;
    let actor = Actor::Platform("operator's socket");
    let (_, secret) = control.create_token(&name, spec, &actor).await?;
    Ok(Session {
        user: user.to_string(),
        token: secret.expose().to_owned(),
    })
}

/// Asks the control plane of the data directory whose folder `run` this is for a session.
pub(crate) async fn ask(run: &Path) -> io::Result<(String, Secret)> {
    let (_folder, path) = socket(run)?;
    let asked = async {
        let stream = UnixStream::connect(&path).await?;
        let mut text = Vec::new();
        stream.take(MOST_BYTES).read_to_end(&mut text).await?;
        let session: Session = serde_json::from_slice(&text)?;
        io::Result::Ok((session.user, Secret::new(session.token)))
    };
    tokio::time::timeout(PATIENCE, asked).await?
}
