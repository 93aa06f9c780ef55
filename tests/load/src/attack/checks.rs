//! Calls of `grpc.health.v1`, which need no token, on stream after stream of one connection.

use std::io;
use std::time::Instant;

use tokio::io::BufReader;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Semaphore;

use super::Attacker;
use super::frames::{self, DATA, END_HEADERS, HEADERS, Incoming, WINDOW_UPDATE};

/// Number of streams in one write.
const BATCH: u32 = 10;
/// Maximum number of stream identifiers on one connection.
const MOST_STREAMS: u32 = 1 << 30;
/// Size by which the client extends the server's window on a connection, in bytes.
const MORE_BYTES: u32 = 1 << 30;

/// Content of the calls, and the condition for the next one.
pub(super) struct Checks<'a> {
    /// Header fields in addition to those of every call.
    pub(super) fields: &'a [(&'a str, &'a str)],
    /// Part of the message that is sent.
    pub(super) message: &'a [u8],
    /// Flags of its frame.
    pub(super) flags: u8,
    /// Number of streams in flight on one connection.
    pub(super) streams: usize,
    /// Returns true if a frame is the last of its stream.
    pub(super) is_over: fn(&Incoming) -> bool,
}

impl Checks<'_> {
    /// Sends calls until either side ends the connection. Each stream that ends frees a slot for
    /// another.
    pub(super) async fn pour(&self, attacker: &Attacker) -> io::Result<()> {
        let stream = attacker.connect().await?;
        let since = Instant::now();
        let (reading, mut writing) = stream.into_split();
        let free = Semaphore::new(self.streams);
        let mut fields = vec![("content-type", "application/grpc"), ("te", "trailers")];
        fields.extend_from_slice(self.fields);
        let block = frames::request("POST", "/grpc.health.v1.Health/Check", &fields);
        let calling = async {
            let mut begun = frames::opening(&[]);
            frames::frame(&mut begun, WINDOW_UPDATE, 0, 0, &MORE_BYTES.to_be_bytes());
            attacker.send(&mut writing, &begun).await?;
            let mut number = 0;
            while attacker.goes_on() && number + BATCH < MOST_STREAMS {
                let permits = free.acquire_many(BATCH).await;
                permits.map_err(io::Error::other)?.forget();
                let mut out = Vec::new();
                for _ in 0..BATCH {
                    let id = 2 * number + 1;
                    frames::frame(&mut out, HEADERS, END_HEADERS, id, &block);
                    frames::frame(&mut out, DATA, self.flags, id, self.message);
                    number += 1;
                }
                attacker.send(&mut writing, &out).await?;
                attacker.sent(u64::from(BATCH));
            }
            Ok(())
        };
        let ended = tokio::select! {
            ended = calling => ended,
            ended = self.listen(attacker, BufReader::new(reading), &free) => ended,
        };
        attacker.ended(since, ended.is_err()).await;
        ended
    }

    /// Reads frames until the connection ends.
    async fn listen(
        &self,
        attacker: &Attacker,
        mut reading: BufReader<OwnedReadHalf>,
        free: &Semaphore,
    ) -> io::Result<()> {
        loop {
            let frame = frames::read(&mut reading).await?;
            if let Some(name) = frame.name() {
                attacker.tally.answered(&name);
            }
            if (self.is_over)(&frame) {
                free.add_permits(1);
            }
        }
    }
}
