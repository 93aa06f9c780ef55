//! Subset of HTTP/2 (RFC 9113) for the attacks, as raw bytes. Header fields are never Huffman-coded
//! (RFC 7541).

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// Connection preface of a client.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Maximum payload that every server accepts.
pub(crate) const MAX_PAYLOAD: usize = 16_384;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error code CANCEL, which cancels a request.
pub(crate) const CANCEL: u32 = 8;

/// Setting: initial flow-control window for response bodies.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// Appends a frame.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Returns the preface and the client's settings.
pub(crate) fn opening(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    let mut out = PREFACE.to_vec();
    frame(&mut out, SETTINGS, 0, 0, &payload);
    frame(&mut out, SETTINGS, ACK, 0, &[]);
    out
}

/// Appends a header field; with `indexed` the server adds it to its dynamic table.
pub(crate) fn field(block: &mut Vec<u8>, name: &[u8], value: &[u8], indexed: bool) {
    block.push(if indexed { 0x40 } else { 0 });
    for text in [name, value] {
        integer(block, text.len());
        block.extend_from_slice(text);
    }
}

/// Returns the pseudo-header fields of a request, then the others.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "keyward.test"),
    ];
    for (name, value) in pseudo.iter().chain(fields) {
        field(&mut block, name.as_bytes(), value.as_bytes(), false);
    }
    block
}

/// Appends an integer with a prefix of seven bits.
fn integer(out: &mut Vec<u8>, value: usize) {
    const PREFIX: usize = 127;
    if value < PREFIX {
        out.push(low_byte(value));
        return;
    }
    out.push(low_byte(PREFIX));
    let mut rest = value - PREFIX;
    while rest >= 128 {
        out.push(low_byte(rest % 128) | 0x80);
        rest /= 128;
    }
    out.push(low_byte(rest));
}

fn low_byte(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or_default()
}

/// Received frame.
pub(crate) struct Incoming {
    pub(crate) kind: u8,
    flags: u8,
    /// Identifier of the stream; 0 for the connection.
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Reads the next frame.
///
/// # Errors
///
/// The connection has ended.
pub(crate) async fn read(
    reading: &mut tokio::io::BufReader<OwnedReadHalf>,
) -> io::Result<Incoming> {
    let mut head = [0; 9];
    reading.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
    reading.read_exact(&mut payload).await?;
    Ok(Incoming {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
        payload,
    })
}

impl Incoming {
    /// Returns true if this is the last frame of its stream.
    pub(crate) fn ends_stream(&self) -> bool {
        let last = matches!(self.kind, HEADERS | DATA) && self.flags & END_STREAM != 0;
        last || self.kind == RST_STREAM
    }

    /// Returns true if the frame acknowledges a frame of the client.
    pub(crate) fn is_ack(&self) -> bool {
        matches!(self.kind, SETTINGS | PING) && self.flags & ACK != 0
    }

    /// Value of a setting, if this SETTINGS frame has it.
    pub(crate) fn setting(&self, wanted: u16) -> Option<u32> {
        self.payload.chunks_exact(6).find_map(|setting| {
            let (name, value) = setting.split_at(2);
            let is_wanted = name == wanted.to_be_bytes();
            is_wanted.then(|| code(value, 0))
        })
    }

    /// Bytes that a WINDOW_UPDATE frame adds to a window.
    pub(crate) fn increment(&self) -> u32 {
        code(&self.payload, 0) & 0x7fff_ffff
    }

    /// Returns the name under which an attacker counts the frame: resets, GOAWAY, and responses by
    /// their status.
    pub(crate) fn name(&self) -> Option<String> {
        match self.kind {
            // The error code is in the last four bytes, or the second four.
            RST_STREAM => Some(format!("RST_STREAM {}", code(&self.payload, 0))),
            GOAWAY => Some(format!("GOAWAY {}", code(&self.payload, 4))),
            HEADERS => Some(format!("status {}", status(&self.payload))),
            _ => None,
        }
    }
}

fn code(payload: &[u8], at: usize) -> u32 {
    let bytes = payload
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    u32::from_be_bytes(bytes.unwrap_or_default())
}

/// Returns the status at the beginning of a response, if it is not Huffman-coded.
fn status(block: &[u8]) -> String {
    match block.first() {
        // From the static table.
        Some(byte @ 0x88..=0x8e) => {
            let known = ["200", "204", "206", "304", "400", "404", "500"];
            known[usize::from(byte - 0x88)].to_owned()
        }
        // From the server's dynamic table, which is not tracked here.
        Some(byte) if byte & 0x80 != 0 => "seen before".to_owned(),
        _ => "another".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_length_is_written_in_several_bytes() {
        let mut out = Vec::new();
        integer(&mut out, 126);
        integer(&mut out, 127);
        integer(&mut out, 1337);
        assert_eq!(out, [126, 127, 0, 127, 0xba, 9]);
    }

    #[test]
    fn a_frame_has_length_kind_flags_and_stream() {
        let mut out = Vec::new();
        frame(&mut out, SETTINGS, ACK, 0, &[7; 8]);
        assert_eq!(out[..9], [0, 0, 8, SETTINGS, ACK, 0, 0, 0, 0]);
        assert_eq!(out.len(), 17);
    }
}
