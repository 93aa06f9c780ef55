//! Pipelined HTTP/1.1 requests, batch after batch on one connection. The number of requests without
//! a response is bounded.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::{Attacker, count_statuses};

/// Maximum number of batches without a response on one connection.
const MOST_BATCHES: usize = 4;

/// Sends requests over one connection, `pipelined` at once, until either side ends it. `request`
/// creates the request with this number.
///
/// # Errors
///
/// The server has ended the connection.
pub(super) async fn pour(
    attacker: &Attacker,
    pipelined: usize,
    request: impl Fn(u64) -> String,
) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let (reading, mut writing) = stream.into_split();
    let unanswered = Semaphore::new(MOST_BATCHES * pipelined);
    let answers = count_statuses(reading, Arc::clone(&attacker.tally), Some(&unanswered));
    let batch = u32::try_from(pipelined).unwrap_or(1);
    let writing = async {
        let mut number: u64 = 0;
        while attacker.goes_on() {
            let permits = unanswered.acquire_many(batch).await;
            permits.map_err(io::Error::other)?.forget();
            let mut requests = String::new();
            for _ in 0..pipelined {
                requests.push_str(&request(number));
                number += 1;
            }
            attacker.send(&mut writing, requests.as_bytes()).await?;
            attacker.sent(pipelined as u64);
        }
        // Waits for the last responses.
        let all = u32::try_from(MOST_BATCHES * pipelined).unwrap_or(u32::MAX);
        let all = unanswered.acquire_many(all).await;
        all.map(drop).map_err(io::Error::other)
    };
    let ended = tokio::select! {
        ended = writing => ended,
        () = answers => Err(io::ErrorKind::UnexpectedEof.into()),
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}
