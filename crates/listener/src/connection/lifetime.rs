//! Decides on the next step for a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::activity::{Snapshot, Version};
use crate::settings::Settings;

/// Time in which a client that has just connected must send its first bytes in `Phase::Closing`.
pub(crate) const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Points in time at which a connection changes state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) opened: Instant,
    /// Time from which the connection is old.
    pub(crate) old: Option<Instant>,
    /// Time at which the connection saw `Phase::Closing`, if it did.
    pub(crate) closing: Option<Instant>,
}

/// Next step for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Do nothing before this time.
    Wait(Instant),
    /// Reset the streams whose responses the client does not read.
    Shed,
    /// End the connection after its calls.
    End,
    /// Close the connection at once.
    Cut,
}

/// Returns the next step. No new deadline is reached before the shortest timeout has passed, so checking
/// again after that suffices.
pub(crate) fn decide(
    snapshot: &Snapshot,
    settings: &Settings,
    times: &Times,
    now: Instant,
) -> Step {
    let mut due = Vec::with_capacity(4);
    if !snapshot.has_received || snapshot.version == Version::Unknown {
        due.push((times.opened + settings.header_timeout, Step::Cut));
        if let Some(closing) = times.closing {
            due.push((closing.max(times.opened) + FINAL_READ_TIMEOUT, Step::Cut));
        }
    } else {
        let is_http2 = snapshot.version == Version::Http2;
        match snapshot.head_since {
            // The response announces that it is the last one.
            Some(since) if !is_http2 => due.push((since + settings.header_timeout, Step::Cut)),
            _ => due.extend(times.closing.map(|closing| (closing, Step::End))),
        }
        if is_http2 {
            due.extend(times.old.map(|old| (old, Step::End)));
            due.extend(snapshot.close_requested.then_some((now, Step::End)));
        }
        if snapshot.calls == 0 && (is_http2 || snapshot.head_since.is_none()) {
            due.push((snapshot.idle_since + settings.idle_timeout, Step::End));
        }
        let waiting = snapshot.waiting_since;
        // Over HTTP/1.1 there is one response, and the socket has the timeout.
        due.extend(waiting.map(|since| match is_http2 {
            true => (since + settings.write_timeout, Step::Shed),
            false => (since + settings.idle_timeout, Step::End),
        }));
    }
    due.extend(snapshot.must_close.then_some((times.opened, Step::Cut)));
    let shortest = settings
        .header_timeout
        .min(settings.idle_timeout)
        .min(settings.write_timeout);
    match due.into_iter().min_by_key(|(at, _)| *at) {
        Some((at, step)) if at <= now => step,
        Some((at, _)) => Step::Wait(at.min(now + shortest)),
        None => Step::Wait(now + shortest),
    }
}
