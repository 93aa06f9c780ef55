//! The gRPC-Web face: HTTP/1.1, with messages framed by hand.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use reqwest::Version;

use super::TestServer;

/// The two forms of gRPC-Web.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebFlavor {
    Binary,
    Text,
}

impl WebFlavor {
    pub const ALL: [Self; 2] = [Self::Binary, Self::Text];

    fn content_type(self) -> &'static str {
        match self {
            Self::Binary => "application/grpc-web+proto",
            Self::Text => "application/grpc-web-text+proto",
        }
    }
}

/// What came back: messages, and trailers wherever they were.
#[derive(Debug)]
pub struct WebAnswer {
    pub http_status: u16,
    pub version: Version,
    pub headers: http::HeaderMap,
    pub messages: Vec<Vec<u8>>,
    pub trailers: BTreeMap<String, String>,
}

impl WebAnswer {
    pub fn code(&self) -> &str {
        &self.trailers["grpc-status"]
    }

    /// The message, with its percent-encoding undone where the tests need it.
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
        let mut request = self
            .http
            .post(self.url(path))
            .version(Version::HTTP_11)
            .header("content-type", flavor.content_type())
            .header("accept", flavor.content_type())
            .header("x-grpc-web", "1");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let framed = frame(message);
        let body = match flavor {
            WebFlavor::Binary => framed,
            WebFlavor::Text => STANDARD.encode(framed).into_bytes(),
        };
        let response = request.body(body).send().await.unwrap();
        let (http_status, version) = (response.status().as_u16(), response.version());
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], flavor.content_type());
        let body = response.bytes().await.unwrap();
        let body = match flavor {
            WebFlavor::Binary => body.to_vec(),
            WebFlavor::Text => unpadded(&body),
        };
        let (messages, mut trailers) = unframe(&body);
        for name in ["grpc-status", "grpc-message"] {
            if let Some(value) = headers.get(name) {
                trailers.insert(name.to_owned(), value.to_str().unwrap().to_owned());
            }
        }
        WebAnswer {
            http_status,
            version,
            headers,
            messages,
            trailers,
        }
    }
}

/// A message behind its flag and its length.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

/// Decodes base64 that may have been encoded in pieces, each with its own padding.
fn unpadded(text: &[u8]) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0);
    text.chunks(4)
        .flat_map(|chunk| STANDARD.decode(chunk).unwrap())
        .collect()
}

fn unframe(mut body: &[u8]) -> (Vec<Vec<u8>>, BTreeMap<String, String>) {
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
