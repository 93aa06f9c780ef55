//! Counts calls in the bytes that an HTTP/2 client sends, as they are read. Hyper reads all available bytes
//! before it begins a call.

/// Length of the connection preface (RFC 9113, section 3.4), in bytes.
const PREFACE_BYTES: usize = 24;
/// Length of a frame header (RFC 9113, section 4.1), in bytes.
const HEADER_BYTES: usize = 9;
/// Type of the frame that begins a call.
const HEADERS: u8 = 1;

/// Position of the reader in the client's frames.
#[derive(Debug)]
pub(crate) struct CallCounter {
    /// Bytes to skip before the next frame header.
    skip: usize,
    header: [u8; HEADER_BYTES],
    header_read: usize,
}

impl CallCounter {
    /// Returns the position at the start of a connection.
    pub(crate) fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_read: 0,
        }
    }

    /// Returns the number of calls that begin in these bytes.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> i32 {
        let mut calls = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let missing = &mut self.header[self.header_read..];
            let taken = missing.len().min(bytes.len());
            missing[..taken].copy_from_slice(&bytes[..taken]);
            self.header_read += taken;
            bytes = &bytes[taken..];
            if self.header_read == HEADER_BYTES {
                let [high, middle, low, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.header_read = 0;
                calls += i32::from(kind == HEADERS);
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [_, high, middle, low] = (payload as u32).to_be_bytes();
        let mut bytes = vec![high, middle, low, kind, 0, 0, 0, 0, 1];
        bytes.extend(vec![HEADERS; payload]);
        bytes
    }

    #[test]
    fn calls_are_counted_wherever_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, payload) in [(4, 0), (1, 300), (0, 70_000), (1, 0), (8, 4), (1, 20)] {
            bytes.extend(frame(kind, payload));
        }
        for size in [1, 2, 8, 9, 10, 255, 1024, bytes.len()] {
            let mut calls = CallCounter::new();
            let counted: i32 = bytes.chunks(size).map(|chunk| calls.count(chunk)).sum();
            assert_eq!(counted, 3, "in pieces of {size}");
        }
    }
}
