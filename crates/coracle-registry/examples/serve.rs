//! The registry alone, for measuring: `serve DIR ADDRESS`. Everybody may do everything.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use coracle_registry::{Action, Authorizer, Credentials, Denied, Limits, Registry, RepositoryName};

struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(
        &self,
        _credentials: Option<Credentials>,
        _repository: Option<&RepositoryName>,
        _action: Action<'_>,
    ) -> Result<(), Denied> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve DIR ADDRESS".into());
    };
    let registry = Registry::open(Path::new(&dir), Arc::new(AllowAll), Limits::default())?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    axum::serve(listener, registry.router()).await?;
    Ok(())
}
