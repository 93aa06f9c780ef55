//! Refusals that last about an hour: the limits of the tests give one call back in that time.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::refused;

/// Is about as many seconds as a call takes to come back.
#[track_caller]
pub fn about_an_hour(seconds: u64) {
    assert!((1800..=3600).contains(&seconds), "{seconds}");
}

/// Expects that a status says why, and when to come again.
#[track_caller]
pub fn says_when(status: &Status, reason: &str, message: &str) {
    let refusal = refused(Err::<(), _>(status.clone()));
    refusal.is(Code::ResourceExhausted, reason, message);
    let retry = status.get_details_retry_info().unwrap();
    about_an_hour(retry.retry_delay.unwrap().as_secs());
}
