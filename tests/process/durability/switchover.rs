//! A real primary and its hot standby switch roles behind a fixed address.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::{
    CreateKeyRequest, DeleteKeyRequest, KeyVerdict, RecordUsageRequest, VerifyKeyRequest,
};
use keyward_testkit::TestDatabase;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::client::{Answer, Rest, called_by, channel};
use crate::support::deployment::{Deployment, Served};

/// Time within which a server starts, or a replica is served again, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two PostgreSQL servers in a directory; both are stopped on drop.
struct Pair {
    directory: TempDir,
    binaries: PathBuf,
    ports: [u16; 2],
}

const NAMES: [&str; 2] = ["a", "b"];

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.map(|it| it.unwrap().path().join("bin")).collect();
    found.retain(|path| path.join("pg_basebackup").exists());
    found.sort();
    found.pop()
}

impl Pair {
    /// Starts a primary, and a hot standby that follows it.
    fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is not installed"
            );
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        // A socket path is limited to about 100 bytes.
        let directory = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let pair = Self {
            directory,
            binaries,
            ports: [free_port(), free_port()],
        };
        if rustix::process::getuid().is_root() {
            let owner = ["postgres", pair.directory.path().to_str().unwrap()];
            assert!(
                Command::new("chown")
                    .args(owner)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let data = pair.data(0);
        let data = data.to_str().unwrap();
        pair.run(
            "initdb",
            &[
                "--pgdata",
                data,
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
            ],
        );
        pair.serve(0);
        let port = pair.ports[0].to_string();
        let standby = pair.data(1);
        pair.run(
            "pg_basebackup",
            &[
                "--pgdata",
                standby.to_str().unwrap(),
                "--host=127.0.0.1",
                "--port",
                &port,
                "--username=postgres",
                "--write-recovery-conf",
                "--checkpoint=fast",
            ],
        );
        pair.serve(1);
        Some(pair)
    }

    fn data(&self, server: usize) -> PathBuf {
        self.directory.path().join(NAMES[server])
    }

    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        let mut command = match rustix::process::getuid().is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
                command.arg(program);
                command
            }
            false => Command::new(program),
        };
        command.current_dir(self.directory.path());
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        output
    }

    fn serve(&self, server: usize) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={}",
            self.ports[server],
            self.directory.path().display()
        );
        let log = self.directory.path().join(format!("{}.log", NAMES[server]));
        // Its output must not keep the pipe of `output` open.
        let status = self
            .command("pg_ctl")
            .arg("--pgdata")
            .arg(self.data(server))
            .arg("--log")
            .arg(log)
            .args(["--wait", "--silent", "--options", &options, "start"])
            .status();
        assert!(status.unwrap().success());
    }

    fn stop(&self, server: usize) {
        let data = self.data(server);
        let data = data.to_str().unwrap();
        self.run(
            "pg_ctl",
            &["--pgdata", data, "--mode=fast", "--wait", "stop"],
        );
    }

    fn sql(&self, server: usize, sql: &str) -> String {
        let port = self.ports[server].to_string();
        let arguments = [
            "--host=127.0.0.1",
            "--port",
            &port,
            "--username=postgres",
            "--no-align",
            "--tuples-only",
            "--command",
            sql,
        ];
        let output = self.run("psql", &arguments);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Promotes the standby, and restarts the old primary as a standby of it.
    fn switch(&self) {
        self.stop(0);
        let data = self.data(1);
        self.run(
            "pg_ctl",
            &["--pgdata", data.to_str().unwrap(), "--wait", "promote"],
        );
        let follow = format!("host=127.0.0.1 port={} user=postgres", self.ports[1]);
        let conf = self.data(0).join("postgresql.auto.conf");
        let text = format!(
            "{}primary_conninfo = '{follow}'\nrecovery_target_timeline = 'latest'\n",
            std::fs::read_to_string(&conf).unwrap()
        );
        std::fs::write(&conf, text).unwrap();
        let signal = self.data(0).join("standby.signal");
        std::fs::write(&signal, "").unwrap();
        if rustix::process::getuid().is_root() {
            let owner = ["postgres", signal.to_str().unwrap()];
            assert!(
                Command::new("chown")
                    .args(owner)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        self.serve(0);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for server in [0, 1] {
            let mut stop = self.command("pg_ctl");
            stop.arg("--pgdata").arg(self.data(server));
            let _ = stop.args(["--mode=immediate", "--wait", "stop"]).output();
        }
    }
}

/// Returns an address behind which the server changes. Connections keep their server.
async fn address(target: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let target = target.load(Ordering::SeqCst);
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    port
}

/// Requests of a service and of an administrator.
struct Clients {
    keys: ManagementKeyServiceClient<Channel>,
    service: String,
    management: String,
    rest: Rest,
}

impl Clients {
    async fn to(served: &Served, deployment: &Deployment) -> Self {
        Self {
            keys: ManagementKeyServiceClient::new(channel(&served.url).await),
            service: deployment.env["SERVICE_TOKEN"].to_owned(),
            management: deployment.env["MANAGEMENT_KEY"].to_owned(),
            rest: Rest::new(&served.url),
        }
    }

    /// Creates a key; returns its hash and its plaintext.
    async fn create(&self) -> Result<(String, String), Status> {
        let message = CreateKeyRequest {
            name: "a key".to_owned(),
            ..Default::default()
        };
        let request = called_by(&self.management, message);
        let created = self.keys.clone().create_key(request).await?.into_inner();
        Ok((created.data.unwrap().hash, created.key))
    }

    async fn delete(&self, hash: &str) -> Result<(), Status> {
        let message = DeleteKeyRequest {
            hash: hash.to_owned(),
        };
        let request = called_by(&self.management, message);
        self.keys.clone().delete_key(request).await.map(drop)
    }

    async fn verify(&self, token: &str) -> Result<KeyVerdict, Status> {
        let message = VerifyKeyRequest {
            token: token.to_owned(),
            ..Default::default()
        };
        let request = called_by(&self.service, message);
        let verified = self.keys.clone().verify_key(request).await?.into_inner();
        Ok(verified.verdict())
    }

    async fn record(&self, hash: &str, request_id: &str) -> Result<(), Status> {
        let message = RecordUsageRequest {
            hash: hash.to_owned(),
            request_id: request_id.to_owned(),
            cost_nanos: 1,
            byok: false,
            occurred_at: None,
        };
        let request = called_by(&self.service, message);
        self.keys.clone().record_usage(request).await.map(drop)
    }

    async fn is_ready(&self) -> bool {
        let asked = Instant::now();
        let answer = Answer::of(self.rest.request(Method::GET, "/readyz")).await;
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
        answer.status == 200
    }

    /// Expects that a server that accepts no writes rejects every request, and without delay.
    async fn expect_unavailable(&self, hash: &str, token: &str) {
        // A verdict from memory ends after `cache.max_staleness_ms`.
        let started = Instant::now();
        while self.verify(token).await.is_ok() {
            assert!(started.elapsed() < Duration::from_secs(4), "it verifies");
        }
        for _ in 0..20 {
            let asked = Instant::now();
            let rejected = self.record(hash, "refused").await.unwrap_err();
            assert_eq!(rejected.code(), Code::Unavailable, "{rejected:?}");
            let rejected = self.verify(token).await.unwrap_err();
            assert_eq!(rejected.code(), Code::Unavailable, "{rejected:?}");
            assert!(
                asked.elapsed() < Duration::from_secs(4),
                "{:?}",
                asked.elapsed()
            );
        }
        // The cached readiness of a second ago expires.
        let started = Instant::now();
        while self.is_ready().await {
            assert!(started.elapsed() < Duration::from_secs(3), "it is ready");
        }
    }
}

fn database_url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

#[tokio::test(flavor = "multi_thread")]
async fn switchover_is_followed_without_a_restart() {
    let Some(pair) = Pair::start() else { return };
    let target = Arc::new(AtomicU16::new(pair.ports[0]));
    let port = address(target.clone()).await;
    let deployment = Deployment::new(TestDatabase::at(&database_url(port))).await;
    let served = deployment.start();
    let clients = Clients::to(&served, &deployment).await;
    let (hash, token) = clients.create().await.unwrap();
    assert_eq!(clients.verify(&token).await.unwrap(), KeyVerdict::Valid);
    let warm = (0..32).map(|number| {
        let (clients, hash) = (&clients, &hash);
        async move {
            clients
                .record(hash, &format!("warm-{number}"))
                .await
                .unwrap()
        }
    });
    futures_util::future::join_all(warm).await;
    assert!(clients.is_ready().await);

    // The primary is fenced, and keeps its connections.
    pair.sql(0, "ALTER SYSTEM SET default_transaction_read_only = on");
    pair.sql(0, "SELECT pg_reload_conf()");
    until_fenced(&pair).await;
    clients.expect_unavailable(&hash, &token).await;

    // It restarts as a standby, at the same address for now.
    pair.switch();
    assert_eq!(pair.sql(0, "SELECT pg_is_in_recovery()"), "t");
    clients.expect_unavailable(&hash, &token).await;
    assert_rejected(&deployment).await;
    // A client of the new primary deletes the key.
    let sql = format!(
        "DELETE FROM charges; DELETE FROM daily_usage; DELETE FROM issued_keys WHERE hash = '{hash}'"
    );
    pair.sql(1, &sql);
    let deleted = token;

    target.store(pair.ports[1], Ordering::SeqCst);
    let switched = Instant::now();
    let (hash, token) = loop {
        match clients.create().await {
            Ok(created) => break created,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        assert!(switched.elapsed() < PATIENCE);
    };
    println!("{:?} until served by the new primary", switched.elapsed());
    assert!(switched.elapsed() < Duration::from_secs(5));
    let all = (0..32).map(|number| {
        let (clients, hash) = (&clients, &hash);
        async move {
            clients
                .record(hash, &format!("after-{number}"))
                .await
                .unwrap()
        }
    });
    futures_util::future::join_all(all).await;
    assert_eq!(clients.verify(&token).await.unwrap(), KeyVerdict::Valid);
    assert!(clients.is_ready().await);
    assert_eq!(
        clients.verify(&deleted).await.unwrap(),
        KeyVerdict::NotFound
    );
    clients.delete(&hash).await.unwrap();
    assert_eq!(clients.verify(&token).await.unwrap(), KeyVerdict::NotFound);

    // A missing server is unavailable at once.
    pair.stop(1);
    clients.expect_unavailable(&hash, &token).await;
    let asked = Instant::now();
    clients.record(&hash, "refused").await.unwrap_err();
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    pair.serve(1);
    let started = Instant::now();
    while clients.create().await.is_err() {
        assert!(started.elapsed() < PATIENCE);
    }
    drop(served.running.terminate().expect(0));
}

/// `serve` does not start on a standby, and reports the reason.
async fn assert_rejected(deployment: &Deployment) {
    let said = deployment.command("serve").run().expect(69);
    assert!(said.contains("read-only"), "{said}");
}

async fn until_fenced(pair: &Pair) {
    until(|| pair.sql(0, "SHOW default_transaction_read_only") == "on").await;
}

async fn until(holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
}
