//! The gRPC-Web protocol, with messages framed by hand.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use reqwest::Version;

use super::TestServer;

/// The two forms of gRPC-Web, over the two versions of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebFlavor {
    Binary,
    Text,
    BinaryOverHttp2,
    TextOverHttp2,
}

impl WebFlavor {
    pub const ALL: [Self; 4] = [
        Self::Binary,
        Self::Text,
        Self::BinaryOverHttp2,
        Self::TextOverHttp2,
    ];

    pub fn version(self) -> Version {
        match self {
            Self::Binary | Self::Text => Version::HTTP_11,
            Self::BinaryOverHttp2 | Self::TextOverHttp2 => Version::HTTP_2,
        }
    }

    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::TextOverHttp2)
    }

    fn content_type(self) -> &'static str {
        match self.is_text() {
            false => "application/grpc-web+proto",
            true => "application/grpc-web-text+proto",
        }
    }

    /// Decodes the bytes of a body, or of a part of it that was sent at once.
    pub fn decode(self, body: &[u8]) -> Vec<u8> {
        match self.is_text() {
            false => body.to_vec(),
            true => unpadded(body),
        }
    }
}

/// A response: messages, and trailers from any position.
#[derive(Debug)]
pub struct WebAnswer {
    pub http_status: u16,
    pub headers: http::HeaderMap,
    pub messages: Vec<Vec<u8>>,
    pub trailers: BTreeMap<String, String>,
}

impl WebAnswer {
    pub fn code(&self) -> &str {
        &self.trailers["grpc-status"]
    }

    /// Returns the message, with percent-encoding undone where the tests need it.
    pub fn message(&self) -> String {
        self.trailers["grpc-message"].replace("%20", " ")
    }
}

impl TestServer {
    /// Calls a method, given its path, over gRPC-Web.
    pub async fn grpc_web(
        &self,
        flavor: WebFlavor,
        path: &str,
        token: Option<&str>,
        message: &impl Message,
    ) -> WebAnswer {
        let mut request = self.grpc_web_request(flavor, path, frame(message));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        WebAnswer::of(flavor, request).await
    }

    /// Returns a request that is not sent yet, with frames made by the test.
    pub fn grpc_web_request(
        &self,
        flavor: WebFlavor,
        path: &str,
        framed: Vec<u8>,
    ) -> reqwest::RequestBuilder {
        let http = match flavor.version() {
            Version::HTTP_2 => &self.http2,
            _ => &self.http,
        };
        let body = match flavor.is_text() {
            false => framed,
            true => STANDARD.encode(framed).into_bytes(),
        };
        http.post(self.url(path))
            .version(flavor.version())
            .header("content-type", flavor.content_type())
            .header("accept", flavor.content_type())
            .header("x-grpc-web", "1")
            .body(body)
    }
}

impl WebAnswer {
    /// Sends a request and reads its response to the end.
    pub async fn of(flavor: WebFlavor, request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (http_status, version) = (response.status().as_u16(), response.version());
        assert_eq!(version, flavor.version());
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], flavor.content_type());
        let body = flavor.decode(&response.bytes().await.unwrap());
        let (messages, mut trailers) = unframe(&body);
        for name in ["grpc-status", "grpc-message"] {
            if let Some(value) = headers.get(name) {
                trailers.insert(name.to_owned(), value.to_str().unwrap().to_owned());
            }
        }
        Self {
            http_status,
            headers,
            messages,
            trailers,
        }
    }
}

/// Returns a message after its flag and its length.
pub fn frame(message: &impl Message) -> Vec<u8> {
    flagged(0, &message.encode_to_vec())
}

/// Returns bytes after a flag and their length; flag 1 marks them as compressed.
pub fn flagged(flag: u8, content: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.extend((content.len() as u32).to_be_bytes());
    framed.extend(content);
    framed
}

/// Decodes base64 that may have been encoded in pieces, each with its own padding.
fn unpadded(text: &[u8]) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0);
    text.chunks(4)
        .flat_map(|chunk| STANDARD.decode(chunk).unwrap())
        .collect()
}

/// Returns the messages of a body, compressed or not, and its trailers.
pub fn unframe(mut body: &[u8]) -> (Vec<Vec<u8>>, BTreeMap<String, String>) {
    let (mut messages, mut trailers) = (Vec::new(), BTreeMap::new());
    while let Some((head, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let (content, rest) = rest.split_at(length);
        body = rest;
        if head[0] & 0x80 == 0 {
            messages.push(content.to_vec());
            continue;
        }
        for line in std::str::from_utf8(content)
            .unwrap()
            .split("\r\n")
            .filter(|l| !l.is_empty())
        {
            let (name, value) = line.split_once(':').unwrap();
            trailers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    assert!(body.is_empty(), "half a frame");
    (messages, trailers)
}
