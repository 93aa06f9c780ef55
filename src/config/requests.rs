//! Limits for requests.

use std::time::Duration;

use super::value::{positive, positive_millis, size};
use super::{ConfigError, raw};
use crate::layers::{BodyTime, RequestLimits};
use crate::rate::Rate;

/// Returns the limits that the layers apply. `max_running` is the number of database connections, since a
/// running call needs one. Without `per_address`, the limits for each address are off.
pub(super) fn parse(
    server: &raw::Server,
    limits: &raw::Limits,
    max_running: u32,
    per_address: bool,
) -> Result<RequestLimits, ConfigError> {
    let (default_deadline, max_deadline) = deadlines(server)?;
    let address_rate = Rate::per_second(limits.address_requests_per_second, limits.address_burst);
    let failed_authentications = Rate::per_minute(
        limits.failed_authentications_per_minute,
        limits.failed_authentications_burst,
    );
    Ok(RequestLimits {
        default_deadline,
        max_deadline,
        max_body_bytes: positive("server.max_body_bytes", server.max_body_bytes)?,
        body_time: BodyTime {
            timeout: positive_millis("server.body_timeout_ms", server.body_timeout_ms)?,
            min_bytes_per_second: positive(
                "server.min_body_bytes_per_second",
                server.min_body_bytes_per_second,
            )?,
        },
        max_request_bytes: size(positive(
            "limits.max_request_bytes",
            limits.max_request_bytes,
        )?),
        max_in_flight: size(limits.max_in_flight),
        max_in_flight_per_organization: size(limits.max_in_flight_per_organization),
        max_running: size(max_running),
        caller_rate: Rate::per_second(limits.caller_requests_per_second, limits.caller_burst),
        address_rate: address_rate.filter(|_| per_address),
        failed_authentications: failed_authentications.filter(|_| per_address),
    })
}

fn deadlines(server: &raw::Server) -> Result<(Duration, Duration), ConfigError> {
    let field = "server.default_deadline_ms";
    let default = positive_millis(field, server.default_deadline_ms)?;
    let max = positive_millis("server.max_deadline_ms", server.max_deadline_ms)?;
    if default > max {
        let problem = "must not be greater than `server.max_deadline_ms`";
        return Err(ConfigError::field(field, problem));
    }
    Ok((default, max))
}
