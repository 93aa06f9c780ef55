//! Clients: REST, gRPC and gRPC-Web.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method};
use keyward::proto::v1::ResolveApiKeyRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use prost::Message;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

static HTTP: LazyLock<()> = LazyLock::new(|| {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
});

/// A REST client.
#[derive(Clone)]
pub(crate) struct Rest {
    url: String,
    http: reqwest::Client,
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            body: response.bytes().await.unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Expects a status, and returns the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

impl Rest {
    pub(crate) fn new(url: &str) -> Self {
        LazyLock::force(&HTTP);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            url: url.to_owned(),
            http,
        }
    }

    /// Returns the same client over HTTP/2.
    pub(crate) fn http2(url: &str) -> Self {
        LazyLock::force(&HTTP);
        let builder = reqwest::Client::builder()
            .no_proxy()
            .http2_prior_knowledge();
        Self {
            url: url.to_owned(),
            http: builder.build().unwrap(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).bearer_auth(token)).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: &Value,
    ) -> Answer {
        let request = self.request(method, path).bearer_auth(token);
        Answer::of(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
    }

    pub(crate) async fn create(
        &self,
        token: &str,
        workspace: &str,
        key: &str,
        secret: &str,
    ) -> Answer {
        let body = json!({
            "workspaceId": workspace, "provider": "AWS", "key": key, "secret": secret,
        });
        self.send(Method::POST, "/apikeys", token, &body).await
    }

    /// Returns the public keys of a workspace, newest first, with their ids.
    pub(crate) async fn list(&self, token: &str, workspace: &str) -> Vec<(String, String)> {
        let answer = self
            .get(&format!("/apikeys?workspaceId={workspace}"), token)
            .await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pair = |entry: &Value| (text(&entry["id"]), text(&entry["key"]));
        answer.expect(200)["apiKeys"]
            .as_array()
            .unwrap()
            .iter()
            .map(pair)
            .collect()
    }

    /// Calls a method over gRPC-Web; the body of the response contains the trailers.
    pub(crate) fn grpc_web(
        &self,
        method: &str,
        token: &str,
        form: WebForm,
        frame: Bytes,
    ) -> reqwest::RequestBuilder {
        let (content_type, body) = match form {
            WebForm::Binary => ("application/grpc-web+proto", frame),
            WebForm::Text => (
                "application/grpc-web-text+proto",
                STANDARD.encode(frame).into(),
            ),
        };
        let request = self.request(Method::POST, &format!("/keyward.v1.{method}"));
        let request = request
            .header("content-type", content_type)
            .header("accept", content_type);
        request
            .header("x-grpc-web", "1")
            .bearer_auth(token)
            .body(body)
    }
}

/// The two forms of gRPC-Web.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WebForm {
    Binary,
    Text,
}

/// Returns a message as gRPC frames it.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

/// Opens an HTTP/2 connection.
pub(crate) async fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// Returns a message with its caller's token.
pub(crate) fn called_by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Returns the decrypted secret of a key.
pub(crate) async fn resolve(channel: &Channel, token: &str, uuid: &str) -> String {
    let request = called_by(
        token,
        ResolveApiKeyRequest {
            uuid: uuid.to_owned(),
        },
    );
    let mut client = ApiKeyServiceClient::new(channel.clone());
    client
        .resolve_api_key(request)
        .await
        .unwrap()
        .into_inner()
        .secret
}
