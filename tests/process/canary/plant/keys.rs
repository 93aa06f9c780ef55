//! Keys that Keyward makes: each is shown once, then used, and put where a caller might put it by mistake.

use http::Method;
use serde_json::{Value, json};

use super::Planter;
use crate::support::client::Answer;

/// Prefixes of the paths of issued keys.
const MOUNTS: [&str; 2] = ["", "/api/v1"];

/// A key that Keyward made.
#[derive(Debug, Clone)]
pub(crate) struct Minted {
    pub(crate) what: String,
    pub(crate) plaintext: String,
    pub(in crate::canary) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::canary) enum Kind {
    /// With its hash.
    Issued(String),
    /// With its hash.
    Management(String),
    /// The secret of a repo AI key, with the key's id and its public half.
    RepoAi(String, String),
}

impl Minted {
    /// Returns the public part: the label, or the public half.
    pub(crate) fn shown(&self) -> String {
        let text = &self.plaintext;
        match &self.kind {
            Kind::RepoAi(_, public) => public.clone(),
            _ => {
                let body = text.len() - 72;
                format!("{}...{}", &text[..body + 3], &text[text.len() - 4..])
            }
        }
    }

    /// Returns texts that are nearly the plaintext, as typing or a form produces them.
    pub(in crate::canary) fn typos(&self) -> Vec<String> {
        let text = &self.plaintext;
        let swapped = |at: usize| {
            let other = if &text[at..=at] == "0" { "1" } else { "0" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        };
        let body = text.len() - 72;
        vec![
            swapped(body),
            swapped(body + 40),
            swapped(text.len() - 1),
            text[..text.len() - 1].to_owned(),
            format!("{text}0"),
            text.to_ascii_uppercase(),
            format!("x{}", &text[1..]),
            text[body..].to_owned(),
        ]
    }
}

impl Planter {
    pub(in crate::canary) fn management_key(&self) -> String {
        self.env["MANAGEMENT_KEY"].to_owned()
    }

    /// Keeps the only response that may have a plaintext, without it.
    pub(in crate::canary) fn keep_without(&mut self, what: &str, answer: &Answer, plaintext: &str) {
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(body.matches(plaintext).count(), 1, "{what}");
        let answer = Answer {
            status: answer.status,
            headers: answer.headers.clone(),
            body: body.replace(plaintext, "").into_bytes().into(),
        };
        self.keep(what, &answer);
    }

    async fn mint(
        &mut self,
        what: &str,
        path: &str,
        caller: &str,
        body: &Value,
    ) -> (Value, String) {
        let answer = self.rest.send(Method::POST, path, caller, body).await;
        let created = answer.expect(201);
        let member = if created["secret"].is_string() {
            "secret"
        } else {
            "key"
        };
        let plaintext = created[member].as_str().unwrap().to_owned();
        self.keep_without(what, &answer, &plaintext);
        (created, plaintext)
    }

    /// Makes keys over REST.
    pub(crate) async fn rest_keys(&mut self) -> Vec<Minted> {
        let mut minted = Vec::new();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for mount in MOUNTS {
            let (what, path) = (format!("issue at {mount}/keys"), format!("{mount}/keys"));
            let body = json!({ "name": "for canaries", "limit": 1, "limit_reset": "daily" });
            let caller = self.management_key();
            let (created, plaintext) = self.mint(&what, &path, &caller, &body).await;
            let kind = Kind::Issued(text(&created["data"]["hash"]));
            minted.push(Minted {
                what,
                plaintext,
                kind,
            });
        }
        let path = format!("/repo/{}/ai/apikey", &self.env["REPO_A"]);
        let body = json!({ "name": "over REST", "aiType": "OPENAI" });
        let (what, caller) = (
            "create a repo AI key".to_owned(),
            self.env["ADMIN_TOKEN"].to_owned(),
        );
        let (created, plaintext) = self.mint(&what, &path, &caller, &body).await;
        // A second key of the same name is rejected, after its secret was made.
        let again = self.rest.send(Method::POST, &path, &caller, &body).await;
        again.expect(400);
        self.keep("create a repo AI key again", &again);
        let kind = Kind::RepoAi(text(&created["id"]), text(&created["key"]));
        minted.push(Minted {
            what,
            plaintext,
            kind,
        });
        minted
    }

    /// Presents a key as a token, with and without typos, over both versions of HTTP.
    pub(crate) async fn rest_tokens(&mut self, minted: &Minted, live: bool) {
        let [own, administering] = match &minted.kind {
            _ if !live => [401, 401],
            Kind::Issued(_) => [200, 403],
            Kind::Management(_) => [200, 200],
            Kind::RepoAi(..) => [401, 401],
        };
        for rest in [self.rest.clone(), self.http2.clone()] {
            for mount in MOUNTS {
                for (path, status) in [("key", own), ("keys", administering)] {
                    let request = rest.request(Method::GET, &format!("{mount}/{path}"));
                    let request = request.bearer_auth(&minted.plaintext);
                    self.rest(&minted.what, status, request).await;
                }
            }
            for path in ["/apikeys", "/repo/x/ai/apikey"] {
                let request = rest
                    .request(Method::GET, path)
                    .bearer_auth(&minted.plaintext);
                let status = if own == 200 { 403 } else { 401 };
                self.rest(&minted.what, status, request).await;
            }
        }
        for typo in minted.typos() {
            let request = self.rest.request(Method::GET, "/key").bearer_auth(&typo);
            self.rest("a typo", 401, request).await;
        }
        for wrong in [
            format!("Basic {}", minted.plaintext),
            minted.plaintext.clone(),
            format!("Bearer {0} {0}", minted.plaintext),
            format!("Bearer Bearer {}", minted.plaintext),
        ] {
            let request = self
                .rest
                .request(Method::GET, "/key")
                .header("authorization", wrong);
            self.rest("no bearer", 401, request).await;
        }
    }

    /// Puts a key into paths, queries and headers.
    pub(crate) async fn rest_key_places(&mut self, minted: &Minted) {
        let (token, caller) = (&minted.plaintext, self.management_key());
        for (method, status, path) in [
            (Method::GET, 404, format!("/{token}")),
            (Method::GET, 404, format!("/{token}?{token}={token}")),
            (Method::GET, 404, format!("/keys/{token}")),
            (Method::GET, 404, format!("/api/v1/keys/{token}")),
            (Method::DELETE, 404, format!("/keys/{token}")),
            (Method::POST, 405, format!("/keys/{token}")),
            (Method::GET, 400, format!("/keys?offset={token}")),
            (Method::GET, 403, format!("/keys?workspace_id={token}")),
            (Method::GET, 400, format!("/keys?include_disabled={token}")),
            (Method::GET, 400, format!("/key?{token}={token}")),
        ] {
            let request = self.rest.request(method, &path).bearer_auth(&caller);
            self.rest("a path", status, request).await;
        }
        let (admin, repo) = (
            self.env["ADMIN_TOKEN"].to_owned(),
            self.env["REPO_A"].to_owned(),
        );
        for (method, status, path) in [
            (Method::GET, 403, format!("/repo/{token}/ai/apikey")),
            (
                Method::DELETE,
                404,
                format!("/repo/{repo}/ai/apikey/{token}"),
            ),
            (
                Method::DELETE,
                403,
                format!("/repo/{token}/ai/apikey/{token}"),
            ),
        ] {
            let request = self.rest.request(method, &path).bearer_auth(&admin);
            self.rest("a path", status, request).await;
        }
        for name in [
            "x-request-id",
            "user-agent",
            "x-api-key",
            "cookie",
            "x-forwarded-for",
            "baggage",
        ] {
            let request = self.rest.request(Method::GET, "/key").bearer_auth(&caller);
            self.rest(name, 200, request.header(name, token)).await;
        }
        let request = self
            .rest
            .request(Method::GET, "/key")
            .header("x-api-key", token);
        self.rest("no authorization", 401, request).await;
    }

    /// Puts a key into bodies, as another type or as another member.
    pub(crate) async fn rest_key_bodies(&mut self, minted: &Minted) {
        let (token, caller) = (&minted.plaintext, self.management_key());
        let send = async |planter: &mut Self, method: Method, path: &str, body: String, status| {
            let caller = if path.starts_with("/repo") {
                &planter.env["ADMIN_TOKEN"]
            } else {
                &caller
            };
            let request = planter
                .rest
                .request(method, path)
                .bearer_auth(caller)
                .body(body);
            let request = request.header("content-type", "application/json");
            planter.rest("a body", status, request).await;
        };
        let fields = [
            "name",
            "limit",
            "limit_reset",
            "include_byok_in_limit",
            "expires_at",
            "workspace_id",
            "creator_user_id",
            "external_user",
            "external",
        ];
        for field in fields {
            for wrong in [json!([token]), json!({ token: token })] {
                let mut body = json!({ "name": "never made" });
                body[field] = wrong;
                send(self, Method::POST, "/keys", body.to_string(), 400).await;
            }
        }
        for field in [
            "limit",
            "limit_reset",
            "include_byok_in_limit",
            "expires_at",
            "external",
        ] {
            let body = json!({ "name": "never made", field: token }).to_string();
            send(self, Method::POST, "/keys", body, 400).await;
        }
        let body = json!({ "name": "never made", "workspace_id": token }).to_string();
        send(self, Method::POST, "/keys", body, 403).await;
        for body in [
            format!("{{\"name\": \"{token}\", \"limit\": }}"),
            format!("{{\"name\": \"{token}"),
            format!("{{\"name\": {token}}}"),
            format!("[\"{token}\"]"),
            format!("{{\"{token}\": \"{token}\"}}"),
            token.clone(),
        ] {
            send(self, Method::POST, "/keys", body, 400).await;
        }
        let path = format!("/repo/{}/ai/apikey", &self.env["REPO_A"]);
        for body in [
            json!({ "name": [token], "aiType": "OPENAI" }),
            json!({ "name": { token: token }, "aiType": "OPENAI" }),
            json!({ "name": "never made", "aiType": token }),
            json!({ "name": "never made", "aiType": [token] }),
        ] {
            send(self, Method::POST, &path, body.to_string(), 400).await;
        }
        let path = format!("/keys/{}", "0".repeat(64));
        for body in [
            json!({ "name": [token] }),
            json!({ "disabled": token }),
            json!({ "limit": token }),
        ] {
            send(self, Method::PATCH, &path, body.to_string(), 400).await;
        }
    }

    /// Disables an issued key.
    pub(crate) async fn disable_key(&mut self, hash: &str) {
        let (path, caller) = (format!("/keys/{hash}"), self.management_key());
        let body = json!({ "disabled": true });
        let answer = self.rest.send(Method::PATCH, &path, &caller, &body).await;
        answer.expect(200);
        self.keep("disable", &answer);
    }

    /// Deletes or revokes a key.
    pub(crate) async fn end_key(&mut self, minted: &Minted) {
        let (path, caller) = match &minted.kind {
            Kind::Issued(hash) => (format!("/keys/{hash}"), self.management_key()),
            Kind::RepoAi(id, _) => (
                format!("/repo/{}/ai/apikey/{id}", &self.env["REPO_A"]),
                self.env["ADMIN_TOKEN"].to_owned(),
            ),
            Kind::Management(hash) => return self.revoke(hash).await,
        };
        let answer = self
            .rest
            .send(Method::DELETE, &path, &caller, &json!({}))
            .await;
        answer.expect(200);
        self.keep("end", &answer);
    }
}
