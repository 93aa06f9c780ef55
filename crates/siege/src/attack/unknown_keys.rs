//! Issued keys that nobody was issued. Seven of eight have the right prefix, length and checksum, so that
//! only a look-up can tell; each eighth is malformed. No key is presented twice.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::{AttackArgs, Attacker, count_statuses, storm};
use crate::Outcome;

const PREFIX: &str = "sk-kw-v1-";
/// How many batches may be without an answer on one connection.
const MOST_BATCHES: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct UnknownKeysArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// How many requests are sent at once, one behind the other on one connection.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    pipelined: usize,
}

pub(crate) async fn run(args: UnknownKeysArgs) -> Outcome<Value> {
    let pipelined = args.pipelined.clamp(1, 1000);
    Ok(storm(&args.attack, |attacker| async move {
        while attacker.goes_on() {
            let _ = present(&attacker, pipelined).await;
        }
    })
    .await)
}

/// Presents keys over one connection until either side ends it.
async fn present(attacker: &Attacker, pipelined: usize) -> io::Result<()> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| io::ErrorKind::Other)?;
    let salt = hex::encode(random);
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
                let key = key(&salt, number);
                requests
                    .push_str("GET /key HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer ");
                requests.push_str(&key);
                requests.push_str("\r\n\r\n");
                number += 1;
            }
            attacker.begin(pipelined as u64);
            attacker.send(&mut writing, requests.as_bytes()).await?;
        }
        // The last answers.
        let all = u32::try_from(MOST_BATCHES * pipelined).unwrap_or(u32::MAX);
        let _all = unanswered
            .acquire_many(all)
            .await
            .map_err(io::Error::other)?;
        Ok(())
    };
    let ended = tokio::select! {
        ended = writing => ended,
        () = answers => Err(io::ErrorKind::UnexpectedEof.into()),
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}

/// A key that is well-formed, or nearly.
fn key(salt: &str, number: u64) -> String {
    let body = format!("{PREFIX}{salt}{number:032x}");
    let checksum = crc32fast::hash(body.as_bytes());
    let wrong = u32::from(number % 8 == 7);
    format!("{body}{:08x}", checksum ^ wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn seven_of_eight_keys_are_well_formed() {
        let salt = "0123456789abcdef0123456789abcdef";
        let well_formed = |key: &String| {
            let (body, checksum) = key.split_at(key.len() - 8);
            assert_eq!(key.len(), PREFIX.len() + 72);
            u32::from_str_radix(checksum, 16).unwrap() == crc32fast::hash(body.as_bytes())
        };
        let keys: Vec<_> = (0..8).map(|number| key(salt, number)).collect();
        assert_eq!(keys.iter().filter(|key| well_formed(key)).count(), 7);
    }
}
