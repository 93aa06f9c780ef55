//! `keyward migrate`.

use std::path::Path;
use std::time::Duration;

use super::{Failure, print_line, startup};
use crate::config::Config;

/// Maximum wait for another process that migrates the same SQLite file. PostgreSQL waits without a limit.
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

pub(super) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file).map_err(startup::misconfigured)?;
    let store = startup::open_store_waiting(&config, MAX_WAIT).await?;
    let applied = startup::migrate(&store).await?;
    store.close().await;
    print_line(format_args!(
        "{applied} migrations applied; the schema is current"
    ))
}
