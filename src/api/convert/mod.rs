//! Conversion between the API's messages and the core's types. Input is parsed only here.

pub(crate) mod audit;
pub(crate) mod directory;
pub(crate) mod issued_key;
pub(crate) mod ledger;
pub(crate) mod provider_key;
pub(crate) mod repo_ai_key;

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::IdError;
use keyward_core::principal::Creator;

/// Converts a time to its message.
pub(crate) fn timestamp_to_proto(moment: Timestamp) -> prost_types::Timestamp {
    let millis = moment.unix_millis();
    prost_types::Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}

/// Returns the kind and the ID of the principal that created a resource.
pub(crate) fn creator_to_proto(creator: Option<Creator>) -> (Option<String>, Option<String>) {
    creator.map(|Creator { kind, id }| (kind, id)).unzip()
}

/// First and last second that messages can represent: the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Parses a time and truncates it to milliseconds; `label` names it in the error's text and `field` in its
/// details.
pub(crate) fn timestamp_from_proto(
    field: &'static str,
    label: &str,
    timestamp: prost_types::Timestamp,
) -> Result<Timestamp, Error> {
    let nanos = i64::from(timestamp.nanos);
    if !SECONDS.contains(&timestamp.seconds) || !(0..1_000_000_000).contains(&nanos) {
        let message = format!("{label} must be a moment of the years 1 to 9999");
        return Err(Error::invalid(field, message));
    }
    let millis = timestamp.seconds * 1000 + nanos / 1_000_000;
    Ok(Timestamp::from_unix_millis(millis))
}

/// Parses an identifier; `label` names it in the error's text and `field` in its details.
pub(crate) fn id_from_proto<T>(
    parse: impl FnOnce(String) -> Result<T, IdError>,
    field: &'static str,
    label: &str,
    text: String,
) -> Result<T, Error> {
    parse(text).map_err(|error| match error {
        IdError::Empty => Error::invalid(field, format!("{label} is required")),
        other => Error::invalid(field, format!("{label} {other}")),
    })
}
