//! What can be done with tokens.
//!
//! A token's secret is 256 random bits; the store has its SHA-256 only. That is enough for a secret of full
//! entropy (a slow hash guards guessable ones), and it makes the lookup one read by the hash.

use chrono::Utc;
use coracle_model::name::{TokenName, UserName};
use coracle_model::object::Kind;
use coracle_model::token::{Token, TokenPurpose, TokenSpec};
use coracle_store::{Expected, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, new_object};

/// What every token's secret begins with, so that scanners for leaked secrets find it.
pub const SECRET_PREFIX: &str = "cor_";

/// The most tokens and sessions of one user; the oldest session makes room.
const MOST_TOKENS: usize = 200;

/// From a hash to the token it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct HashRecord {
    user: UserName,
    token: TokenName,
}

/// The stored token, with the hash by which it is found.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TokenHash {
    hash: String,
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

impl Control {
    /// Makes a token and returns it with its secret, which is not kept.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`], [`OperationError::Conflict`] when there are too many,
    /// [`OperationError::NotFound`] for the user.
    pub async fn create_token(
        &self,
        name: &TokenName,
        spec: TokenSpec,
        actor: &Actor,
    ) -> Result<(Token, coracle_model::env::Secret), OperationError> {
        let user = spec.user.clone();
        let owner = self.user(&user).await?;
        self.make_room(&user).await?;
        let mut random = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *random).map_err(|_no_entropy| OperationError::Unseal)?;
        let secret = format!("{SECRET_PREFIX}{}", hex::encode(*random));
        let hash = hash(&secret);
        let purpose = spec.purpose;
        let mut token: Token = new_object(name.as_str(), None, spec);
        let batch = Batch::new()
            // A token must not come to be behind the back of its user's deletion.
            .check(
                keys::user(&user),
                Expected::Revision(owner.metadata.revision),
            )
            .create(keys::token(&user, name), &token)?
            .create(
                keys::token_hash(&hash),
                &HashRecord {
                    user: user.clone(),
                    token: name.clone(),
                },
            )?
            .set(keys::token_hash_by_name(&user, name), &TokenHash { hash })?;
        match self.objects.write(batch).await {
            Ok(revision) => token.metadata.revision = revision,
            Err(OperationError::Store(StoreError::Conflict { key, .. }))
                if key == keys::token(&user, name) =>
            {
                return Err(OperationError::AlreadyExists {
                    kind: Kind::Token,
                    name: name.to_string(),
                });
            }
            Err(error) => return Err(error),
        }
        let action = match purpose {
            TokenPurpose::Api => "token.created",
            TokenPurpose::Session => "session.created",
        };
        let object = format!("{user}/{name}");
        self.journal
            .record(
                actor,
                action,
                None,
                (Kind::Token, &object),
                format!("for {user}"),
            )
            .await;
        Ok((token, coracle_model::env::Secret::new(secret)))
    }

    async fn make_room(&self, user: &UserName) -> Result<(), OperationError> {
        let mut tokens = self.objects.list::<TokenSpec>(&keys::tokens(user)).await?;
        let now = Utc::now();
        for token in tokens.extract_if(.., |token| token.spec.expires.is_some_and(|at| at <= now)) {
            self.drop_token(&token).await?;
        }
        if tokens.len() < MOST_TOKENS {
            return Ok(());
        }
        let oldest = tokens
            .iter()
            .filter(|token| token.spec.purpose == TokenPurpose::Session)
            .min_by_key(|t| t.metadata.created);
        match oldest {
            Some(token) => self.drop_token(token).await,
            None => Err(OperationError::Conflict {
                reason: format!("{user} has {MOST_TOKENS} tokens, which is the most"),
                hint: Some("delete those that are not needed".to_owned()),
            }),
        }
    }

    /// The token whose secret this is, if there is one that has not expired.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn token_by_secret(&self, secret: &str) -> Result<Option<Token>, OperationError> {
        if !secret.starts_with(SECRET_PREFIX) {
            return Ok(None);
        }
        let Some(record) = self
            .objects
            .get_record::<HashRecord>(&keys::token_hash(&hash(secret)))
            .await?
        else {
            return Ok(None);
        };
        let token = self
            .objects
            .get::<TokenSpec>(&keys::token(&record.user, &record.token))
            .await?;
        Ok(token.filter(|token| token.spec.expires.is_none_or(|at| at > Utc::now())))
    }

    /// The tokens of a user; sessions are not among them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tokens(&self, user: &UserName) -> Result<Vec<Token>, OperationError> {
        let mut tokens = self.objects.list::<TokenSpec>(&keys::tokens(user)).await?;
        tokens.retain(|token| token.spec.purpose == TokenPurpose::Api);
        Ok(tokens)
    }

    /// Deletes a token.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn delete_token(
        &self,
        user: &UserName,
        name: &TokenName,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let token = self
            .objects
            .need::<TokenSpec>(&keys::token(user, name), name)
            .await?;
        self.drop_token(&token).await?;
        let object = format!("{user}/{name}");
        self.journal
            .record(
                actor,
                "token.deleted",
                None,
                (Kind::Token, &object),
                format!("of {user}"),
            )
            .await;
        Ok(())
    }

    pub(crate) async fn drop_token(&self, token: &Token) -> Result<(), OperationError> {
        let name = TokenName::new(token.metadata.name.clone())?;
        let user = &token.spec.user;
        let by_name = keys::token_hash_by_name(user, &name);
        let mut batch = Batch::new()
            .delete(keys::token(user, &name), Expected::Any)
            .delete(by_name.clone(), Expected::Any);
        if let Some(record) = self.objects.get_record::<TokenHash>(&by_name).await? {
            batch = batch.delete(keys::token_hash(&record.hash), Expected::Any);
        }
        self.objects.write(batch).await?;
        Ok(())
    }

    pub(crate) async fn drop_tokens(&self, user: &UserName) -> Result<(), OperationError> {
        for token in self.objects.list::<TokenSpec>(&keys::tokens(user)).await? {
            self.drop_token(&token).await?;
        }
        Ok(())
    }

    pub(crate) async fn end_sessions(&self, user: &UserName) -> Result<(), OperationError> {
        for token in self.objects.list::<TokenSpec>(&keys::tokens(user)).await? {
            if token.spec.purpose == TokenPurpose::Session {
                self.drop_token(&token).await?;
            }
        }
        Ok(())
    }

    /// Notes that a token was used, once an hour at most, so that reading does not become writing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_token_use(&self, token: &Token) -> Result<(), OperationError> {
        let now = Utc::now();
        let recent = token
            .status
            .last_used
            .is_some_and(|at| now - at < chrono::Duration::hours(1));
        if recent {
            return Ok(());
        }
        let name = TokenName::new(token.metadata.name.clone())?;
        self.objects
            .modify::<TokenSpec>(&keys::token(&token.spec.user, &name), &name, |token| {
                token.status.last_used = Some(now);
                Ok(())
            })
            .await?;
        Ok(())
    }
}
