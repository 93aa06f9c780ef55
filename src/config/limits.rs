//! `[limits]`: limits for each caller, each address and the process.

use std::time::Duration;

use keyward_core::page::MAX_PAGE_ITEMS;
use keyward_store::KeyBounds;
use serde::Deserialize;

use super::{Config, ConfigError};
use crate::layers::{RequestLimits, TrustedProxies};
use crate::rate::Rate;
use crate::unauthenticated::UnauthenticatedLimits;

/// Limits for callers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    caller_requests_per_second: u32,
    caller_burst: u32,
    address_requests_per_second: u32,
    address_burst: u32,
    failed_authentications_per_minute: u32,
    failed_authentications_burst: u32,
    max_in_flight: u32,
    max_in_flight_per_organization: u32,
    max_request_bytes: u64,
    max_open_streams: u32,
    max_open_streams_per_address: u32,
    max_open_message_bytes: u32,
    max_reflection_ms: u64,
    /// Maximum number of items in a page of a list.
    pub max_page_size: u32,
    max_provider_keys_per_workspace: u32,
    max_ai_keys_per_repo: u32,
    trusted_proxies: Vec<String>,
}

impl LimitsConfig {
    /// Validates the limits.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("max_request_bytes", self.max_request_bytes),
            ("max_open_streams", u64::from(self.max_open_streams)),
            (
                "max_open_message_bytes",
                u64::from(self.max_open_message_bytes),
            ),
            ("max_reflection_ms", self.max_reflection_ms),
            (
                "max_provider_keys_per_workspace",
                u64::from(self.max_provider_keys_per_workspace),
            ),
            ("max_ai_keys_per_repo", u64::from(self.max_ai_keys_per_repo)),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            let problem = "must be greater than 0";
            return Err(ConfigError::field(&format!("limits.{field}"), problem));
        }
        if !(1..=MAX_PAGE_ITEMS).contains(&self.max_page_size) {
            let problem = format!("must be from 1 to {MAX_PAGE_ITEMS}");
            return Err(ConfigError::field("limits.max_page_size", problem));
        }
        self.trusted_proxies().map(drop)
    }

    /// Returns the maximum numbers of keys, which the store enforces.
    pub(super) fn key_bounds(&self) -> KeyBounds {
        KeyBounds {
            provider_keys_per_workspace: self.max_provider_keys_per_workspace,
            ai_keys_per_repo: self.max_ai_keys_per_repo,
        }
    }

    /// Returns the proxies trusted to report client addresses.
    ///
    /// # Errors
    /// An entry is not a network.
    pub fn trusted_proxies(&self) -> Result<TrustedProxies, ConfigError> {
        TrustedProxies::parse(&self.trusted_proxies)
            .map_err(|problem| ConfigError::field("limits.trusted_proxies", problem))
    }
}

impl Config {
    /// Returns true if a proxy is in front and its address is not configured: then all clients appear to have
    /// the same address, and a per-address limit would apply to all of them together.
    #[must_use]
    pub fn has_unnamed_proxy(&self) -> bool {
        self.server.is_behind_proxy() && self.limits.trusted_proxies.is_empty()
    }

    /// Returns the limits for requests.
    #[must_use]
    pub fn request_limits(&self) -> RequestLimits {
        let limits = &self.limits;
        let per_address = !self.has_unnamed_proxy();
        RequestLimits {
            default_deadline: Duration::from_millis(self.server.default_deadline_ms),
            max_deadline: Duration::from_millis(self.server.max_deadline_ms),
            max_body_bytes: self.server.max_body_bytes,
            caller_rate: Rate::per_second(limits.caller_requests_per_second, limits.caller_burst),
            address_rate: Rate::per_second(
                limits.address_requests_per_second,
                limits.address_burst,
            )
            .filter(|_| per_address),
            failed_authentications: Rate::per_minute(
                limits.failed_authentications_per_minute,
                limits.failed_authentications_burst,
            )
            .filter(|_| per_address),
            max_in_flight: usize::try_from(limits.max_in_flight).unwrap_or(usize::MAX),
            max_in_flight_per_organization: usize::try_from(limits.max_in_flight_per_organization)
                .unwrap_or(usize::MAX),
            // A running call needs a database connection.
            max_running: usize::try_from(self.database.max_connections).unwrap_or(usize::MAX),
            max_request_bytes: usize::try_from(limits.max_request_bytes).unwrap_or(usize::MAX),
            body_time: self.server.body_time(),
        }
    }

    /// Returns the limits for calls that need no token.
    #[must_use]
    pub fn unauthenticated_limits(&self) -> UnauthenticatedLimits {
        let limits = &self.limits;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        UnauthenticatedLimits {
            max_streams: count(limits.max_open_streams),
            max_streams_per_address: match self.has_unnamed_proxy() {
                true => 0,
                false => count(limits.max_open_streams_per_address),
            },
            max_message_bytes: count(limits.max_open_message_bytes),
            reflection_stream_timeout: Duration::from_millis(limits.max_reflection_ms),
        }
    }
}
