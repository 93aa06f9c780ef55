//! HTTP as bytes: requests and frames that a well-behaved client does not send or observe.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Connects to an address like `127.0.0.1:8080`.
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until the connection is closed or reset.
pub(crate) fn rest(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("it was not closed: {error}; {}", bytes.escape_ascii()),
        }
    }
}

/// Reads an HTTP/1.1 response: its head in lower case, and its body.
pub(crate) fn answer(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let count = stream.read(&mut byte).unwrap();
        assert_eq!(count, 1, "it was closed: {}", head.escape_ascii());
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

/// Returns an HTTP/1.1 request that needs no token.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: keyward\r\n\r\n")
}

/// An HTTP/2 frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        let payload = payload.to_vec();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap();
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Returns four bytes of the payload, as a number.
    pub(crate) fn number(&self, from: usize) -> u32 {
        u32::from_be_bytes(self.payload[from..from + 4].try_into().unwrap())
    }
}

/// Encodes headers without a dynamic table. Names and values are short.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // A length above 126 takes more than one byte.
            match text.len() {
                length @ 0..127 => block.push(length as u8),
                length => {
                    block.push(127);
                    let mut left = length - 127;
                    while left >= 128 {
                        block.push((left % 128) as u8 | 128);
                        left /= 128;
                    }
                    block.push(left as u8);
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Returns the headers of a request without a body, or before a body.
pub(crate) fn request(stream: u32, method: &str, path: &str, more: &[(&str, &str)]) -> Frame {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "keyward"),
    ];
    fields.extend(more);
    let end = if method == "GET" { END_STREAM } else { 0 };
    Frame::new(HEADERS, END_HEADERS | end, stream, &headers(&fields))
}

/// An HTTP/2 client that sends nothing by itself.
pub(crate) struct Http2(pub(crate) TcpStream);

impl Http2 {
    /// Connects and sends the preface with these settings.
    pub(crate) fn connect(address: &str, settings: &[u8]) -> Self {
        let mut client = Self(connect(address));
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(Frame::new(SETTINGS, 0, 0, settings).bytes());
        client.write(&hello);
        client
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        self.write(&frame.bytes());
    }

    /// Returns the next frame, or `None` if the connection was closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.0.read_exact(&mut head) {
            Ok(()) => {}
            Err(error)
                if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset]
                    .contains(&error.kind()) =>
            {
                return None;
            }
            Err(error) => panic!("no frame came: {error}"),
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).unwrap();
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
            payload,
        })
    }

    /// Returns the next frame of that kind, and responds to PINGs before it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().expect("it was closed");
            self.answer(&frame);
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Returns the frames until all of these have arrived, by kind and stream, in any order; responds to
    /// PINGs.
    #[track_caller]
    pub(crate) fn wait_for_all(&mut self, wanted: &[(u8, u32)]) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        let is_there = |frames: &[Frame], (kind, stream)| {
            let mut frames = frames.iter();
            frames.any(|frame| (frame.kind, frame.stream) == (kind, stream))
        };
        while !wanted.iter().all(|wanted| is_there(&frames, *wanted)) {
            let frame = self.next();
            let frame = frame.unwrap_or_else(|| panic!("it was closed after {frames:?}"));
            self.answer(&frame);
            frames.push(frame);
        }
        frames
    }

    fn answer(&mut self, frame: &Frame) {
        if frame.kind == PING && frame.flags & ACK == 0 {
            let pong = Frame::new(PING, ACK, 0, &frame.payload);
            // A peer that has closed the connection does not receive it.
            let _ = self.0.write_all(&pong.bytes());
        }
    }

    /// Reads until the connection is closed, and responds to PINGs.
    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            self.answer(&frame);
            frames.push(frame);
        }
        frames
    }

    /// Requests `/healthz`, and expects a response.
    pub(crate) fn healthz(&mut self, stream: u32) {
        self.send(&request(stream, "GET", "/healthz", &[]));
        assert_eq!(self.wait_for(HEADERS).stream, stream);
        let data = self.wait_for(DATA);
        assert_eq!(data.payload, br#"{"status":"ok"}"#);
    }
}
