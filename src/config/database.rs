//! `[database]`: the options of the store.

use std::path::PathBuf;
use std::time::Duration;

use keyward_crypto::{GroupAccess, Secret, read_private_file};
use keyward_store::{CacheSettings, KeyBounds, StoreLimits, StoreOptions};

use super::value::{positive, positive_millis};
use super::{ConfigError, raw};

/// Maximum size of the file with the database's URL, in bytes.
const MAX_URL_BYTES: usize = 64 * 1024;

/// Database.
pub struct DatabaseSettings {
    url: Url,
    limits: StoreLimits,
    allow_unverified_tls: bool,
}

/// Source of the database's URL.
enum Url {
    Text(Secret<String>),
    File(PathBuf),
}

impl DatabaseSettings {
    pub(super) fn parse(
        database: raw::Database,
        bounds: KeyBounds,
        cache: CacheSettings,
    ) -> Result<Self, ConfigError> {
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
        let limits = StoreLimits {
            max_connections: positive("database.max_connections", database.max_connections)?,
            acquire_timeout: positive_millis(
                "database.acquire_timeout_ms",
                database.acquire_timeout_ms,
            )?,
            busy_timeout: Duration::from_millis(database.busy_timeout_ms),
            max_clock_difference: positive_millis(
                "database.max_clock_difference_ms",
                database.max_clock_difference_ms,
            )?,
            bounds,
            cache,
        };
        Ok(Self {
            url,
            limits,
            allow_unverified_tls: database.allow_unverified_tls,
        })
    }

    /// Returns the options for the store, after reading the file with the URL if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<StoreOptions, ConfigError> {
        let mut options = StoreOptions::new(self.url.read()?, self.limits);
        options.allow_unverified_tls = self.allow_unverified_tls;
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
