//! How long an answer that does not end may go on: as long as the credentials do that it was opened with.
//!
//! Theory of operation: a request is let in once, at its beginning; a stream of logs or a terminal can outlive by
//! days the token that opened it. So each of them watches two keys of the store, its token and its user, and looks at
//! both again whenever one is written: gone, expired, or opening less than before, and the stream is cut. The watch
//! is begun before the first look, so nothing is missed in between. When the store cannot tell for too long, the
//! stream is cut too. Event streams see every write in order anyway and ask [`Tenure::ends_with`], so that nothing
//! is told that was written after the end.

use std::time::Duration;

use chrono::Utc;
use coracle_control::{Control, OperationError, keys};
use coracle_model::name::TokenName;
use coracle_model::problem::{Code, Problem};
use coracle_model::token::TokenSpec;
use coracle_model::user::UserSpec;
use coracle_store::{StoreError, WatchStream};
use futures::{Stream, StreamExt as _, stream};

use crate::caller::Caller;
use crate::state::ApiState;

/// Pause before the store is asked again after it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// So often in a row the store may fail before streams end whose right to go on cannot be seen.
const MOST_FAILURES: u32 = 30;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put,
    Delete,
}

/// The time for which a caller's credentials hold.
#[derive(Clone, Debug)]
pub(crate) struct Tenure {
    control: Control,
    caller: Caller,
}

/// Do the credentials still hold?
enum Standing {
    Holds,
    Ended,
}

impl Tenure {
    pub(crate) fn new(state: &ApiState, caller: Caller) -> Self {
        Self {
            control: state.control.clone(),
            caller,
        }
    }

    /// What the one who asked is told at the end.
    pub(crate) fn problem() -> Problem {
        Problem::new(
            Code::Unauthenticated,
            "the credentials of this session have ended",
        )
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    fn user_key(&self) -> String {
        keys::user(&self.caller.user)
    }

    fn token_key(&self) -> String {
        let Ok(name) = TokenName::new(self.caller.token.metadata.name.clone()) else {
            return String::new();
        };
        keys::token(&self.caller.user, &name)
    }

    /// Does a write of `key` end it? Any of the user's does: who may go on opens the stream anew.
    pub(crate) fn ends_with(&self, key: &str, change: Change) -> bool {
        // Tokens are written when they are used, too.
        key == self.user_key() || (change == Change::Delete && key == self.token_key())
    }

    /// Resolves when the credentials end.
    pub(crate) async fn ended(self) {
        let watch = self.watch();
        match self.caller.token.spec.expires {
            Some(at) => {
                let left = (at - Utc::now()).to_std().unwrap_or_default();
                tokio::select! {
                    () = watch => {}
                    () = tokio::time::sleep(left) => {}
                }
            }
            None => watch.await,
        }
    }

    /// `stream`, until the credentials end.
    pub(crate) fn bound<S: Stream + Send + 'static>(
        self,
        stream: S,
    ) -> impl Stream<Item = S::Item> + Send + 'static
    where
        S::Item: Send,
    {
        stream.take_until(Box::pin(self.ended()))
    }

    async fn watch(&self) {
        let mut failures = 0;
        while failures < MOST_FAILURES {
            match self.until_written().await {
                Ok(Standing::Ended) => return,
                Ok(Standing::Holds) => failures = 0,
                Err(error) => {
                    tracing::debug!(%error, "credentials of a stream could not be looked at");
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tracing::warn!("a stream is cut: the store does not tell whether its credentials hold");
    }

    /// Looks at the credentials; while they hold, waits until one of the two records is written.
    async fn until_written(&self) -> Result<Standing, OperationError> {
        let keys = [self.user_key(), self.token_key()];
        let mut changes = self.changes(&keys).await?;
        if let Standing::Ended = self.look().await? {
            return Ok(Standing::Ended);
        }
        while let Some(change) = changes.next().await {
            let change = change?;
            if keys.iter().any(|key| key == change.key()) {
                return Ok(Standing::Holds);
            }
        }
        Err(OperationError::Store(StoreError::Closed))
    }

    async fn changes(&self, keys: &[String; 2]) -> Result<WatchStream, StoreError> {
        let store = self.control.objects.store();
        let user = store.watch(&keys[0], None).await?;
        let token = store.watch(&keys[1], None).await?;
        // Each ends only by failing, and then both are begun anew.
        Ok(stream::select(user, token).boxed())
    }

    async fn look(&self) -> Result<Standing, OperationError> {
        let objects = &self.control.objects;
        let user = objects.get::<UserSpec>(&self.user_key()).await?;
        let token = objects.get::<TokenSpec>(&self.token_key()).await?;
        let (Some(user), Some(token)) = (user, token) else {
            return Ok(Standing::Ended);
        };
        let same = token.metadata.uid == self.caller.token.metadata.uid;
        let now = Caller::new(self.caller.user.clone(), &user, token);
        if same && now.opens_all_of(&self.caller) {
            Ok(Standing::Holds)
        } else {
            Ok(Standing::Ended)
        }
    }
}
