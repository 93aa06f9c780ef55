//! A flood of charges: RecordUsage for a few keys, with as many calls in flight as the streams allow.

use std::sync::Arc;

use prost::Message;
use serde_json::Value;

use super::calls::{AttackCall, AttackCalls};
use super::{AttackArgs, frames, storm};
use crate::Outcome;
use crate::proto::RecordUsageRequest;

#[derive(Debug, clap::Args)]
pub(crate) struct ChargesArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Hash of a key to charge; one or more.
    #[arg(long = "hash", value_name = "HASH", required = true)]
    hashes: Vec<String>,
    /// Number of calls in flight on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    streams: usize,
    /// Service token.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    token: String,
}

pub(crate) async fn run(args: ChargesArgs) -> Outcome<Value> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let run = hex::encode(random);
    let attack = args.attack.clone();
    let args = Arc::new(args);
    Ok(storm(&attack, |attacker| {
        let (args, run) = (Arc::clone(&args), run.clone());
        async move {
            let bearer = format!("Bearer {}", args.token);
            let fields = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ];
            let path = "/keyward.v1.ManagementKeyService/RecordUsage";
            let block = frames::request("POST", path, &fields);
            let mut connection = 0;
            while attacker.goes_on() {
                let salt = format!("{run}-{}-{connection}", attacker.number);
                let calls = AttackCalls {
                    call: |number: u64| AttackCall {
                        block: block.clone(),
                        body: charge(&args.hashes, &salt, number),
                    },
                    ends: true,
                    reads: true,
                    streams: args.streams,
                    most: u64::MAX,
                };
                let _ = calls.pour(&attacker).await;
                connection += 1;
            }
        }
    })
    .await)
}

/// Returns a length-prefixed request with its own id.
fn charge(hashes: &[String], salt: &str, number: u64) -> Arc<[u8]> {
    let key = usize::try_from(number).unwrap_or_default() % hashes.len();
    let request = RecordUsageRequest {
        hash: hashes[key].clone(),
        cost_nanos: 1,
        request_id: format!("{salt}-{number}"),
        ..Default::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut body = vec![0];
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(&message);
    body.into()
}
