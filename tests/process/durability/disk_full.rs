//! A disk that becomes full at random moments under mixed load, and then has space again: no acknowledged
//! write is lost, the server is not ready meanwhile, and serves again without a restart.
//!
//! `KEYWARD_TEST_DISK_ROUNDS` sets the number of rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use keyward::proto::v1::RecordUsageRequest;
use keyward_testkit::TestDatabase;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tonic::Code;

use tokio::sync::Notify;

use crate::durability::kill::check_integrity;
use crate::durability::kill_ledger::Stored;
use crate::support::client::{Answer, Rest};
use crate::support::deployment::{Deployment, Served};
use crate::support::program::Program;
use crate::support::random::{Random, seed};
use crate::support::spending::Meter;

const DEFAULT_ROUNDS: usize = 4;
const SPENDERS: usize = 4;
const CREATORS: usize = 2;
const KEYS: usize = 3;
const DISK_MIB: u64 = 160;
/// Time after which a round fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// The storage that becomes full.
enum Disk {
    /// A separate file system, which needs root.
    Mounted(PathBuf),
    /// A limit on the size of the server's files.
    Limited,
}

impl Disk {
    fn on(directory: &Path) -> Self {
        let size = format!("size={DISK_MIB}m");
        let mount = [
            "-t",
            "tmpfs",
            "-o",
            &size,
            "tmpfs",
            directory.to_str().unwrap(),
        ];
        let is_root = rustix::process::getuid().is_root();
        match is_root && Program::other("mount", mount).run().code() == Some(0) {
            true => Self::Mounted(directory.to_owned()),
            false => Self::Limited,
        }
    }

    fn start(&self, deployment: &Deployment) -> Served {
        match self {
            Self::Mounted(_) => deployment.start(),
            // A write beyond the limit is an error only if its signal is ignored.
            Self::Limited => Served::of(Program::bash(&format!(
                "trap '' XFSZ; exec '{}' serve --config '{}'",
                env!("CARGO_BIN_EXE_keyward"),
                deployment.config().display()
            ))),
        }
    }

    fn fill(&self, served: &Served) {
        match self {
            Self::Mounted(directory) => {
                let mut ballast = File::create(directory.join("ballast")).unwrap();
                for chunk in [1 << 20, 1 << 12] {
                    let chunk = vec![0; chunk];
                    while ballast.write_all(&chunk).is_ok() {}
                }
            }
            // Below the current size of the write-ahead log.
            Self::Limited => limit(served, Some(16 * 1024)),
        }
    }

    fn clear(&self, served: &Served) {
        match self {
            Self::Mounted(directory) => std::fs::remove_file(directory.join("ballast")).unwrap(),
            Self::Limited => limit(served, None),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(directory) = self {
            Program::other("umount", ["--lazy", directory.to_str().unwrap()]).run();
            let _ = std::fs::remove_dir(directory);
        }
    }
}

fn limit(served: &Served, bytes: Option<u64>) {
    let pid: Pid = served.running.pid();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(pid), Resource::Fsize, limit).unwrap();
}

/// State shared by all callers of a round.
#[derive(Default)]
struct Load {
    ends: AtomicBool,
    successes: AtomicUsize,
    failures: AtomicUsize,
    not_ready: AtomicUsize,
    /// Notified of each change of a count.
    counted: Notify,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::SeqCst)
    }

    fn count(&self, is_success: bool) {
        let counter = if is_success {
            &self.successes
        } else {
            &self.failures
        };
        counter.fetch_add(1, Ordering::SeqCst);
        self.counted.notify_waiters();
    }

    /// Waits until a counter has grown by this number.
    async fn grown(&self, counter: &AtomicUsize, by: usize) {
        let before = counter.load(Ordering::SeqCst);
        let growing = async {
            loop {
                let counted = self.counted.notified();
                if counter.load(Ordering::SeqCst) >= before + by {
                    return;
                }
                counted.await;
            }
        };
        let grown = tokio::time::timeout(PATIENCE, growing).await;
        assert!(grown.is_ok(), "waited in vain");
    }
}

fn charge(hash: &str, request_id: &str, cost_nanos: i64) -> RecordUsageRequest {
    RecordUsageRequest {
        hash: hash.to_owned(),
        request_id: request_id.to_owned(),
        cost_nanos,
        byok: false,
        occurred_at: None,
    }
}

/// Records charges; returns all charges sent, each with true if it was acknowledged.
async fn spend(
    load: Arc<Load>,
    meter: Meter,
    hashes: Vec<String>,
    name: String,
) -> Vec<(RecordUsageRequest, bool)> {
    let mut sent = Vec::new();
    for number in 0_usize.. {
        if !load.goes_on() {
            break;
        }
        let hash = &hashes[number % hashes.len()];
        let charge = charge(hash, &format!("{name}-{number}"), 1 + number as i64 % 7);
        let answer = meter.record(charge.clone()).await;
        if let Err(status) = &answer {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
        load.count(answer.is_ok());
        sent.push((charge, answer.is_ok()));
    }
    sent
}

/// Creates provider keys, each twice, so that the second is rejected; returns the acknowledged keys.
async fn create(
    load: Arc<Load>,
    rest: Rest,
    token: String,
    workspace: String,
    name: String,
) -> Vec<(String, String)> {
    let mut created = Vec::new();
    for number in 0.. {
        if !load.goes_on() {
            break;
        }
        let key = format!("{name}-{number}");
        let answer = rest.create(&token, &workspace, &key, "a secret").await;
        assert!([201, 503].contains(&answer.status), "{answer:?}");
        load.count(answer.status == 201);
        if answer.status == 201 {
            let id = answer.json()["apiKeyId"].as_str().unwrap().to_owned();
            created.push((id, key.clone()));
            let again = rest.create(&token, &workspace, &key, "a secret").await;
            assert!([400, 503].contains(&again.status), "{again:?}");
        }
    }
    created
}

/// Polls readiness; returns the longest time of a response.
async fn probe(load: Arc<Load>, rest: Rest) -> Duration {
    let mut longest = Duration::ZERO;
    let mut turns = tokio::time::interval(PROBE_INTERVAL);
    while load.goes_on() {
        turns.tick().await;
        let asked = Instant::now();
        let answer = Answer::of(rest.request(Method::GET, "/readyz")).await;
        longest = longest.max(asked.elapsed());
        if answer.status != 200 {
            load.not_ready.fetch_add(1, Ordering::SeqCst);
            load.counted.notify_waiters();
        }
    }
    longest
}

#[derive(Default)]
struct Books {
    charges: BTreeMap<(String, String), i64>,
    created: BTreeMap<String, String>,
    unacknowledged: usize,
    longest_probe: Duration,
    longest_recovery: Duration,
}

async fn ready(rest: &Rest) -> bool {
    Answer::of(rest.request(Method::GET, "/readyz"))
        .await
        .status
        == 200
}

async fn round(
    deployment: &Deployment,
    disk: &Disk,
    hashes: &[String],
    number: usize,
    random: &mut Random,
    books: &mut Books,
) {
    let served = disk.start(deployment);
    let (rest, load) = (Rest::new(&served.url), Arc::new(Load::default()));
    let (token, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    let mut spending = Vec::new();
    for spender in 0..SPENDERS {
        let meter = Meter::new(&served.url, &deployment.env).await;
        let name = format!("{number}-{spender}");
        spending.push(tokio::spawn(spend(
            load.clone(),
            meter,
            hashes.to_vec(),
            name,
        )));
    }
    let mut creating = Vec::new();
    for creator in 0..CREATORS {
        let (token, workspace) = (token.to_owned(), workspace.to_owned());
        let name = format!("{number}-{creator}");
        creating.push(tokio::spawn(create(
            load.clone(),
            rest.clone(),
            token,
            workspace,
            name,
        )));
    }
    let probing = tokio::spawn(probe(load.clone(), rest.clone()));

    load.grown(&load.successes, 5 + random.below(40) as usize)
        .await;
    let filled_at = load.not_ready.load(Ordering::SeqCst);
    disk.fill(&served);
    load.grown(&load.failures, 5 + random.below(40) as usize)
        .await;
    while load.not_ready.load(Ordering::SeqCst) == filled_at {
        load.grown(&load.failures, 1).await;
    }
    disk.clear(&served);
    let cleared = Instant::now();
    // Every caller is served again, on all connections.
    load.grown(&load.successes, 40).await;
    while !ready(&rest).await {
        assert!(cleared.elapsed() < PATIENCE, "it does not become ready");
    }
    books.longest_recovery = books.longest_recovery.max(cleared.elapsed());
    load.ends.store(true, Ordering::SeqCst);

    let meter = Meter::new(&served.url, &deployment.env).await;
    for spending in spending {
        for (charge, acknowledged) in spending.await.unwrap() {
            if !acknowledged {
                books.unacknowledged += 1;
                meter.record(charge.clone()).await.unwrap();
            }
            let name = (charge.hash, charge.request_id);
            assert!(books.charges.insert(name, charge.cost_nanos).is_none());
        }
    }
    for creating in creating {
        books.created.extend(creating.await.unwrap());
    }
    books.longest_probe = books.longest_probe.max(probing.await.unwrap());
    match random.below(2) {
        0 => served.running.kill(),
        _ => drop(served.running.terminate().expect(0)),
    }
}

/// Restarts the server, and compares its data with the acknowledged writes.
async fn check(deployment: &Deployment, disk: &Disk, books: &Books) {
    let served = disk.start(deployment);
    let rest = Rest::new(&served.url);
    let listed = rest.list(
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    let listed: BTreeMap<_, _> = listed.await.into_iter().collect();
    for (id, key) in &books.created {
        assert_eq!(listed.get(id), Some(key), "an acknowledged key is lost");
    }
    let names: BTreeSet<_> = listed.values().collect();
    assert_eq!(names.len(), listed.len(), "a key is there twice");
    let meter = Meter::new(&served.url, &deployment.env).await;
    let mut sums = BTreeMap::<_, i64>::new();
    for ((hash, _), cost) in &books.charges {
        *sums.entry(hash).or_default() += cost;
    }
    for (hash, sum) in sums {
        assert_eq!(
            meter.key(hash).await.usage_nanos,
            sum,
            "the books of {hash}"
        );
    }
    drop(served.running.terminate().expect(0));
    let stored = Stored::read(deployment.database.url()).await;
    stored.check_sums();
    let stored: BTreeMap<_, _> = stored.charges.into_iter().collect();
    let amounts: BTreeMap<_, _> = stored.into_iter().map(|(name, it)| (name, it.0)).collect();
    assert_eq!(amounts, books.charges);
    check_integrity(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_loses_no_acknowledged_write() {
    let rounds = match std::env::var("KEYWARD_TEST_DISK_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => DEFAULT_ROUNDS,
    };
    let mut random = Random(seed());
    let database = TestDatabase::sqlite();
    let disk = Disk::on(database.file().parent().unwrap());
    let deployment = Deployment::new(database).await;
    let served = disk.start(&deployment);
    let meter = Meter::new(&served.url, &deployment.env).await;
    let mut hashes = Vec::new();
    for _ in 0..KEYS {
        hashes.push(meter.issue(None).await);
    }
    drop(served.running.terminate().expect(0));
    let mut books = Books::default();
    for number in 0..rounds {
        round(&deployment, &disk, &hashes, number, &mut random, &mut books).await;
        check(&deployment, &disk, &books).await;
    }
    println!(
        "{rounds} rounds: {} charges, {} of them acknowledged only when repeated, {} keys; longest probe \
         {:?}, longest until served again {:?}",
        books.charges.len(),
        books.unacknowledged,
        books.created.len(),
        books.longest_probe,
        books.longest_recovery
    );
    assert!(
        books.longest_probe < Duration::from_secs(1),
        "{:?}",
        books.longest_probe
    );
}
