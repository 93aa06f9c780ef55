//! `[limits]`: limits for each caller, each address and the process.

use keyward_core::page::MAX_PAGE_ITEMS;
use keyward_store::KeyBounds;

use super::value::{in_range, positive, positive_millis, size};
use super::{ConfigError, raw};
use crate::http::client_ip::TrustedProxies;
use crate::http::unauthenticated::UnauthenticatedLimits;

/// Returns the limits for calls that need no token. Without `per_address`, the limit for each address is off.
pub(super) fn unauthenticated(
    limits: &raw::Limits,
    per_address: bool,
) -> Result<UnauthenticatedLimits, ConfigError> {
    let max_streams = positive(
        "limits.max_unauthenticated_streams",
        limits.max_unauthenticated_streams,
    )?;
    Ok(UnauthenticatedLimits {
        max_streams: size(max_streams),
        max_streams_per_address: match per_address {
            true => size(limits.max_unauthenticated_streams_per_address),
            false => 0,
        },
        max_message_bytes: size(positive(
            "limits.max_unauthenticated_message_bytes",
            limits.max_unauthenticated_message_bytes,
        )?),
        reflection_stream_timeout: positive_millis(
            "limits.reflection_stream_timeout_ms",
            limits.reflection_stream_timeout_ms,
        )?,
    })
}

/// Returns the maximum number of items in a page of a list.
pub(super) fn max_page_items(limits: &raw::Limits) -> Result<u32, ConfigError> {
    in_range(
        "limits.max_page_size",
        limits.max_page_size,
        1..=MAX_PAGE_ITEMS,
    )
}

/// Returns the maximum numbers of keys, which the store enforces.
pub(super) fn key_bounds(limits: &raw::Limits) -> Result<KeyBounds, ConfigError> {
    Ok(KeyBounds {
        provider_keys_per_workspace: positive(
            "limits.max_provider_keys_per_workspace",
            limits.max_provider_keys_per_workspace,
        )?,
        ai_keys_per_repo: positive("limits.max_ai_keys_per_repo", limits.max_ai_keys_per_repo)?,
    })
}

/// Returns the proxies trusted to report client addresses.
pub(super) fn trusted_proxies(limits: &raw::Limits) -> Result<TrustedProxies, ConfigError> {
    TrustedProxies::parse(&limits.trusted_proxies)
        .map_err(|problem| ConfigError::field("limits.trusted_proxies", problem))
}
