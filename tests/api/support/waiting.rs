//! Rejections that last about an hour: the rate limits of the tests free a slot in that time.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::rejected;

/// Expects about the number of seconds in which a slot is freed.
#[track_caller]
pub fn about_an_hour(seconds: u64) {
    assert!((1800..=3600).contains(&seconds), "{seconds}");
}

/// Expects the reason and the retry delay in a status.
#[track_caller]
pub fn says_when(status: &Status, reason: &str, message: &str) {
    let rejection = rejected(Err::<(), _>(status.clone()));
    rejection.is(Code::ResourceExhausted, reason, message);
    let retry = status.get_details_retry_info().unwrap();
    about_an_hour(retry.retry_delay.unwrap().as_secs());
}
