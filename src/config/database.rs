//! `[database]`: the options of the store.

use std::path::PathBuf;
use std::time::Duration;

use keyward_crypto::{GroupAccess, Secret, read_private_file};
use keyward_store::{KeyBounds, StoreOptions};

use super::value::{positive, positive_millis};
use super::{ConfigError, raw};

/// Maximum size of the file with the database's URL, in bytes.
const MAX_URL_BYTES: usize = 64 * 1024;

/// Database.
pub struct DatabaseSettings {
    url: Url,
    max_connections: u32,
    acquire_timeout: Duration,
    busy_timeout: Duration,
    bounds: KeyBounds,
    allow_unverified_tls: bool,
    max_clock_difference: Duration,
}

/// Source of the database's URL.
enum Url {
    Text(Secret<String>),
    File(PathBuf),
}

impl DatabaseSettings {
    pub(super) fn parse(database: raw::Database, bounds: KeyBounds) -> Result<Self, ConfigError> {
        let url = match (database.url, database.url_file) {
            (Some(url), None) => Url::Text(url),
            (None, Some(path)) => Url::File(path),
            (Some(_), Some(_)) | (None, None) => {
                return Err(ConfigError::field(
                    "database.url",
                    "or `database.url_file` is required, and not both",
                ));
            }
        };
        Ok(Self {
            url,
            max_connections: positive("database.max_connections", database.max_connections)?,
            acquire_timeout: positive_millis(
                "database.acquire_timeout_ms",
                database.acquire_timeout_ms,
            )?,
            busy_timeout: Duration::from_millis(database.busy_timeout_ms),
            bounds,
            allow_unverified_tls: database.allow_unverified_tls,
            max_clock_difference: positive_millis(
                "database.max_clock_difference_ms",
                database.max_clock_difference_ms,
            )?,
        })
    }

    /// Returns the options for the store, after reading the file with the URL if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<StoreOptions, ConfigError> {
        let mut options = StoreOptions::new(self.url.read()?);
        options.max_connections = self.max_connections;
        options.acquire_timeout = self.acquire_timeout;
        options.busy_timeout = self.busy_timeout;
        options.bounds = self.bounds;
        options.allow_unverified_tls = self.allow_unverified_tls;
        options.max_clock_difference = self.max_clock_difference;
        Ok(options)
    }
}

impl Url {
    fn read(&self) -> Result<Secret<String>, ConfigError> {
        let path = match self {
            Self::Text(url) => return Ok(url.clone()),
            Self::File(path) => path,
        };
        let field = "database.url_file";
        let bytes = read_private_file(path, MAX_URL_BYTES, GroupAccess::Read)
            .map_err(|defect| ConfigError::field(field, defect))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| ConfigError::field(field, "is not UTF-8"))?;
        Ok(Secret::new(text.trim().to_owned()))
    }
}
