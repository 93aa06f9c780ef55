//! Puts canaries everywhere that a caller could put a secret, correctly or by mistake.

mod grpc;
pub(super) mod keys;
mod keys_grpc;

use http::Method;
use keyward::proto::v1::ListApiKeysRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::canary::search::Haystack;
use crate::support::client::{Answer, Rest, channel};
use crate::support::deployment::{Deployment, DevEnv};

/// Prefix of every canary, and of nothing else.
pub(crate) const STEM: &str = "KwCanary7Q2xZt";
/// Prefix of texts that may be in the rows of keys, but not in the audit trail, the log or spans.
pub(crate) const AUDIT_STEM: &str = "KwAudited5M9bXq";
/// Host of the endpoints around them, which is in the audit trail.
pub(crate) const AUDIT_MARK: &str = "audited.example";
/// Public halves of the keys, which may be found.
pub(crate) const MARK: &str = "AKIAPUBLICMARK";
/// A numeric canary, for fields that accept only a number.
pub(crate) const NUMBER: u64 = 86_753_098_675_309;

/// A caller with canaries, and the responses it received.
pub(crate) struct Planter {
    pub(super) rest: Rest,
    pub(super) http2: Rest,
    pub(super) channel: Channel,
    pub(super) env: DevEnv,
    planted: usize,
    pub(crate) answers: Vec<Haystack>,
}

impl Planter {
    pub(crate) async fn new(url: &str, env: &DevEnv) -> Self {
        Self {
            rest: Rest::new(url),
            http2: Rest::http2(url),
            channel: channel(url).await,
            env: env.clone(),
            planted: 0,
            answers: Vec::new(),
        }
    }

    /// Returns a new canary that looks like a credential.
    pub(super) fn canary(&mut self) -> String {
        self.planted += 1;
        format!("{STEM}{:04}/+=%\"'", self.planted)
    }

    /// Returns a new canary that fits into a header, a path or a token.
    pub(super) fn plain(&mut self) -> String {
        self.planted += 1;
        format!("{STEM}{:04}", self.planted)
    }

    pub(super) fn keep(&mut self, what: &str, answer: &Answer) {
        let text = format!("{} {:?}\n", answer.status, answer.headers);
        let bytes = [text.as_bytes(), &answer.body].concat();
        self.answers
            .push(Haystack::new(format!("the answer to {what}"), bytes));
    }

    pub(super) fn keep_status(
        &mut self,
        what: &str,
        rejected: Result<String, tonic::Status>,
    ) -> bool {
        let ok = rejected.is_ok();
        let text = match rejected {
            Ok(text) => text,
            Err(status) => {
                let details = String::from_utf8_lossy(status.details()).into_owned();
                format!(
                    "{status:?} {} {:?} {details}",
                    status.message(),
                    status.metadata()
                )
            }
        };
        self.answers
            .push(Haystack::new(format!("the gRPC answer to {what}"), text));
        ok
    }

    pub(super) async fn rest(
        &mut self,
        what: &str,
        status: u16,
        request: reqwest::RequestBuilder,
    ) -> Answer {
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        self.keep(what, &answer);
        answer
    }

    /// Sends a canary as an unknown name, which the error repeats once: the rest of the response is kept.
    async fn named(&mut self, what: &str, canary: &str, request: reqwest::RequestBuilder) {
        let mut answer = Answer::of(request).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let said = format!("`{canary}` is not a known ");
        assert!(
            answer.status == 400 && text.contains(&said),
            "{what}: {answer:?}"
        );
        answer.body = text.replacen(canary, "NAME", 1).into();
        self.keep(what, &answer);
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.rest
            .request(method, path)
            .bearer_auth(&self.env["ADMIN_TOKEN"])
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let request = self.request(Method::POST, "/apikeys");
        request
            .header("content-type", "application/json")
            .body(body)
    }

    fn credential(&self, key: &str, secret: &str) -> Value {
        json!({
            "workspaceId": &self.env["WORKSPACE_A"],
            "provider": "AWS",
            "key": format!("{MARK}{key}"),
            "secret": secret,
            "description": "for canaries",
        })
    }

    /// Makes the regular requests of a caller.
    pub(crate) async fn rest_credentials(&mut self) -> Vec<(String, String)> {
        let mut kept = Vec::new();
        for key in ["rest-1", "rest-2"] {
            let first = self.canary();
            let body = self.credential(key, &first).to_string();
            let created = self.rest("create", 201, self.post(body.clone())).await;
            let id = created.json()["apiKeyId"].as_str().unwrap().to_owned();
            self.rest("create again", 400, self.post(body)).await;

            let rotated = self.canary();
            let path = format!("/apikeys/{id}");
            let body = json!({ "secret": rotated }).to_string();
            let request = self.request(Method::PUT, &path);
            let request = request
                .header("content-type", "application/json")
                .body(body);
            self.rest("rotate", 200, request).await;
            kept.push((id, rotated));
        }
        let list = self.request(Method::GET, "/apikeys");
        self.rest("list", 200, list).await;
        kept
    }

    /// Changes values that the audit trail names without the value, or with a part of it only. All of them
    /// may be in the rows of the keys, and nowhere else.
    pub(crate) async fn audited_values(&mut self) {
        let endpoint = |number: u8| {
            let canary = format!("{AUDIT_STEM}{number}");
            format!("https://{canary}:{canary}@{AUDIT_MARK}/v1?key={canary}#{canary}")
        };
        let mut body = self.credential("audited", "a secret that is audited");
        body["endpoint"] = json!(endpoint(1));
        body["description"] = json!(format!("{AUDIT_STEM}2"));
        let created = self.rest("create", 201, self.post(body.to_string())).await;
        let path = format!("/apikeys/{}", created.json()["apiKeyId"].as_str().unwrap());
        let put = |planter: &Self, body: &Value| {
            let request = planter.request(Method::PUT, &path);
            let request = request.header("content-type", "application/json");
            request.body(body.to_string())
        };
        for body in [
            json!({ "endpoint": endpoint(3), "description": format!("{AUDIT_STEM}4") }),
            json!({ "endpoint": format!("{AUDIT_STEM}5:{AUDIT_STEM}5@{AUDIT_MARK}?{AUDIT_STEM}5") }),
            json!({ "endpoint": format!("https://u:{AUDIT_STEM}6/@{AUDIT_MARK}") }),
            json!({ "endpoint": "", "key": format!("{AUDIT_STEM}7"), "description": "" }),
        ] {
            self.rest("update", 200, put(self, &body)).await;
        }
        let delete = self.request(Method::DELETE, &path);
        self.rest("delete", 200, delete).await;
    }

    /// Returns the audit trail, as stored in the database and as returned by the API.
    pub(crate) async fn audit_trail(&self, deployment: &Deployment) -> [Haystack; 2] {
        let events = format!("{:?}", deployment.database.events().await);
        let request = self
            .rest
            .request(Method::GET, "/v1/audit-events?page_size=1000");
        let listed = Answer::of(request.bearer_auth(&self.env["SERVICE_TOKEN"])).await;
        listed.expect(200);
        [
            Haystack::new("the audit events", events),
            Haystack::new("the listed audit events", listed.body.to_vec()),
        ]
    }

    /// Puts a secret where another type, another member or another text belongs.
    pub(crate) async fn rest_bodies(&mut self) {
        let fields = [
            "workspaceId",
            "key",
            "secret",
            "provider",
            "endpoint",
            "region",
            "tenantId",
            "subscriptionId",
            "description",
        ];
        for field in fields {
            let canary = self.canary();
            for wrong in [json!([canary]), json!({ &canary: canary }), json!(NUMBER)] {
                let mut body = self.credential("wrong", &canary);
                body[field] = wrong;
                let what = format!("a wrong type in {field}");
                let answer = self.rest(&what, 400, self.post(body.to_string())).await;
                assert!(
                    answer.json()["message"].as_str().unwrap().contains(field),
                    "{answer:?}"
                );
                let path = format!("/apikeys/{}", uuid::Uuid::nil());
                let request = self.request(Method::PUT, &path).body(body.to_string());
                let request = request.header("content-type", "application/json");
                self.rest(&what, 400, request).await;
            }
        }
        let canary = self.canary();
        let mut body = self.credential("provider", &canary);
        body["provider"] = json!(canary);
        self.rest("a provider that is none", 400, self.post(body.to_string()))
            .await;
        let canary = self.plain();
        let texts = [
            format!("{{\"secret\": \"{canary}\", \"key\": }}"),
            format!("{{\"secret\": \"{canary}"),
            format!("{{\"secret\": {canary}}}"),
            format!("[\"{canary}\"]"),
            format!("\"{canary}\""),
            format!("{{\"secret\": \"{canary}\", \"secret\": \"{canary}\"}}"),
            canary.clone(),
        ];
        for text in texts {
            self.rest("malformed JSON", 400, self.post(text)).await;
        }
        let unknown = self.post(format!("{{\"{canary}\": \"{canary}\"}}"));
        self.named("an unknown member", &canary, unknown).await;
        let invalid = [b"{\"secret\": \"", canary.as_bytes(), b"\xff\"}"].concat();
        self.rest("bytes that are no text", 400, self.post(invalid))
            .await;
        let large = format!("{{\"secret\": \"{}\"}}", canary.repeat(1 << 16));
        let request = self.http2.request(Method::POST, "/apikeys").body(large);
        let request = request.bearer_auth(&self.env["ADMIN_TOKEN"]);
        let request = request.header("content-type", "application/json");
        self.rest("a large body", 413, request).await;
        let request = self.request(Method::POST, "/apikeys").body(canary.clone());
        let request = request.header("content-type", "text/plain");
        self.rest("a body that is not JSON", 415, request).await;
    }

    /// Puts a secret where a token, an id, a trace or a path belongs.
    pub(crate) async fn rest_places(&mut self) {
        let canary = self.plain();
        let id = uuid::Uuid::nil();
        for (method, status, path) in [
            (Method::GET, 404, format!("/{canary}")),
            (Method::GET, 404, format!("/{canary}?{canary}={canary}")),
            (Method::GET, 405, format!("/apikeys/{canary}")),
            (Method::DELETE, 404, format!("/apikeys/{canary}")),
            (Method::GET, 403, format!("/apikeys?workspaceId={canary}")),
            (Method::GET, 400, format!("/apikeys?capability={canary}")),
            (Method::GET, 400, format!("/apikeys?provider={canary}")),
        ] {
            self.rest("a path", status, self.request(method, &path))
                .await;
        }
        for (method, path) in [
            (Method::DELETE, format!("/apikeys/{id}?{canary}={canary}")),
            (
                Method::GET,
                format!("/apikeys?workspaceId={canary}&{canary}=%41{canary}"),
            ),
            (Method::GET, format!("/apikeys?{canary}={canary}")),
        ] {
            let request = self.request(method, &path);
            self.named("an unknown parameter", &canary, request).await;
        }
        let method = Method::from_bytes(canary.as_bytes()).unwrap();
        self.rest("a method", 405, self.request(method, "/apikeys"))
            .await;

        for (name, value) in [
            ("x-request-id", format!("Bearer {canary}")),
            ("x-request-id", format!("sk-kw-v1-{canary}")),
            ("x-request-id", format!("FB_AI_{canary}")),
            ("x-request-id", self.env["ADMIN_TOKEN"].to_owned()),
            ("traceparent", canary.clone()),
            ("traceparent", format!("00-{canary}-{canary}-01")),
            ("tracestate", format!("keyward={canary}")),
            ("baggage", format!("keyward={canary}")),
            ("user-agent", canary.clone()),
            ("cookie", format!("session={canary}")),
            ("x-api-key", canary.clone()),
            ("x-forwarded-for", canary.clone()),
        ] {
            let mut request = self.request(Method::GET, "/apikeys");
            if name == "tracestate" {
                let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
                request = request.header("traceparent", parent);
            }
            self.rest(name, 200, request.header(name, value)).await;
        }
        let timeout = self
            .request(Method::GET, "/apikeys")
            .header("grpc-timeout", &canary);
        self.rest("grpc-timeout", 400, timeout).await;
        let content = self
            .request(Method::POST, "/apikeys")
            .header("content-type", &canary);
        self.rest("content-type", 415, content.body("{}")).await;

        for token in self.tokens(&canary) {
            for rest in [self.rest.clone(), self.http2.clone()] {
                let request = rest
                    .request(Method::GET, "/apikeys")
                    .header("authorization", &token);
                self.rest("a token", 401, request).await;
            }
            let mut request = tonic::Request::new(ListApiKeysRequest::default());
            request
                .metadata_mut()
                .insert("authorization", token.parse().unwrap());
            let mut client = ApiKeyServiceClient::new(self.channel.clone());
            let rejected = client.list_api_keys(request).await.map(|_| String::new());
            assert!(!self.keep_status("a token", rejected));
        }
    }

    /// Returns headers that look like a token and are not one, or belong to another key.
    fn tokens(&self, canary: &str) -> Vec<String> {
        let part = |value: Value| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
        };
        let claims = part(json!({
            "iss": "keyward-dev", "aud": "keyward", "sub": canary, "org": canary, "exp": 4e9 as u64,
        }));
        let named = part(json!({ "alg": "EdDSA", "kid": canary }));
        let none = part(json!({ "alg": "none" }));
        let other = part(json!({ "alg": canary }));
        let good = &self.env["ADMIN_TOKEN"];
        vec![
            format!("Bearer {canary}"),
            format!("bearer   {canary}"),
            format!("Bearer {canary} {canary}"),
            format!("Basic {canary}"),
            canary.to_owned(),
            format!("Bearer {named}.{claims}.{canary}"),
            format!("Bearer {none}.{claims}."),
            format!("Bearer {other}.{claims}.{canary}"),
            format!("Bearer {good}{canary}"),
            format!("Bearer {}", good.rsplit_once('.').unwrap().0),
        ]
    }

    /// Deletes keys.
    pub(crate) async fn delete(&mut self, ids: impl Iterator<Item = &String>) {
        for id in ids {
            let request = self.request(Method::DELETE, &format!("/apikeys/{id}"));
            self.rest("delete", 200, request).await;
        }
    }
}
