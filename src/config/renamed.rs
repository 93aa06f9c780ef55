//! Settings that have another name than before. An old name is rejected with the new one.

use figment::Figment;

use super::ConfigError;

/// Old and new name of each renamed setting.
pub const RENAMED: &[(&str, &str)] = &[
    ("server.drain_ms", "server.drain_timeout_ms"),
    ("server.default_deadline_ms", "requests.default_deadline_ms"),
    ("server.max_deadline_ms", "requests.max_deadline_ms"),
    ("server.max_body_bytes", "requests.max_body_bytes"),
    ("server.body_timeout_ms", "requests.body_timeout_ms"),
    (
        "server.min_body_bytes_per_second",
        "requests.min_body_bytes_per_second",
    ),
    (
        "limits.max_request_bytes",
        "requests.max_total_memory_bytes",
    ),
    (
        "requests.max_request_bytes",
        "requests.max_total_memory_bytes",
    ),
    ("limits.max_in_flight", "requests.max_in_flight"),
    (
        "limits.max_in_flight_per_organization",
        "requests.max_in_flight_per_organization",
    ),
    (
        "server.max_concurrent_streams",
        "server.http2.max_concurrent_streams",
    ),
    (
        "server.max_pending_resets",
        "server.http2.max_pending_resets",
    ),
    (
        "server.stream_window_bytes",
        "server.http2.stream_window_bytes",
    ),
    (
        "server.connection_window_bytes",
        "server.http2.connection_window_bytes",
    ),
    ("server.send_buffer_bytes", "server.http2.send_buffer_bytes"),
    (
        "limits.max_open_streams",
        "limits.max_unauthenticated_streams",
    ),
    (
        "limits.max_open_streams_per_address",
        "limits.max_unauthenticated_streams_per_address",
    ),
    (
        "limits.max_open_message_bytes",
        "limits.max_unauthenticated_message_bytes",
    ),
    (
        "limits.max_reflection_ms",
        "limits.reflection_stream_timeout_ms",
    ),
];

/// Rejects all old names, whether the file or the environment has them.
pub(super) fn reject(figment: &Figment) -> Result<(), ConfigError> {
    let is_set = |name: &str| figment.find_value(name).is_ok();
    let problems: Vec<_> = RENAMED
        .iter()
        .filter(|(old, _)| is_set(old))
        .map(|(old, new)| format!("`{old}` is now `{new}`"))
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ConfigError::new(problems)),
    }
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};

    use super::super::DEFAULTS;
    use super::*;

    #[test]
    fn example_has_every_new_name_and_no_old_one() {
        let example = Figment::from(Toml::string(DEFAULTS));
        for (old, new) in RENAMED {
            assert!(example.find_value(new).is_ok(), "{new} is not there");
            assert!(example.find_value(old).is_err(), "{old} is there");
        }
        assert!(reject(&example).is_ok());
    }
}
