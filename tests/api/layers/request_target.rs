//! Limit on the length of a request target, and the handling of long ones.

use keyward::config::UnknownFields;
use reqwest::Version;

use crate::support::{Setup, TestServer, User};

/// Maximum size of a request head, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Maximum size of a head without its target, in bytes.
const REST_OF_HEAD: usize = 2 * 1024;

/// Returns the status of a GET of that target over that version, with a token.
async fn get(server: &TestServer, version: Version, target: &str) -> u16 {
    let client = match version {
        Version::HTTP_2 => &server.http2,
        _ => &server.http,
    };
    let call = client.get(server.url(target)).version(version);
    let answer = call.bearer_auth(server.token(User::Owner)).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.version(), version);
    answer.status().as_u16()
}

/// Returns as many parameters as there is room for.
fn parameters(one: &str) -> String {
    let count = (MAX_HEAD - REST_OF_HEAD) / (one.len() + 1);
    format!("/apikeys?{}", vec![one; count].join("&"))
}

async fn target_that_is_too_long_is_rejected(server: TestServer) {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for target in [
            format!("/{}", "a".repeat(MAX_HEAD)),
            format!("/apikeys/{}", "%61".repeat(MAX_HEAD / 3)),
            format!("/apikeys?workspaceId={}", "a".repeat(MAX_HEAD)),
        ] {
            assert_eq!(get(&server, version, &target).await, 431, "{version:?}");
        }
        // The server continues to serve.
        assert_eq!(get(&server, version, "/apikeys").await, 200);
    }
}

async fn long_target_is_answered_like_any_other(server: TestServer) {
    let long = "a".repeat(MAX_HEAD - REST_OF_HEAD);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        assert_eq!(get(&server, version, &format!("/{long}")).await, 404);
        assert_eq!(
            get(
                &server,
                version,
                &format!("/{}", "a/".repeat(long.len() / 2))
            )
            .await,
            404
        );
        let path = format!("/repo/{long}/ai/apikey");
        assert_eq!(get(&server, version, &path).await, 403, "{version:?}");
        let path = format!("/apikeys?workspaceId={long}");
        assert_eq!(get(&server, version, &path).await, 400, "{version:?}");
    }
}

async fn unknown_parameters_up_to_the_target_limit_are_rejected(server: TestServer) {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for one in ["a=b", "a", "=", "%20=%20"] {
            assert_eq!(get(&server, version, &parameters(one)).await, 400, "{one}");
        }
    }
}

async fn parameters_up_to_the_target_limit_are_read(setup: Setup) {
    let server = Setup {
        unknown_fields: UnknownFields::Ignore,
        ..setup
    }
    .start()
    .await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        // Unknown parameters are ignored; a known parameter that is not a list may occur only once.
        for one in ["a=b", "a", "=", "%20=%20"] {
            assert_eq!(get(&server, version, &parameters(one)).await, 200, "{one}");
        }
        for one in ["capability=2", "provider=AWS"] {
            let status = get(&server, version, &parameters(one)).await;
            assert!(matches!(status, 200 | 400), "{one}: {status}");
        }
        assert_eq!(
            get(&server, version, &parameters("capability=x")).await,
            400
        );
    }
}

each_engine! {
    target_that_is_too_long_is_rejected
    long_target_is_answered_like_any_other
    unknown_parameters_up_to_the_target_limit_are_rejected
    parameters_up_to_the_target_limit_are_read
}
