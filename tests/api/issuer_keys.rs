//! The issuers' published keys: when they are fetched, and what holds while they cannot be.

use std::time::Duration;

use futures_util::future::join_all;
use keyward::proto::v1::ListApiKeysRequest;
use serde_json::json;
use tonic::Code;

use crate::support::{
    Algorithm, Jwks, Setup, SigningKey, TestServer, UNAUTHENTICATED_BODY, User, refused,
};

const UNAVAILABLE: &str = "Service unavailable";

async fn status(server: &TestServer, token: &str) -> u16 {
    server.get("/apikeys").bearer(token).send().await.status
}

async fn is_unavailable(server: &TestServer, token: &str) {
    server
        .get("/apikeys")
        .bearer(token)
        .send()
        .await
        .refuses(503, UNAVAILABLE);
    let result = server
        .api_keys(token)
        .list_api_keys(ListApiKeysRequest::default())
        .await;
    refused(result)
        .is(Code::Unavailable, "UNAVAILABLE", UNAVAILABLE)
        .alone();
}

on_each_engine! {
    async fn keys_are_fetched_once_for_all_who_need_them_first(server: TestServer) {
        assert_eq!(server.issuer.server.requests(), 0);
        let tokens: Vec<_> = User::MEMBERS.map(|user| server.token(user)).into();
        let calls = tokens.iter().map(|token| status(&server, token));
        assert_eq!(join_all(calls).await, [200; 8]);
        assert_eq!(server.issuer.server.requests(), 1);
        assert_eq!(server.cluster.server.requests(), 0);
    }

    async fn keys_that_cannot_be_fetched_make_us_unavailable_until_they_can(setup: Setup) {
        let server = Setup { jwks_min_refresh: Duration::ZERO, ..setup }.start().await;
        let token = server.token(User::Owner);
        server.issuer.server.fail(true);
        is_unavailable(&server, &token).await;
        // A token that no key could make good is told the same: nobody can know.
        let imposter = SigningKey::generate("key-1", Algorithm::ES256);
        is_unavailable(&server, &imposter.sign(&server.claims(User::Owner))).await;
        // What needs no key is told at once.
        server.get("/apikeys").bearer("garbage").send().await.is(401, UNAUTHENTICATED_BODY);
        server.issuer.server.fail(false);
        assert_eq!(status(&server, &token).await, 200);
    }

    async fn an_issuer_that_fails_is_not_asked_again_at_once(server: TestServer) {
        server.issuer.server.fail(true);
        for user in User::MEMBERS {
            is_unavailable(&server, &server.token(user)).await;
        }
        assert_eq!(server.issuer.server.requests(), 1);
    }

    async fn a_service_is_not_kept_out_by_the_session_issuer_nor_the_other_way_round(
        server: TestServer
    ) {
        server.issuer.server.fail(true);
        assert_eq!(status(&server, &server.service_token()).await, 403);
        is_unavailable(&server, &server.token(User::Owner)).await;
    }

    async fn known_tokens_and_keys_stay_good_while_the_issuer_is_down(setup: Setup) {
        let always_stale = Setup {
            jwks_max_age: Duration::ZERO,
            jwks_min_refresh: Duration::ZERO,
            ..setup
        };
        let server = always_stale.start().await;
        let token = server.token(User::Owner);
        assert_eq!(status(&server, &token).await, 200);
        server.issuer.server.fail(true);
        let requests = server.issuer.server.requests();
        assert_eq!(status(&server, &token).await, 200);
        assert_eq!(server.issuer.server.requests(), requests, "a known token needs no key");
        // A token not seen before, under a key that is old but was published.
        assert_eq!(status(&server, &server.token(User::ReaderInA)).await, 200);
        // The fetch runs behind the call.
        server.issuer.server.asked(requests + 1).await;
    }

    /// Anyone can send a token with an invented key id and give up at once.
    async fn a_caller_who_gives_up_does_not_end_the_fetch_for_the_others(server: TestServer) {
        server.issuer.server.hold(true);
        let invented = server.issuer.key.sign_as(Some("invented"), &server.claims(User::Owner));
        let hasty = tokio::spawn(server.get("/apikeys").bearer(&invented).send());
        server.issuer.server.asked(1).await;
        // Its connection closes, and the server drops the call.
        hasty.abort();
        assert!(hasty.await.unwrap_err().is_cancelled());
        let hasty = server.get("/apikeys").bearer(&invented).header("grpc-timeout", "20m");
        assert_eq!(hasty.send().await.status, 504);
        let token = server.token(User::Owner);
        let (answer, ()) = tokio::join!(status(&server, &token), async {
            server.issuer.server.hold(false);
        });
        assert_eq!(answer, 200);
        assert_eq!(server.issuer.server.requests(), 1);
    }

    async fn a_token_for_someone_else_makes_no_one_fetch_keys(server: TestServer) {
        for changes in [json!({"iss": "https://elsewhere"}), json!({"aud": "someone-else"})] {
            let token = server.token_with(User::Owner, changes);
            server.get("/apikeys").bearer(&token).send().await.is(401, UNAUTHENTICATED_BODY);
        }
        assert_eq!(server.issuer.server.requests(), 0);
    }

    async fn an_unknown_key_id_is_looked_up_again_and_so_a_rotated_key_works(setup: Setup) {
        let server = Setup { jwks_min_refresh: Duration::ZERO, ..setup }.start().await;
        let token = server.token(User::Owner);
        assert_eq!(status(&server, &token).await, 200);
        let next = SigningKey::generate("key-2", Algorithm::EdDSA);
        let next_token = next.sign(&server.claims(User::Owner));
        server.get("/apikeys").bearer(&next_token).send().await.is(401, UNAUTHENTICATED_BODY);
        server.issuer.server.publish(&[&server.issuer.key, &next]);
        assert_eq!(status(&server, &next_token).await, 200);
        // With two keys published, a token must say which it means.
        let unnamed = next.sign_as(None, &server.claims(User::ReaderInA));
        server.get("/apikeys").bearer(&unnamed).send().await.is(401, UNAUTHENTICATED_BODY);

        // The old key is taken back: what it signs from now on is refused.
        server.issuer.server.publish(&[&next]);
        let other = SigningKey::generate("key-3", Algorithm::ES256);
        let unknown = other.sign(&server.claims(User::Owner));
        assert_eq!(status(&server, &unknown).await, 401);
        let old = server.token(User::WriterInA);
        server.get("/apikeys").bearer(&old).send().await.is(401, UNAUTHENTICATED_BODY);
    }

    async fn invented_key_ids_do_not_make_us_call_the_issuer(server: TestServer) {
        assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
        assert_eq!(server.issuer.server.requests(), 1);
        let claims = server.claims(User::Owner);
        let invented = (0..24).map(|number| {
            server.issuer.key.sign_as(Some(&format!("invented-{number}")), &claims)
        });
        let invented: Vec<_> = invented.collect();
        let calls = invented.iter().map(|token| status(&server, token));
        assert!(join_all(calls).await.iter().all(|status| *status == 401));
        assert_eq!(server.issuer.server.requests(), 1, "the bound has not passed since the first");
    }

    async fn invented_key_ids_that_come_first_cost_one_fetch_together(server: TestServer) {
        let claims = server.claims(User::Owner);
        let invented = (0..24).map(|number| {
            server.issuer.key.sign_as(Some(&format!("invented-{number}")), &claims)
        });
        let invented: Vec<_> = invented.collect();
        let calls = invented.iter().map(|token| status(&server, token));
        assert!(join_all(calls).await.iter().all(|status| *status == 401));
        assert_eq!(server.issuer.server.requests(), 1);
        assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
    }

    async fn keys_from_a_file_are_read_again_too(setup: Setup) {
        let from_file =
            Setup { jwks: Jwks::File, jwks_min_refresh: Duration::ZERO, ..setup };
        let server = from_file.start().await;
        assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
        let next = SigningKey::generate("key-2", Algorithm::ES256);
        server.write_jwks_file(&[&next]);
        assert_eq!(status(&server, &next.sign(&server.claims(User::Owner))).await, 200);
        assert_eq!(server.issuer.server.requests(), 0);

        std::fs::write(server.jwks_file.path(), "{").unwrap();
        let another = SigningKey::generate("key-3", Algorithm::ES256);
        is_unavailable(&server, &another.sign(&server.claims(User::Owner))).await;
    }
}
