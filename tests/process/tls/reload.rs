//! Certificates that are replaced while in use.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyward::proto::v1::ListApiKeysRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use tonic::transport::Channel;

use crate::support::certificates::{Client, Good, Secured};
use crate::support::client::called_by;
use crate::support::frames::{answer, get};
use crate::support::program::Running;

const IN_USE: &str = "have changed, and are in use";
const UNFIT: &str = "failed to load changed TLS files";

/// Returns the certificate that a new connection receives.
fn shown(client: &Client, address: &str) -> CertificateDer<'static> {
    let stream = client.stream(address).unwrap();
    stream.conn.peer_certificates().unwrap()[0].clone()
}

/// Requests a reload of the files, and waits until the text was logged this number of times.
fn read_anew(running: &Running, text: &str, times: usize) {
    running.signal(Signal::HUP);
    wait_for(running, text, times);
}

fn wait_for(running: &Running, text: &str, times: usize) {
    let found = running
        .stderr
        .find(|printed| (printed.matches(text).count() >= times).then_some(()));
    assert!(found.is_some(), "{}", running.stderr.so_far());
}

/// Calls until it is stopped, and counts.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Vec<(&'static str, Arc<AtomicUsize>, std::thread::JoinHandle<()>)>,
}

impl Load {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            calls: Vec::new(),
        }
    }

    /// Adds a caller in a separate thread, so that each continues while others wait.
    fn add(&mut self, name: &'static str, mut call: impl FnMut() + Send + 'static) {
        let (stop, count) = (Arc::clone(&self.stop), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                call();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        self.calls.push((name, count, thread));
    }

    /// Waits until every caller has called again.
    fn all_have_called(&self) {
        let counts = || self.calls.iter().map(|call| call.1.load(Ordering::Relaxed));
        let before: Vec<_> = counts().collect();
        while counts().zip(&before).any(|(now, before)| now < before + 2) {
            let ended = self.calls.iter().find(|call| call.2.is_finished());
            assert!(ended.is_none(), "a call failed: {:?}", ended.map(|it| it.0));
            std::thread::yield_now();
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for (name, _, thread) in self.calls {
            assert!(thread.join().is_ok(), "a call failed: {name}");
        }
    }
}

async fn list(channel: Channel, token: &str, workspace: &str) {
    let list = ListApiKeysRequest {
        workspace_id: workspace.to_owned(),
        ..Default::default()
    };
    let listed = ApiKeyServiceClient::new(channel)
        .list_api_keys(called_by(token, list))
        .await;
    assert!(listed.unwrap().into_inner().success);
}

fn load(secured: &Secured) -> Load {
    let address = secured.served.address().to_owned();
    let client = secured.client();
    let mut load = Load::new();
    // Two connections that stay open from the first request to the last one. If the server closed them, a
    // request on the first would fail, and the second would reconnect, which is counted.
    let mut kept = client
        .clone()
        .with_alpn(&["http/1.1"])
        .stream(&address)
        .unwrap();
    load.add("HTTP/1.1, kept", move || {
        std::io::Write::write_all(&mut kept, get("/readyz").as_bytes()).unwrap();
        let (head, _) = answer(&mut kept);
        assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"));
    });
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let env = (
        secured.deployment.env["ADMIN_TOKEN"].to_owned(),
        secured.deployment.env["WORKSPACE_A"].to_owned(),
    );
    let kept = runtime().unwrap();
    let channel = {
        let _entered = kept.enter();
        client.channel(&address)
    };
    let (token, workspace) = env.clone();
    load.add("gRPC, kept", move || {
        kept.block_on(list(channel.clone(), &token, &workspace));
    });
    let new = runtime().unwrap();
    let (grpc, to) = (client.clone(), address.clone());
    let (token, workspace) = env;
    load.add("gRPC, new", move || {
        new.block_on(async { list(grpc.channel(&to), &token, &workspace).await });
    });
    let client = client.with_alpn(&["http/1.1"]);
    load.add("HTTP/1.1, new", move || {
        let mut stream = client.stream(&address).unwrap();
        std::io::Write::write_all(&mut stream, get("/readyz").as_bytes()).unwrap();
        assert!(answer(&mut stream).0.starts_with("http/1.1 200"));
    });
    load
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_certificates_are_replaced() {
    let secured = Secured::start_with(|program, _| {
        let program = program.env("KEYWARD_SERVER__TLS__RELOAD_INTERVAL_MS", "3600000");
        // Callers that reconnect for each request, as fast as they can.
        program.env(
            "KEYWARD_SERVER__NEW_CONNECTIONS_PER_ADDRESS_PER_SECOND",
            "0",
        )
    })
    .await;
    let address = secured.served.address();
    let running = &secured.served.running;
    let client = secured.client();
    let load = load(&secured);
    let mut unfit = 0;
    for number in 1..=25 {
        let pair = secured.authority.server(Good::Now);
        if number % 5 == 0 {
            // A mismatched pair, half a file, and an expired certificate.
            let before = shown(&client, address);
            let mut mixed = pair.clone();
            mixed.key = secured.authority.server(Good::Now).key;
            let mut half = pair.clone();
            half.certificate.truncate(100);
            for broken in [mixed, half, secured.authority.server(Good::InThePast)] {
                secured.files.write(&broken);
                unfit += 1;
                read_anew(running, UNFIT, unfit);
                assert_eq!(shown(&client, address), before);
            }
        }
        secured.files.write(&pair);
        read_anew(running, IN_USE, number);
        assert_eq!(shown(&client, address), pair.der());
        load.all_have_called();
    }
    load.stop();
    let printed = secured.served.running.terminate().expect(0);
    for named in [
        "`server.tls.key_file` is not the key",
        "`server.tls.cert_file` holds no certificate",
        "`server.tls.cert_file` has expired",
    ] {
        assert!(printed.contains(named), "{named}: {printed}");
    }
    assert!(!printed.contains(secured.files.directory().to_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_are_noticed_however_they_change() {
    let secured = Secured::start_with(|program, files| {
        // As Kubernetes lays out a volume: the files are links through a link to a directory.
        for name in ["tls.crt", "tls.key"] {
            fs::create_dir_all(files.path("..1")).unwrap();
            fs::rename(files.path(name), files.path("..1").join(name)).unwrap();
            symlink(format!("..data/{name}"), files.path(name)).unwrap();
        }
        symlink("..1", files.path("..data")).unwrap();
        program.env("KEYWARD_SERVER__TLS__RELOAD_INTERVAL_MS", "50")
    })
    .await;
    let running = &secured.served.running;
    let client = secured.client();
    let next = secured.authority.server(Good::Now);
    let there = secured.files.path("..2");
    fs::create_dir(&there).unwrap();
    for (name, text) in [("tls.crt", &next.certificate), ("tls.key", &next.key)] {
        secured.files.put("new", text);
        fs::rename(secured.files.path("new"), there.join(name)).unwrap();
    }
    symlink("..2", secured.files.path("..data_tmp")).unwrap();
    fs::rename(
        secured.files.path("..data_tmp"),
        secured.files.path("..data"),
    )
    .unwrap();
    wait_for(running, IN_USE, 1);
    assert_eq!(shown(&client, secured.served.address()), next.der());
    // An unusable pair is logged once, not on every check.
    let unfit = secured.authority.server(Good::Now);
    secured.files.put("new", &unfit.key);
    fs::rename(secured.files.path("new"), there.join("tls.key")).unwrap();
    wait_for(running, UNFIT, 1);
    secured.files.put("new", &unfit.certificate);
    fs::rename(secured.files.path("new"), there.join("tls.crt")).unwrap();
    wait_for(running, IN_USE, 2);
    let said = running.stderr.so_far().matches(UNFIT).count();
    assert_eq!(said, 1);
    assert_eq!(shown(&client, secured.served.address()), unfit.der());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_the_signal_changes_nothing() {
    let deployment = crate::support::deployment::Deployment::sqlite().await;
    let served = deployment.start();
    served.running.signal(Signal::HUP);
    // It is handled before signals that are sent later.
    served.running.terminate().expect(0);
    let secured = Secured::start().await;
    secured.served.running.signal(Signal::HUP);
    secured.served.running.stderr.wait_for("have not changed");
}
