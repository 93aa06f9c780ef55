//! Settings of browsers and of reflection.

use http::Method;
use tempfile::TempDir;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::client::{Answer, Rest, channel};
use crate::support::deployment::{Deployment, Dev, Served, dev_program};

const ORIGINS: &str = "KEYWARD_CORS__ALLOWED_ORIGINS";
const ALLOWED: [&str; 2] = ["https://app.example.com", "http://localhost:5173"];

/// Returns the origins that may call, out of these.
async fn allowed(url: &str) -> Vec<&'static str> {
    let rest = Rest::new(url);
    let mut allowed = Vec::new();
    for origin in ALLOWED.into_iter().chain(["https://evil.example"]) {
        let preflight = rest.request(Method::OPTIONS, "/apikeys");
        let preflight = preflight.header("access-control-request-method", "POST");
        let answer = Answer::of(preflight.header("origin", origin)).await;
        if let Some(value) = answer.headers.get("access-control-allow-origin") {
            assert_eq!(value, origin);
            allowed.push(origin);
        }
    }
    allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_that_are_set_may_call_and_no_others() {
    let deployment = Deployment::sqlite().await;
    let served = deployment.start();
    assert!(allowed(&served.url).await.is_empty());
    served.running.terminate().expect(0);

    let config = std::fs::read_to_string(deployment.config()).unwrap();
    let both = format!("{config}\n[cors]\nallowed_origins = {ALLOWED:?}\n");
    std::fs::write(deployment.config(), both).unwrap();
    let served = deployment.start();
    assert_eq!(allowed(&served.url).await, ALLOWED);
    served.running.terminate().expect(0);

    let one = format!("[{:?}]", ALLOWED[1]);
    let served = Served::of(deployment.command("serve").env(ORIGINS, one));
    assert_eq!(allowed(&served.url).await, [ALLOWED[1]]);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_takes_origins_from_the_environment() {
    let directory = TempDir::new().unwrap();
    let program = dev_program(directory.path()).env(ORIGINS, format!("[{:?}]", ALLOWED[0]));
    let dev = Dev::of(program, directory.path());
    assert_eq!(allowed(&dev.url).await, [ALLOWED[0]]);
    dev.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_switched_off() {
    let deployment = Deployment::sqlite().await;
    for (value, code) in [
        (None, Code::Ok),
        (Some("true"), Code::Ok),
        (Some("false"), Code::Unimplemented),
    ] {
        let mut program = deployment.command("serve");
        if let Some(value) = value {
            program = program.env("KEYWARD_SERVER__REFLECTION", value);
        }
        let served = Served::of(program);
        let mut client = ServerReflectionClient::new(channel(&served.url).await);
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answers = client
            .server_reflection_info(futures_util::stream::iter([request]))
            .await;
        assert_eq!(
            answers.err().map_or(Code::Ok, |status| status.code()),
            code,
            "{value:?}"
        );
        served.running.terminate().expect(0);
    }
}
