//! Probes without end: whether the server is ready, which anyone may ask and which asks the store. Half of
//! the connections ask `/readyz` over HTTP/1.1, half ask `grpc.health.v1` on many streams each.

use std::io;
use std::time::Instant;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Semaphore;

use super::frames::{self, DATA, END_HEADERS, END_STREAM, HEADERS, WINDOW_UPDATE};
use super::{AttackArgs, Attacker, pipeline, storm};
use crate::Outcome;

/// How many requests are sent at once over HTTP/1.1, one behind the other on one connection.
const PIPELINED: usize = 16;
/// How many streams go out in one write.
const BATCH: u32 = 10;
/// How many streams are under way on one connection: fewer than servers commonly allow.
const STREAMS: usize = 90;
/// How many one connection can number.
const MOST_STREAMS: u32 = 1 << 30;
/// How much more the server may send on a connection without being asked again, in bytes.
const MORE_BYTES: u32 = 1 << 30;
/// A gRPC message without a field: the health of all.
const ALL: [u8; 5] = [0; 5];

pub(crate) async fn run(args: AttackArgs) -> Outcome<Value> {
    Ok(storm(&args, |attacker| async move {
        while attacker.goes_on() {
            let _ = if attacker.number.is_multiple_of(2) {
                let request = |_| "GET /readyz HTTP/1.1\r\nhost: keyward.test\r\n\r\n".to_owned();
                pipeline::pour(&attacker, PIPELINED, request).await
            } else {
                check(&attacker).await
            };
        }
    })
    .await)
}

/// Asks on stream after stream of one connection until either side ends it.
async fn check(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let (reading, mut writing) = stream.into_split();
    let free = Semaphore::new(STREAMS);
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let block = frames::request("POST", "/grpc.health.v1.Health/Check", &fields);
    let asking = async {
        let mut begun = frames::opening(&[]);
        frames::frame(&mut begun, WINDOW_UPDATE, 0, 0, &MORE_BYTES.to_be_bytes());
        attacker.send(&mut writing, &begun).await?;
        let mut number = 0;
        while attacker.goes_on() && number + BATCH < MOST_STREAMS {
            let permits = free.acquire_many(BATCH).await;
            permits.map_err(io::Error::other)?.forget();
            let mut out = Vec::new();
            for _ in 0..BATCH {
                let id = 2 * number + 1;
                frames::frame(&mut out, HEADERS, END_HEADERS, id, &block);
                frames::frame(&mut out, DATA, END_STREAM, id, &ALL);
                number += 1;
            }
            attacker.send(&mut writing, &out).await?;
            attacker.sent(u64::from(BATCH));
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = asking => ended,
        ended = count_answers(attacker, BufReader::new(reading), &free) => ended,
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}

/// Reads frames until the connection ends. Each stream that ends makes room for another.
async fn count_answers(
    attacker: &Attacker,
    mut reading: BufReader<OwnedReadHalf>,
    free: &Semaphore,
) -> io::Result<()> {
    loop {
        let frame = frames::read(&mut reading).await?;
        if let Some(name) = frame.name() {
            attacker.tally.answered(&name);
        }
        if frame.ends_stream() {
            free.add_permits(1);
        }
    }
}
