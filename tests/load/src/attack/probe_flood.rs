//! Unlimited probes of the server's readiness, which need no token and query the store. Half of the
//! connections request `/readyz` over HTTP/1.1, half call `grpc.health.v1` on many streams each.

use serde_json::Value;

use super::checks::Checks;
use super::frames::{END_STREAM, Incoming};
use super::{AttackArgs, pipeline, storm};
use crate::Outcome;

/// Number of pipelined requests on one HTTP/1.1 connection.
const PIPELINED: usize = 16;
/// Complete messages without a field: the health of all services. Fewer streams than servers
/// commonly allow.
const CHECKS: Checks<'static> = Checks {
    fields: &[],
    message: &[0; 5],
    flags: END_STREAM,
    streams: 90,
    is_over: Incoming::ends_stream,
};

pub(crate) async fn run(args: AttackArgs) -> Outcome<Value> {
    Ok(storm(&args, |attacker| async move {
        while attacker.goes_on() {
            let _ = if attacker.number.is_multiple_of(2) {
                let request = |_| "GET /readyz HTTP/1.1\r\nhost: keyward.test\r\n\r\n".to_owned();
                pipeline::pour(&attacker, PIPELINED, request).await
            } else {
                CHECKS.pour(&attacker).await
            };
        }
    })
    .await)
}
