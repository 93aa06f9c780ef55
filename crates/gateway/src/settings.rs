//! Settings of a router.

use crate::json::JsonOptions;
use crate::percent::Keep;

/// Settings for all routes of a router.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) json: JsonOptions,
    /// True if an unknown query parameter is rejected; the JSON options have the setting for
    /// bodies.
    pub(crate) rejects_unknown: bool,
    /// Maximum size of a body, after decompression.
    pub(crate) max_body_bytes: u64,
    pub(crate) compresses: bool,
    /// Escapes that a path variable of several segments keeps.
    pub(crate) keep_in_segments: Keep,
}

/// Default of tonic for the size of a message.
const DEFAULT_MAX_BODY_BYTES: u64 = 4 * 1024 * 1024;

impl Default for Settings {
    fn default() -> Self {
        Self {
            json: JsonOptions::default(),
            rejects_unknown: false,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            compresses: true,
            keep_in_segments: Keep::Slash,
        }
    }
}
