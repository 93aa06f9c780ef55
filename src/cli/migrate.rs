//! `keyward migrate`.

use std::path::Path;

use super::{Failure, say, serve};
use crate::config::Config;

pub(super) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file).map_err(serve::misconfigured)?;
    let store = serve::open_store(&config).await?;
    let pending = store
        .pending_migrations()
        .await
        .map_err(|error| serve::unavailable(&error))?;
    store
        .migrate()
        .await
        .map_err(|error| serve::unavailable(&error))?;
    store.close().await;
    say(format_args!(
        "{pending} migrations applied; the schema is current"
    ))
}
