//! Issued keys that do not exist. Seven of eight have the right prefix, length and checksum, so
//! that only a look-up detects them; each eighth is malformed. Each key is sent once.

use std::io;

use keyward_crypto::TokenKind;
use serde_json::Value;

use super::{AttackArgs, Attacker, pipeline, storm};
use crate::Outcome;

/// Prefix of the keys that Keyward issues.
const PREFIX: &str = TokenKind::ISSUED_KEY.prefix();

#[derive(Debug, clap::Args)]
pub(crate) struct UnknownKeyFloodArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Number of pipelined requests on a connection.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    pipelined: usize,
}

pub(crate) async fn run(args: UnknownKeyFloodArgs) -> Outcome<Value> {
    let pipelined = args.pipelined.clamp(1, 1000);
    Ok(storm(&args.attack, |attacker| async move {
        while attacker.goes_on() {
            let _ = present(&attacker, pipelined).await;
        }
    })
    .await)
}

/// Sends keys over one connection until either side ends it.
async fn present(attacker: &Attacker, pipelined: usize) -> io::Result<()> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| io::ErrorKind::Other)?;
    let salt = hex::encode(random);
    let request = |number| {
        let key = key(&salt, number);
        format!("GET /key HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {key}\r\n\r\n")
    };
    pipeline::pour(attacker, pipelined, request).await
}

/// Returns a key that is well-formed, or nearly.
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
