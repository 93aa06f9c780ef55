//! HTTP/2 calls on one connection (RFC 9113): a bounded number of streams at a time, request bodies
//! within the server's flow-control windows, and response bodies that the client reads or leaves
//! unread.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::BufReader;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::Attacker;
use super::frames::{
    self, ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, Incoming,
    MAX_PAYLOAD, PING, SETTINGS, WINDOW_UPDATE,
};

/// Largest stream identifier that a connection uses before the client opens another connection.
const MAX_STREAM_ID: u32 = 1 << 30;
/// Response bytes that a client which reads its responses allows on a connection.
const READ_WINDOW_BYTES: u32 = 1 << 30;
/// Initial flow-control window of a stream and of a connection (RFC 9113, section 6.9.2), in bytes.
const DEFAULT_WINDOW_BYTES: i64 = 65_535;
/// Bytes that the client writes at once.
const MAX_WRITE_BYTES: usize = 64 * 1024;
/// Frames that wait between the reader and the writer of a connection.
const MAX_PENDING_FRAMES: usize = 1024;

/// One request.
pub(super) struct AttackCall {
    /// Header block, as [`frames::request`] encodes it.
    pub(super) block: Vec<u8>,
    /// Bytes of the body that the client sends.
    pub(super) body: Arc<[u8]>,
}

/// The calls of an attack.
pub(super) struct AttackCalls<F> {
    /// Creates the call with this number.
    pub(super) call: F,
    /// True if the client ends its requests. If not, the server waits for the rest of the body.
    pub(super) ends: bool,
    /// True if the client reads response bodies. If not, its windows are 0 bytes.
    pub(super) reads: bool,
    /// Calls in flight on a connection.
    pub(super) streams: usize,
    /// Maximum number of calls on a connection; after them it stays open.
    pub(super) most: u64,
}

impl<F: Fn(u64) -> AttackCall> AttackCalls<F> {
    /// Makes calls over one connection until either side ends it.
    ///
    /// # Errors
    ///
    /// The server ended the connection, or did not accept it.
    pub(super) async fn pour(&self, attacker: &Attacker) -> io::Result<()> {
        let stream = attacker.connect().await?;
        let since = Instant::now();
        let (reading, writing) = stream.into_split();
        let (sender, frames) = mpsc::channel(MAX_PENDING_FRAMES);
        let reader = forward(BufReader::new(reading), sender);
        let mut connection = Connection::new(attacker, writing);
        let ended = tokio::select! {
            ended = self.run(&mut connection, frames) => ended,
            ended = reader => ended,
        };
        attacker.ended(since, ended.is_err()).await;
        ended
    }

    async fn run(
        &self,
        connection: &mut Connection<'_>,
        mut incoming: mpsc::Receiver<Incoming>,
    ) -> io::Result<()> {
        let window = if self.reads { READ_WINDOW_BYTES } else { 0 };
        let mut opening = frames::opening(&[(INITIAL_WINDOW_SIZE, window)]);
        if self.reads {
            let more = READ_WINDOW_BYTES.to_be_bytes();
            frames::frame(&mut opening, WINDOW_UPDATE, 0, 0, &more);
        }
        connection
            .attacker
            .send(&mut connection.writing, &opening)
            .await?;
        while connection.attacker.goes_on() && connection.next_id < MAX_STREAM_ID {
            while let Ok(frame) = incoming.try_recv() {
                connection.take(&frame)?;
            }
            let out = connection.write(self);
            if out.is_empty() {
                match incoming.recv().await {
                    Some(frame) => connection.take(&frame)?,
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            } else {
                connection
                    .attacker
                    .send(&mut connection.writing, &out)
                    .await?;
            }
        }
        Ok(())
    }
}

/// Forwards frames until the connection ends.
async fn forward(
    mut reading: BufReader<OwnedReadHalf>,
    sender: mpsc::Sender<Incoming>,
) -> io::Result<()> {
    loop {
        let frame = frames::read(&mut reading).await?;
        if sender.send(frame).await.is_err() {
            return Ok(());
        }
    }
}

/// State of one connection.
struct Connection<'a> {
    attacker: &'a Attacker,
    writing: OwnedWriteHalf,
    next_id: u32,
    number: u64,
    /// Request bytes that the server accepts on the connection, and at first on a stream.
    window: i64,
    initial_window: i64,
    /// Streams in flight, each with the bytes that the server accepts on it.
    open: BTreeMap<u32, i64>,
    /// Bodies that are not completely sent.
    unsent: VecDeque<Unsent>,
    /// Frames in reply to the server's own.
    replies: Vec<u8>,
}

struct Unsent {
    id: u32,
    body: Arc<[u8]>,
    sent: usize,
}

impl<'a> Connection<'a> {
    fn new(attacker: &'a Attacker, writing: OwnedWriteHalf) -> Self {
        Self {
            attacker,
            writing,
            next_id: 1,
            number: 0,
            window: DEFAULT_WINDOW_BYTES,
            initial_window: DEFAULT_WINDOW_BYTES,
            open: BTreeMap::new(),
            unsent: VecDeque::new(),
            replies: Vec::new(),
        }
    }

    /// Handles a frame from the server.
    fn take(&mut self, frame: &Incoming) -> io::Result<()> {
        if let Some(name) = frame.name() {
            self.attacker.tally.answered(&name);
        }
        match frame.kind {
            GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
            PING if !frame.is_ack() => {
                frames::frame(&mut self.replies, PING, ACK, 0, &frame.payload)
            }
            SETTINGS if !frame.is_ack() => {
                if let Some(window) = frame.setting(INITIAL_WINDOW_SIZE) {
                    let more = i64::from(window) - self.initial_window;
                    self.initial_window += more;
                    self.open.values_mut().for_each(|window| *window += more);
                }
            }
            WINDOW_UPDATE => {
                let more = i64::from(frame.increment());
                match frame.stream {
                    0 => self.window += more,
                    id => {
                        if let Some(window) = self.open.get_mut(&id) {
                            *window += more;
                        }
                    }
                }
            }
            _ if frame.ends_stream() => {
                self.open.remove(&frame.stream);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the frames to send now: replies, new calls, and parts of bodies for which there is a
    /// window.
    fn write<F: Fn(u64) -> AttackCall>(&mut self, calls: &AttackCalls<F>) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.replies);
        let mut begun = 0;
        while self.open.len() < calls.streams
            && self.number < calls.most
            && out.len() < MAX_WRITE_BYTES
        {
            let call = (calls.call)(self.number);
            let id = self.next_id;
            let ended = if calls.ends && call.body.is_empty() {
                END_STREAM
            } else {
                0
            };
            frames::frame(&mut out, HEADERS, END_HEADERS | ended, id, &call.block);
            self.open.insert(id, self.initial_window);
            if !call.body.is_empty() {
                let body = call.body;
                self.unsent.push_back(Unsent { id, body, sent: 0 });
            }
            self.next_id += 2;
            self.number += 1;
            begun += 1;
        }
        self.attacker.sent(begun);
        for _ in 0..self.unsent.len() {
            let Some(mut unsent) = self.unsent.pop_front() else {
                break;
            };
            // A stream that the server ended accepts no more data.
            let Some(window) = self.open.get_mut(&unsent.id) else {
                continue;
            };
            let rest = unsent.body.len() - unsent.sent;
            let allowed = usize::try_from((*window).min(self.window)).unwrap_or(0);
            let part = rest.min(allowed).min(MAX_PAYLOAD);
            if part > 0 && out.len() < MAX_WRITE_BYTES {
                let flags = if calls.ends && part == rest {
                    END_STREAM
                } else {
                    0
                };
                let bytes = &unsent.body[unsent.sent..unsent.sent + part];
                frames::frame(&mut out, DATA, flags, unsent.id, bytes);
                unsent.sent += part;
                let part = i64::try_from(part).unwrap_or(0);
                *window -= part;
                self.window -= part;
            }
            if unsent.sent < unsent.body.len() {
                self.unsent.push_back(unsent);
            }
        }
        out
    }
}
