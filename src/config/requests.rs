//! `[requests]`: limits for one request, and for requests at the same time.

use std::time::Duration;

use keyward_throttle::Rate;

use super::value::{positive, positive_millis, size};
use super::{ConfigError, raw};
use crate::http::layers::{BodyTime, RequestLimits};

/// Returns the limits that the layers apply. `max_running` is the number of database connections, since a
/// running call needs one. Without `per_address`, the limits for each address are off.
pub(super) fn parse(
    requests: &raw::Requests,
    limits: &raw::Limits,
    max_running: u32,
    per_address: bool,
) -> Result<RequestLimits, ConfigError> {
    let (default_deadline, max_deadline) = deadlines(requests)?;
    let address_rate = Rate::per_second(limits.address_requests_per_second, limits.address_burst);
    let failed_authentications = Rate::per_minute(
        limits.failed_authentications_per_minute,
        limits.failed_authentications_burst,
    );
    Ok(RequestLimits {
        default_deadline,
        max_deadline,
        max_body_bytes: positive("requests.max_body_bytes", requests.max_body_bytes)?,
        body_time: BodyTime {
            timeout: positive_millis("requests.body_timeout_ms", requests.body_timeout_ms)?,
            min_bytes_per_second: positive(
                "requests.min_body_bytes_per_second",
                requests.min_body_bytes_per_second,
            )?,
        },
        max_total_memory_bytes: size(positive(
            "requests.max_total_memory_bytes",
            requests.max_total_memory_bytes,
        )?),
        max_in_flight: size(requests.max_in_flight),
        max_in_flight_per_organization: size(requests.max_in_flight_per_organization),
        max_running: size(max_running),
        caller_rate: Rate::per_second(limits.caller_requests_per_second, limits.caller_burst),
        address_rate: address_rate.filter(|_| per_address),
        failed_authentications: failed_authentications.filter(|_| per_address),
    })
}

fn deadlines(requests: &raw::Requests) -> Result<(Duration, Duration), ConfigError> {
    let field = "requests.default_deadline_ms";
    let default = positive_millis(field, requests.default_deadline_ms)?;
    let max = positive_millis("requests.max_deadline_ms", requests.max_deadline_ms)?;
    if default > max {
        let problem = "must not be greater than `requests.max_deadline_ms`";
        return Err(ConfigError::field(field, problem));
    }
    Ok((default, max))
}
