//! TLS on every protocol, and rejected versions and protocols.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::Method;
use keyward::proto::v1::ListApiKeysRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::certificates::{Authority, Files, Good, Secured, serve};
use crate::support::client::called_by;
use crate::support::deployment::{Deployment, Served};
use crate::support::frames::{answer, connect, get, rest};
use crate::support::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_is_served_over_tls() {
    let secured = Secured::start().await;
    let token = &secured.deployment.env["ADMIN_TOKEN"];
    let workspace = &secured.deployment.env["WORKSPACE_A"];
    let list = ListApiKeysRequest {
        workspace_id: workspace.to_owned(),
        ..Default::default()
    };
    for (http2, version) in [
        (false, http::Version::HTTP_11),
        (true, http::Version::HTTP_2),
    ] {
        let client = secured.client().rest(http2);
        let url = format!("{}/apikeys?workspaceId={workspace}", secured.url());
        let response = client.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.version()),
            (200, version)
        );
        // The header makes browsers use TLS alone; over plain HTTP it would have no effect.
        assert!(response.headers().contains_key("strict-transport-security"));
        let url = format!("{}/keyward.v1.ApiKeyService/ListApiKeys", secured.url());
        let request = client.request(Method::POST, url).bearer_auth(token);
        let request = request.header("content-type", "application/grpc-web+proto");
        let response = request
            .body(crate::support::client::frame(&list))
            .send()
            .await;
        let body = response.unwrap().bytes().await.unwrap();
        let end = body.escape_ascii().to_string();
        assert!(end.contains("grpc-status:0"), "{end}");
    }
    let channel = secured.client().channel(secured.served.address());
    let listed = ApiKeyServiceClient::new(channel)
        .list_api_keys(called_by(token, list))
        .await;
    assert!(listed.unwrap().into_inner().success);
    secured.served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let secured = Secured::start().await;
    let address = secured.served.address();
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut client = secured.client();
        client.versions = vec![version];
        let stream = client.stream(address).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(spoken));
    }
    for minor in [1, 2] {
        // A ClientHello of TLS 1.0 or 1.1.
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        // No session, two ciphers, no compression; the signature algorithms.
        hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]);
        hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
        let mut message = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
        message.extend(hello);
        let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
        record.extend(message);
        let mut stream = connect(address);
        stream.write_all(&record).unwrap();
        let bytes = rest(stream);
        // A fatal alert: protocol version.
        assert_eq!(bytes.first(), Some(&21), "{bytes:?}");
        assert!(bytes.ends_with(&[2, 70]), "{bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_agreed_upon_and_no_other() {
    let secured = Secured::start().await;
    let address = secured.served.address();
    for (offered, agreed) in [
        (&["h2"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&[], None),
    ] {
        let client = secured.client().with_alpn(offered);
        let mut stream = client.stream(address).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), agreed);
        if agreed != Some(b"h2") {
            stream.write_all(get("/healthz").as_bytes()).unwrap();
            assert!(answer(&mut stream).0.starts_with("http/1.1 200"));
        }
    }
    // A client that negotiates one protocol and sends the other gets no response.
    let client = secured.client().with_alpn(&["h2"]);
    let mut stream = client.stream(address).unwrap();
    stream.write_all(get("/healthz").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
    let other = secured.client().with_alpn(&["spdy/3"]);
    assert!(other.stream(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_and_silent_connections_are_closed() {
    let secured = Secured::start_with(|program, _| {
        program.env("KEYWARD_SERVER__TLS__HANDSHAKE_TIMEOUT_MS", "300")
    })
    .await;
    let address = secured.served.address();
    let mut plain = connect(address);
    plain.write_all(get("/healthz").as_bytes()).unwrap();
    let bytes = rest(plain);
    // An alert, and no HTTP.
    assert!(bytes.is_empty() || bytes[0] == 21, "{bytes:?}");
    let started = Instant::now();
    assert_eq!(rest(connect(address)), b"");
    assert!(started.elapsed() >= Duration::from_millis(300));
    // Other clients are served.
    let url = format!("{}/readyz", secured.url());
    let response = secured.client().rest(true).get(url).send().await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_port_without_it_is_rejected() {
    let deployment = Deployment::sqlite().await;
    let served = deployment.start();
    let authority = Authority::new("an authority");
    let client = crate::support::certificates::Client::new(&authority);
    let error = client.stream(served.address()).unwrap_err();
    assert!(error.to_string().contains("InvalidContentType"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn port_that_others_reach_needs_tls_or_a_proxy() {
    let deployment = Deployment::sqlite().await;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let program = deployment
            .command("serve")
            .env("KEYWARD_SERVER__LISTEN", address);
        let printed = program.run().expect(78);
        for named in [
            "`server.listen`",
            "`server.tls.cert_file`",
            "`server.tls_terminated_by_proxy`",
        ] {
            assert!(printed.contains(named), "{named}: {printed}");
        }
        assert!(!printed.contains(address), "{printed}");
    }
    // All addresses of this machine; the test connects to loopback.
    let program = deployment
        .command("serve")
        .env("KEYWARD_SERVER__LISTEN", "0.0.0.0:0");
    let program = program.env("KEYWARD_SERVER__TLS_TERMINATED_BY_PROXY", "true");
    let served = Served::of(program);
    let port = served.address().rsplit(':').next().unwrap();
    drop(TcpStream::connect(format!("127.0.0.1:{port}")).unwrap());
    served.running.terminate().expect(0);
    let files = Files::new(&Authority::new("an authority").server(Good::Now));
    let program = serve(&deployment, &files).env("KEYWARD_SERVER__LISTEN", "0.0.0.0:0");
    Served::of(program).running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_fit_are_named() {
    let deployment = Deployment::sqlite().await;
    let authority = Authority::new("an authority");
    let (one, other) = (authority.server(Good::Now), authority.server(Good::Now));
    let files = Files::new(&one);
    let rejected = |problem: &str| {
        let printed = serve(&deployment, &files).run().expect(78);
        assert!(printed.contains(problem), "{problem}: {printed}");
        let directory = files.directory().to_str().unwrap();
        assert!(!printed.contains(directory), "{printed}");
    };
    files.put("tls.key", &other.key);
    rejected("`server.tls.key_file` is not the key of the certificate");
    files.put("tls.key", &one.certificate);
    rejected("`server.tls.key_file` holds no private key");
    files.put("tls.key", &one.key);
    files.put("tls.crt", &one.key);
    rejected("`server.tls.cert_file` holds no certificate");
    files.put(
        "tls.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    rejected("`server.tls.cert_file` holds a certificate that cannot be used");
    std::fs::remove_file(files.path("tls.crt")).unwrap();
    rejected("`server.tls.cert_file` cannot be read");
    std::fs::create_dir(files.path("tls.crt")).unwrap();
    rejected("`server.tls.cert_file` cannot be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_file_readable_by_others_is_rejected() {
    use std::os::unix::fs::PermissionsExt;
    let deployment = Deployment::sqlite().await;
    let files = Files::new(&Authority::new("an authority").server(Good::Now));
    for (mode, is_fit) in [
        (0o400, true),
        (0o640, true),
        (0o440, true),
        (0o644, false),
        (0o660, false),
        (0o604, false),
    ] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(files.path("tls.key"), mode).unwrap();
        let program = serve(&deployment, &files);
        if is_fit {
            Served::of(program).running.terminate().expect(0);
        } else {
            let printed = program.run().expect(78);
            assert!(printed.contains("`server.tls.key_file` can be read or written by others"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_certificate_is_served_with_a_warning() {
    let deployment = Deployment::sqlite().await;
    let files = Files::new(&Authority::new("an authority").server(Good::InThePast));
    let served = Served::of(serve(&deployment, &files));
    let printed = served.running.terminate().expect(0);
    assert!(
        printed.contains("`server.tls.cert_file` has expired"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_asks_over_tls() {
    let secured = Secured::start().await;
    let url = secured.url();
    let ca = secured.files.path("ca.crt");
    let checked = |arguments: &[&str]| Program::keyward(arguments.iter().copied()).run();
    let with_ca = [
        "healthcheck",
        "--url",
        &url,
        "--ca-file",
        ca.to_str().unwrap(),
    ];
    checked(&with_ca).expect(0);
    // The system does not trust this authority.
    let printed = checked(&["healthcheck", "--url", &url]).expect(69);
    assert!(printed.contains("not ready"), "{printed}");
    let other = secured.files.path("other.crt");
    secured
        .files
        .put("other.crt", Authority::new("another").pem());
    let with_other = [
        "healthcheck",
        "--url",
        &url,
        "--ca-file",
        other.to_str().unwrap(),
    ];
    checked(&with_other).expect(69);
    let printed = checked(&["healthcheck", "--ca-file", "/nonexistent", "--url", &url]);
    assert!(printed.expect(78).contains("`--ca-file`"));

    // The command's configuration has the address and the protocol, for which the port must be known.
    let port = secured.served.address().to_owned();
    let config = secured.deployment.config();
    let asking = || {
        let program = Program::keyward(["healthcheck", "--config", config.to_str().unwrap()]);
        program.env("KEYWARD_SERVER__LISTEN", &port)
    };
    let with_tls = asking()
        .env(
            "KEYWARD_SERVER__TLS__CERT_FILE",
            secured.files.path("tls.crt"),
        )
        .env(
            "KEYWARD_SERVER__TLS__KEY_FILE",
            secured.files.path("tls.key"),
        )
        .env("KEYWARD_URL", "http://127.0.0.1:1");
    with_tls.run().expect(0);
    asking().run().expect(69);

    // Client certificates are required and the command has none; the other listener requires none.
    let required = || {
        let tls = |name: &str| secured.files.path(name);
        asking()
            .env("KEYWARD_SERVER__TLS__CERT_FILE", tls("tls.crt"))
            .env("KEYWARD_SERVER__TLS__KEY_FILE", tls("tls.key"))
            .env("KEYWARD_SERVER__TLS__CLIENT_CA_FILE", tls("ca.crt"))
            .env("KEYWARD_SERVER__TLS__CLIENT_CERTIFICATES", "required")
    };
    assert!(required().run().expect(78).contains("`operations.listen`"));
    let plain = Deployment::sqlite().await.start();
    let operations = required().env("KEYWARD_OPERATIONS__LISTEN", plain.address());
    operations.run().expect(0);
}
