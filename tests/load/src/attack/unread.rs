//! Unread responses: calls whose responses the client never reads. Over HTTP/2 its flow-control
//! window is 0 bytes; over HTTP/1.1 it pipelines requests and does not read.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::calls::{AttackCall, AttackCalls};
use super::{AttackArgs, Attacker, storm};
use crate::Outcome;
use crate::attack::frames;

/// Receive buffer of an HTTP/1.1 client that does not read, in bytes.
const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// Time between two attempts to send on an HTTP/1.1 connection that is not read.
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct UnreadArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Path to call.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/grpc.health.v1.Health/Check"
    )]
    path: String,
    /// Protocol to call over.
    #[arg(long, value_enum, default_value = "grpc")]
    protocol: Protocol,
    /// Number of calls in flight on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    streams: usize,
    /// Token to send, if any.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Protocol of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// gRPC over HTTP/2, with an empty message.
    Grpc,
    /// gRPC-Web over HTTP/1.1, with an empty message.
    GrpcWeb,
    /// GET over HTTP/2.
    Http2,
    /// GET over HTTP/1.1.
    Http1,
}

pub(crate) async fn run(args: UnreadArgs) -> Outcome<Value> {
    let attack = args.attack.clone();
    let args = Arc::new(args);
    Ok(storm(&attack, |attacker| {
        let args = Arc::clone(&args);
        async move {
            while attacker.goes_on() {
                let _ = match args.protocol {
                    Protocol::Grpc | Protocol::Http2 => over_http2(&attacker, &args).await,
                    Protocol::GrpcWeb | Protocol::Http1 => over_http1(&attacker, &args).await,
                };
            }
        }
    })
    .await)
}

async fn over_http2(attacker: &Attacker, args: &UnreadArgs) -> io::Result<()> {
    let bearer = args.token.as_ref().map(|token| format!("Bearer {token}"));
    let mut fields: Vec<(&str, &str)> = Vec::new();
    if let Some(bearer) = &bearer {
        fields.push(("authorization", bearer));
    }
    let is_grpc = args.protocol == Protocol::Grpc;
    let (method, body): (_, Arc<[u8]>) = if is_grpc {
        fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
        ("POST", Arc::new([0; 5]))
    } else {
        ("GET", Arc::new([]))
    };
    let block = frames::request(method, &args.path, &fields);
    let calls = AttackCalls {
        call: |_| AttackCall {
            block: block.clone(),
            body: Arc::clone(&body),
        },
        ends: true,
        reads: false,
        streams: args.streams,
        most: u64::MAX,
    };
    calls.pour(attacker).await
}

async fn over_http1(attacker: &Attacker, args: &UnreadArgs) -> io::Result<()> {
    let small = |socket: &tokio::net::TcpSocket| socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let mut stream = attacker.connect_with(small).await?;
    let since = Instant::now();
    let authorization = args.token.as_ref();
    let authorization = authorization.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let (path, host) = (&args.path, "host: keyward.test\r\n");
    let request = if args.protocol == Protocol::GrpcWeb {
        format!(
            "POST {path} HTTP/1.1\r\n{host}{authorization}content-type: application/grpc-web+proto\r\n\
             content-length: 5\r\n\r\n\0\0\0\0\0"
        )
    } else {
        format!("GET {path} HTTP/1.1\r\n{host}{authorization}\r\n")
    };
    let sending = async {
        let requests = request.repeat(args.streams);
        attacker.send(&mut stream, requests.as_bytes()).await?;
        attacker.sent(args.streams as u64);
        loop {
            tokio::time::sleep(PERIOD).await;
            // A write to a connection that the server closed fails. A connection with unread
            // responses accepts no bytes.
            let written = tokio::time::timeout(PERIOD, stream.write(request.as_bytes())).await;
            if let Ok(written) = written {
                written?;
            }
        }
    };
    let ended: io::Result<()> = sending.await;
    attacker.ended(since, ended.is_err()).await;
    ended
}
