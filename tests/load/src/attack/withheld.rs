//! Withheld bodies: calls with a token whose bodies never end, with or without most of their bytes.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::calls::{AttackCall, AttackCalls};
use super::unread::Protocol;
use super::{AttackArgs, Attacker, count_statuses, frames, storm};
use crate::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct WithheldArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Path to call with POST.
    #[arg(long, value_name = "PATH", default_value = "/keys")]
    path: String,
    /// Protocol to call over. `http1` and `http2` send JSON.
    #[arg(long, value_enum, default_value = "http2")]
    protocol: Protocol,
    /// Number of calls in flight on each HTTP/2 connection.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    streams: usize,
    /// Number of body bytes to send; the announced length is one more.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    body_bytes: u32,
    /// Value of `grpc-timeout`.
    #[arg(long, value_name = "TIMEOUT", default_value = "60S")]
    timeout: String,
    /// Token to send.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    token: String,
}

pub(crate) async fn run(args: WithheldArgs) -> Outcome<Value> {
    let attack = args.attack.clone();
    let body: Arc<[u8]> = body(&args).into();
    let args = Arc::new(args);
    Ok(storm(&attack, |attacker| {
        let (args, body) = (Arc::clone(&args), Arc::clone(&body));
        async move {
            while attacker.goes_on() {
                let _ = match args.protocol {
                    Protocol::Grpc | Protocol::Http2 => over_http2(&attacker, &args, &body).await,
                    Protocol::GrpcWeb | Protocol::Http1 => {
                        over_http1(&attacker, &args, &body).await
                    }
                };
            }
        }
    })
    .await)
}

/// Returns a JSON text or a message that lacks its last byte.
fn body(args: &WithheldArgs) -> Vec<u8> {
    let bytes = usize::try_from(args.body_bytes).unwrap_or_default();
    let begun = match args.protocol {
        Protocol::Grpc | Protocol::GrpcWeb => {
            let message = args.body_bytes.saturating_sub(5) + 1;
            let mut begun = vec![0];
            begun.extend_from_slice(&message.to_be_bytes());
            // A field of bytes: number 15, which messages of the API do not have.
            begun.push(15 << 3 | 2);
            begun
        }
        Protocol::Http1 | Protocol::Http2 => b"{\"name\": \"".to_vec(),
    };
    let mut body = begun;
    body.resize(bytes, b'a');
    body
}

fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "application/grpc",
        Protocol::GrpcWeb => "application/grpc-web+proto",
        Protocol::Http1 | Protocol::Http2 => "application/json",
    }
}

async fn over_http2(attacker: &Attacker, args: &WithheldArgs, body: &Arc<[u8]>) -> io::Result<()> {
    let bearer = format!("Bearer {}", args.token);
    let fields = [
        ("authorization", bearer.as_str()),
        ("content-type", content_type(args.protocol)),
        ("grpc-timeout", &args.timeout),
        ("te", "trailers"),
    ];
    let block = frames::request("POST", &args.path, &fields);
    let calls = AttackCalls {
        call: |_| AttackCall {
            block: block.clone(),
            body: Arc::clone(body),
        },
        ends: false,
        reads: true,
        streams: args.streams,
        most: u64::MAX,
    };
    calls.pour(attacker).await
}

async fn over_http1(attacker: &Attacker, args: &WithheldArgs, body: &Arc<[u8]>) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let (reading, mut writing) = stream.into_split();
    let answers = count_statuses(reading, Arc::clone(&attacker.tally), None);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {}\r\ncontent-type: {}\r\n\
         grpc-timeout: {}\r\ncontent-length: {}\r\n\r\n",
        args.path,
        args.token,
        content_type(args.protocol),
        args.timeout,
        body.len() + 1
    );
    let writing = async {
        attacker.send(&mut writing, head.as_bytes()).await?;
        attacker.sent(1);
        attacker.send(&mut writing, body).await?;
        std::future::pending::<io::Result<()>>().await
    };
    let ended = tokio::select! {
        ended = writing => ended,
        () = answers => Err(io::ErrorKind::UnexpectedEof.into()),
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}
