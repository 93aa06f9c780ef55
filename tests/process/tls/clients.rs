//! Client certificates: clients accepted by `server.tls.client_certificates`, and the services assigned by
//! `server.tls.services`.

use std::io::{Read, Write};

use keyward::proto::v1::ResolveApiKeyRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use rustix::process::Signal;
use serde_json::Value;
use tonic::Code;

use crate::support::certificates::{Authority, Client, Files, Good, Secured};
use crate::support::client::called_by;
use crate::support::frames::get;
use crate::support::program::Program;

/// Names that stand for a service; the last is for another.
const URI: &str = "spiffe://example.test/ns/ai/sa/gateway";
const DNS_NAME: &str = "gateway.ai.example.test";
const OTHER: &str = "spiffe://example.test/ns/ai/sa/other";

async fn secured(client_certificates: &str) -> Secured {
    Secured::start_with(|program, files| asking(program, files, client_certificates)).await
}

fn asking(program: Program, files: &Files, client_certificates: &str) -> Program {
    let program = program
        .env(
            "KEYWARD_SERVER__TLS__CLIENT_CERTIFICATES",
            client_certificates,
        )
        .env("KEYWARD_SERVER__TLS__RELOAD_INTERVAL_MS", "3600000");
    match client_certificates {
        "none" => program,
        _ => program.env("KEYWARD_SERVER__TLS__CLIENT_CA_FILE", files.path("ca.crt")),
    }
}

/// Returns true if a client is accepted. In TLS 1.3 the client learns of a rejection only when it reads.
fn is_let_in(client: &Client, address: &str) -> bool {
    let call = || -> std::io::Result<bool> {
        let mut stream = client.clone().with_alpn(&["http/1.1"]).stream(address)?;
        stream.write_all(get("/healthz").as_bytes())?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(&start == b"HTTP/1.1 200")
    };
    call().unwrap_or(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_checked_as_configured() {
    let wrong = Authority::new("another authority");
    // Without a certificate; with a valid one, one of another authority, an expired one.
    for (asked, let_in) in [
        ("none", [true, true, true, true]),
        ("optional", [true, true, false, false]),
        ("required", [false, true, false, false]),
    ] {
        let secured = secured(asked).await;
        let ours = &secured.authority;
        let clients = [
            None,
            Some(ours.client(&[URI], Good::Now)),
            Some(wrong.client(&[URI], Good::Now)),
            Some(ours.client(&[URI], Good::InThePast)),
        ];
        for (pair, let_in) in clients.iter().zip(let_in) {
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let mut client = secured.client();
                client.versions = vec![version];
                client.pair.clone_from(pair);
                let found = is_let_in(&client, secured.served.address());
                assert_eq!(
                    found,
                    let_in,
                    "{asked}: {:?}",
                    pair.as_ref().map(|it| &it.certificate)
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificate_authorities_are_reloaded() {
    let secured = secured("required").await;
    let address = secured.served.address();
    let next = Authority::new("the next authority");
    let old = secured.authority.client(&[], Good::Now);
    let new = next.client(&[], Good::Now);
    let is_let_in = |pair| is_let_in(&secured.client().with_pair(pair), address);
    assert!(is_let_in(&old) && !is_let_in(&new));
    secured.files.put("ca.crt", next.pem());
    secured.served.running.signal(Signal::HUP);
    secured.served.running.stderr.wait_for("are in use");
    assert!(!is_let_in(&old) && is_let_in(&new));
    secured.files.put("ca.crt", "no certificate");
    secured.served.running.signal(Signal::HUP);
    let problem = "`server.tls.client_ca_file` holds no certificate";
    secured.served.running.stderr.wait_for(problem);
    assert!(!is_let_in(&old) && is_let_in(&new));
}

/// Starts a server with the names of two services, and a key that they may resolve.
async fn with_services() -> (Secured, String) {
    let secured = Secured::start_with(|program, files| {
        asking(program, files, "optional").env(
            "KEYWARD_SERVER__TLS__SERVICES",
            format!(r#"{{ "{URI}" = "gateway", "{DNS_NAME}" = "gateway", "{OTHER}" = "other" }}"#),
        )
    })
    .await;
    let body = serde_json::json!({
        "workspaceId": &secured.deployment.env["WORKSPACE_A"],
        "provider": "AWS", "key": "a-key", "secret": "a-secret",
    });
    let url = format!("{}/apikeys", secured.url());
    let request = secured.client().rest(true).post(url);
    let request = request
        .bearer_auth(&secured.deployment.env["ADMIN_TOKEN"])
        .header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let uuid = body["apiKeyId"].as_str().unwrap().to_owned();
    (secured, uuid)
}

async fn resolve(
    secured: &Secured,
    names: Option<&[&str]>,
    token: Option<&str>,
    uuid: &str,
) -> Result<String, Code> {
    let client = secured.client();
    let client = match names {
        Some(names) => client.with_pair(&secured.authority.client(names, Good::Now)),
        None => client,
    };
    let channel = client.channel(secured.served.address());
    let message = ResolveApiKeyRequest {
        uuid: uuid.to_owned(),
    };
    let request = match token {
        Some(token) => called_by(token, message),
        None => tonic::Request::new(message),
    };
    let resolved = ApiKeyServiceClient::new(channel)
        .resolve_api_key(request)
        .await;
    resolved
        .map(|resolved| resolved.into_inner().secret)
        .map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn service_certificate_is_equal_to_its_token() {
    let (secured, uuid) = with_services().await;
    let env = &secured.deployment.env;
    let secret = || Ok("a-secret".to_owned());
    let upper = DNS_NAME.to_uppercase();
    for names in [
        &[URI][..],
        &[DNS_NAME],
        &[upper.as_str()],
        &["unknown.example.test", URI, DNS_NAME],
    ] {
        assert_eq!(
            resolve(&secured, Some(names), None, &uuid).await,
            secret(),
            "{names:?}"
        );
    }
    // No known name, the names of two services, or no certificate: no caller.
    let upper = URI.to_uppercase();
    for names in [
        Some(&["spiffe://example.test/ns/ai/sa/gateway/2"][..]),
        Some(&[upper.as_str()]),
        Some(&["sub.gateway.ai.example.test"]),
        Some(&[URI, OTHER]),
        Some(&[]),
        None,
    ] {
        let found = resolve(&secured, names, None, &uuid).await;
        assert_eq!(found, Err(Code::Unauthenticated), "{names:?}");
    }
    // A token takes precedence, valid or not.
    let user = Some(&env["ADMIN_TOKEN"]);
    let found = resolve(&secured, Some(&[URI]), user, &uuid).await;
    assert_eq!(found, Err(Code::PermissionDenied));
    let found = resolve(&secured, Some(&[URI]), Some("no token"), &uuid).await;
    assert_eq!(found, Err(Code::Unauthenticated));
    let service = Some(&env["SERVICE_TOKEN"]);
    let found = resolve(&secured, Some(&["unknown.example.test"]), service, &uuid).await;
    assert_eq!(found, secret());
    assert_eq!(resolve(&secured, None, service, &uuid).await, secret());
}
