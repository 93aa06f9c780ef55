//! Between the API's messages and the core's nouns: parsed once, here.

pub(crate) mod api_key;
pub(crate) mod directory;

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::IdError;

/// The message form of a moment.
pub(crate) fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    let millis = moment.unix_millis();
    prost_types::Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}

/// Parses an identifier; `label` names it in the error's text and `field` in its details.
pub(crate) fn id<T>(
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
