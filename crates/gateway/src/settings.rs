//! What a router is told at start.

use crate::json::JsonOptions;
use crate::percent::Keep;

/// What holds for all routes of a router.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) json: JsonOptions,
    /// Whether a query parameter that leads nowhere is refused; for JSON, the
    /// options know.
    pub(crate) refuses_unknown: bool,
    /// The largest body, after decompression.
    pub(crate) max_body_bytes: u64,
    pub(crate) compresses: bool,
    /// The escapes that a path variable of several segments keeps.
    pub(crate) keep_in_segments: Keep,
}

/// As large as a message that tonic takes by default.
const DEFAULT_MAX_BODY_BYTES: u64 = 4 * 1024 * 1024;

impl Default for Settings {
    fn default() -> Self {
        Self {
            json: JsonOptions::default(),
            refuses_unknown: false,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            compresses: true,
            keep_in_segments: Keep::Slash,
        }
    }
}
