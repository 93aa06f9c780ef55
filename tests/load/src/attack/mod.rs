//! Attackers. Each runs for a bounded time over a bounded number of connections, from its own
//! addresses, and reports the server's reaction. They write raw bytes, since libraries do not send
//! such requests.

mod calls;
pub(crate) mod charges;
mod checks;
pub(crate) mod frames;
pub(crate) mod header_flood;
pub(crate) mod incomplete_message;
pub(crate) mod pipeline;
pub(crate) mod probe_flood;
pub(crate) mod rapid_reset;
pub(crate) mod slow_loris;
pub(crate) mod unknown_key_flood;
pub(crate) mod unknown_signers;
pub(crate) mod unread;
pub(crate) mod watches;
pub(crate) mod withheld;
pub(crate) mod zip_bomb;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::target::{Target, loopback};

/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Target, source addresses and duration of an attack.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AttackArgs {
    /// URL of the target, on a loopback address.
    #[arg(long, value_name = "URL")]
    url: Target,
    /// First source address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.2", value_parser = loopback)]
    from: Ipv4Addr,
    /// Number of source addresses.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    addresses: u8,
    /// Number of connections to hold.
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    connections: u32,
    /// Duration, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Maximum number of requests over all connections.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000_000)]
    count: u64,
    /// Pause after a connection that was rejected or ended at once, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20)]
    pause_ms: u64,
    /// Bandwidth of the attackers' link over all connections, in megabits per second.
    #[arg(long, value_name = "MEGABITS", default_value_t = 1000)]
    megabits: u32,
}

/// One attacker, with the state that all attackers share.
#[derive(Debug, Clone)]
pub(crate) struct Attacker {
    /// Number of the connection.
    pub(crate) number: u32,
    args: Arc<AttackArgs>,
    end: Instant,
    link: Arc<Link>,
    pub(crate) tally: Arc<Tally>,
}

/// Limits the attackers' bandwidth to that of a real link, since loopback is faster.
#[derive(Debug)]
struct Link {
    bits_per_second: f64,
    /// Time at which all data given to the link is sent.
    free: Mutex<Instant>,
}

impl Link {
    /// Waits until it is the turn of these bytes.
    async fn carry(&self, bytes: usize) {
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_second);
        let turn = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*free).max(Instant::now());
            *free = turn + takes;
            turn
        };
        tokio::time::sleep_until(turn.into()).await;
    }
}

/// Counts of the server's reactions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    begun: AtomicU64,
    /// Bytes written and accepted by the operating system.
    bytes: AtomicU64,
    connected: AtomicU64,
    not_connected: AtomicU64,
    ended_by_server: AtomicU64,
    longest_held_millis: AtomicU64,
    answers: Mutex<BTreeMap<String, u64>>,
}

impl Attacker {
    /// Returns true if the attack continues.
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < self.end && self.tally.begun.load(Ordering::Relaxed) < self.args.count
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.args.pause_ms.max(1))
    }

    /// Sends bytes at the rate of the attackers' link.
    pub(crate) async fn send(
        &self,
        writing: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        self.link.carry(bytes.len()).await;
        writing.write_all(bytes).await?;
        self.tally
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Counts this number of sent requests against the maximum.
    pub(crate) fn sent(&self, requests: u64) {
        self.tally.begun.fetch_add(requests, Ordering::Relaxed);
    }

    /// Connects from one of the attackers' addresses.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        self.connect_with(|_| Ok(())).await
    }

    /// Connects with additional socket options.
    pub(crate) async fn connect_with(
        &self,
        prepare: impl FnOnce(&TcpSocket) -> io::Result<()>,
    ) -> io::Result<TcpStream> {
        let attempt = async {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            prepare(&socket)?;
            let offset = self.number % u32::from(self.args.addresses.max(1));
            let from = Ipv4Addr::from(u32::from(self.args.from).wrapping_add(offset));
            socket.bind(SocketAddr::from((from, 0)))?;
            socket.connect(self.args.url.address()).await
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, attempt).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let (counter, pause) = match &connected {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                (&self.tally.connected, false)
            }
            Err(_) => (&self.tally.not_connected, true),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if pause {
            tokio::time::sleep(self.pause()).await;
        }
        connected
    }

    /// Records the duration of a connection, and the side that ended it.
    pub(crate) async fn ended(&self, since: Instant, by_server: bool) {
        let held = since.elapsed();
        let millis = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
        self.tally
            .longest_held_millis
            .fetch_max(millis, Ordering::Relaxed);
        if by_server {
            self.tally.ended_by_server.fetch_add(1, Ordering::Relaxed);
        }
        if held < self.pause() {
            tokio::time::sleep(self.pause()).await;
        }
    }
}

impl Tally {
    /// Counts a response or another reaction of the server.
    pub(crate) fn answered(&self, what: &str) {
        self.answered_times(what, 1);
    }

    /// Counts a reaction of the server several times.
    pub(crate) fn answered_times(&self, what: &str, times: u64) {
        if times > 0 {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            *answers.entry(what.to_owned()).or_default() += times;
        }
    }

    fn json(&self, took: Duration) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
            "requests": count(&self.begun),
            "bytes": count(&self.bytes),
            "connected": count(&self.connected),
            "not_connected": count(&self.not_connected),
            "ended_by_server": count(&self.ended_by_server),
            "longest_held_millis": count(&self.longest_held_millis),
            "answers": *answers,
        })
    }
}

/// Runs the attacker of each connection until the end, and returns the tally.
pub(crate) async fn storm<F>(args: &AttackArgs, work: impl Fn(Attacker) -> F) -> Value
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let end = began + Duration::from_secs(args.seconds);
    let tally = Arc::new(Tally::default());
    let link = Arc::new(Link {
        bits_per_second: f64::from(args.megabits.max(1)) * 1e6,
        free: Mutex::new(began),
    });
    let args = Arc::new(args.clone());
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..args.connections {
        attackers.spawn(tokio::time::timeout_at(
            end.into(),
            work(Attacker {
                number,
                args: Arc::clone(&args),
                end,
                link: Arc::clone(&link),
                tally: Arc::clone(&tally),
            }),
        ));
    }
    while attackers.join_next().await.is_some() {}
    tally.json(began.elapsed())
}

/// Reads HTTP/1.1 responses until the connection ends, and counts their statuses. Each response
/// returns a permit to the sender, which waits for one before its next batch.
pub(crate) async fn count_statuses(
    mut reading: OwnedReadHalf,
    tally: Arc<Tally>,
    unanswered: Option<&Semaphore>,
) {
    const LINE: &[u8] = b"HTTP/1.1 ";
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let Ok(read) = reading.read(&mut buffer[kept..]).await else {
            return;
        };
        let filled = kept + read;
        let mut statuses = BTreeMap::new();
        let mut from = 0;
        while let Some(at) = find(&buffer[from..filled], LINE) {
            let status = from + at + LINE.len();
            let Some(digits) = buffer[..filled].get(status..status + 3) else {
                from += at;
                break;
            };
            let digits = String::from_utf8_lossy(digits).into_owned();
            *statuses.entry(digits).or_insert(0) += 1;
            from = status + 3;
        }
        for (status, times) in statuses {
            tally.answered_times(&status, times);
            if let Some(unanswered) = unanswered {
                unanswered.add_permits(usize::try_from(times).unwrap_or_default());
            }
        }
        if read == 0 {
            return;
        }
        // The last bytes may be the beginning of a status line.
        let rest = from.max(filled.saturating_sub(LINE.len() + 2));
        buffer.copy_within(rest..filled, 0);
        kept = filled - rest;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // An `H` is rare in a response, which keeps the attacker's own work small.
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == wanted[0]) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
