//! The REST protocol, through an HTTP client.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{TestServer, User};

/// A request under construction.
pub struct RestRequest {
    request: reqwest::RequestBuilder,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl TestServer {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns a request without a token.
    pub fn call(&self, method: Method, path: &str) -> RestRequest {
        RestRequest {
            request: self.http.request(method, self.url(path)),
        }
    }

    pub fn get(&self, path: &str) -> RestRequest {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RestRequest {
        self.call(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> RestRequest {
        self.call(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> RestRequest {
        self.call(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> RestRequest {
        self.call(Method::DELETE, path)
    }

    /// Creates a provider key as the owner and returns its id.
    pub async fn create(&self, body: Value) -> String {
        let answer = self
            .post("/apikeys")
            .bearer(&self.token(User::Owner))
            .json(&body)
            .send();
        let answer = answer.await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["apiKeyId"].as_str().unwrap().to_owned()
    }

    /// Returns the provider keys of a workspace as the owner sees them.
    pub async fn list(&self, workspace: &str) -> Vec<Value> {
        let path = format!("/apikeys?workspaceId={workspace}");
        let answer = self
            .get(&path)
            .bearer(&self.token(User::Owner))
            .send()
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["apiKeys"].as_array().unwrap().clone()
    }

    /// Polls until the server is not ready: a recent readiness result may be repeated.
    pub async fn until_not_ready(&self) {
        let asking = async { while self.get("/readyz").send().await.status != 503 {} };
        tokio::time::timeout(std::time::Duration::from_secs(60), asking)
            .await
            .expect("it stays ready");
    }

    /// Sends bytes over a separate connection and reads until the server closes it, for requests that HTTP
    /// clients cannot send.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

impl RestRequest {
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Adds a header, besides others of its name.
    pub fn header(self, name: &str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        Self {
            request: self.request.header(name, value),
        }
    }

    pub fn json(self, body: &Value) -> Self {
        self.text("application/json", body.to_string())
    }

    pub fn text(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        let call = self.header("content-type", content_type);
        Self {
            request: call.request.body(body),
        }
    }

    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self {
            request: self.request.body(body),
        }
    }

    pub async fn send(self) -> Answer {
        let response = self.request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            body: response.text().await.unwrap(),
        }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Expects exactly this JSON, byte for byte, and a request id.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()));
    }

    /// Expects an error of the Flashback paths.
    #[track_caller]
    pub fn rejects(&self, status: u16, message: &str) {
        let message = serde_json::to_string(message).unwrap();
        self.is(
            status,
            &format!(r#"{{"success":false,"message":{message}}}"#),
        );
    }
}
