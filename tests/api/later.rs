//! Services of later work: their paths are known, in their families' error bodies.

use serde_json::json;

use crate::support::{TestServer, User};

on_each_engine! {
    async fn repo_ai_keys_answer_in_the_flashback_body(server: TestServer) {
        let token = server.token(User::Owner);
        let body = json!({ "name": "n", "aiType": "OPENAI" });
        server.get("/repo/repo-a/ai/apikey").send().await
            .refuses(401, "User not found or not validated");
        for call in [
            server.get("/repo/repo-a/ai/apikey"),
            server.post("/repo/repo-a/ai/apikey").json(&body),
            server.put("/repo/repo-a/ai/apikey/k").json(&body),
            server.delete("/repo/repo-a/ai/apikey/k"),
        ] {
            call.bearer(&token).send().await.refuses(501, "Not yet implemented");
        }
    }

    async fn management_keys_answer_in_the_openrouter_body(server: TestServer) {
        let token = server.token(User::Owner);
        let without = r#"{"error":{"code":401,"message":"Missing Authentication header"}}"#;
        let later = r#"{"error":{"code":501,"message":"Not yet implemented"}}"#;
        for path in ["/key", "/keys", "/keys/0123", "/api/v1/key", "/api/v1/keys", "/api/v1/keys/01"]
        {
            server.get(path).send().await.is(401, without);
            server.get(path).bearer("garbage").send().await
                .is(401, r#"{"error":{"code":401,"message":"Invalid token"}}"#);
            server.get(path).bearer(&token).send().await.is(501, later);
        }
        let create = server.post("/keys").bearer(&token).json(&json!({ "name": "n" }));
        create.send().await.is(501, later);
    }

    async fn their_bodies_are_read_all_the_same(server: TestServer) {
        let token = server.token(User::Owner);
        let call = server.post("/keys").bearer(&token).json(&json!({ "name": 7 }));
        call.send().await.is(400, r#"{"error":{"code":400,"message":"`name` must be a string"}}"#);
        let call = server.post("/keys").bearer(&token).json(&json!({}));
        call.send().await.is(400, r#"{"error":{"code":400,"message":"Name is required"}}"#);
    }
}
