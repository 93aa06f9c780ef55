//! Compression of bodies: gzip and zstd, with the libraries that tonic uses for gRPC.
//!
//! Limits apply to the decompressed request body and to the body as sent, which may decompress to
//! nothing. Reading stops at a limit, so a small body cannot become a large one in memory.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::{GzDecoder, GzEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use tonic::Status;
use tonic::codec::SingleMessageCompressionOverride;
use zstd::stream::raw::{self, InBuffer, Operation, OutBuffer};
use zstd::stream::zio;
use zstd::zstd_safe::{DParameter, WriteBuf};

use crate::body::Body;
use crate::preference::Preferences;
use crate::rejection::{BodyTooLarge, Rejection, body_rejection};

/// Minimum size of a body to compress. Compressing a smaller body saves hardly any packets.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// Minimum size of a gRPC message to compress. Smaller messages hardly shrink: a frame of gzip or
/// zstd has some 20 bytes of overhead.
const MIN_COMPRESSED_MESSAGE_BYTES: usize = 256;
/// Maximum window of zstd as a content coding, 8 MiB (RFC 9659).
const MAX_WINDOW_LOG: u32 = 23;
/// Maximum number of gzip members or zstd frames in a body. Each needs its own decoder state, even
/// if it is empty.
const MAX_PARTS: usize = 16;
/// Default level of zstd: fast, with smaller output than gzip.
const ZSTD_LEVEL: i32 = 3;

/// Content coding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// Returns the coding of a request's body.
    ///
    /// # Errors
    ///
    /// The coding is unknown, or there is more than one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Rejection> {
        let mut found = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = value.to_str().map_err(|_| unsupported())?;
            for name in text.split(',').map(str::trim) {
                let coding = match name.to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "zstd" => Self::Zstd,
                    _ => return Err(unsupported()),
                };
                if found != Self::Identity {
                    return Err(unsupported());
                }
                found = coding;
            }
        }
        Ok(found)
    }

    /// Returns the coding for a response: the one that the client prefers, or zstd if it prefers
    /// both equally.
    fn accepted(asked: &Accepted) -> Self {
        let Some(list) = Preferences::of(asked.0.iter()) else {
            return Self::Identity;
        };
        let gzip = list.coding("gzip").max(list.named("x-gzip").unwrap_or(0));
        let zstd = list.coding("zstd");
        // Codings that are not listed have equal weight.
        let identity = list.named("identity").unwrap_or(0);
        let best = gzip.max(zstd);
        if best == 0 || identity > best {
            Self::Identity
        } else if zstd == best {
            Self::Zstd
        } else {
            Self::Gzip
        }
    }
}

fn unsupported() -> Rejection {
    Rejection::unsupported_encoding()
}

/// Reads a request's body.
///
/// # Errors
///
/// The body is larger than `limit_bytes` before or after decompression, does not match its coding,
/// has too many parts, or cannot be read.
pub(crate) async fn read<B>(body: B, coding: Coding, limit_bytes: u64) -> Result<Bytes, Rejection>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit_bytes {
        return Err(Rejection::body_too_large(limit_bytes));
    }
    let mut pieces = Pieces::new(coding, limit_bytes);
    let mut sent_bytes = 0_u64;
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| body_rejection(&*error.into()))?;
        if let Ok(mut data) = frame.into_data() {
            sent_bytes = sent_bytes.saturating_add(data.remaining() as u64);
            if sent_bytes > limit_bytes {
                return Err(Rejection::body_too_large(limit_bytes));
            }
            pieces.push(data.copy_to_bytes(data.remaining()))?;
        }
    }
    pieces.finish()
}

/// Data received from a body so far.
enum Pieces {
    /// No data, or one chunk, which need not be copied.
    One {
        piece: Bytes,
        limit_bytes: u64,
    },
    Many(Sink),
    Gzip(Box<Members>),
    Zstd(Box<zio::Writer<Sink, Frames>>),
    /// A coded body without data so far. If it stays empty, the request has no body.
    Nothing {
        coding: Coding,
        limit_bytes: u64,
    },
}

impl Pieces {
    fn new(coding: Coding, limit_bytes: u64) -> Self {
        match coding {
            Coding::Identity => Self::One {
                piece: Bytes::new(),
                limit_bytes,
            },
            coding => Self::Nothing {
                coding,
                limit_bytes,
            },
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Rejection> {
        if data.is_empty() {
            return Ok(());
        }
        match self {
            Self::One { piece, .. } if piece.is_empty() => {
                *piece = data;
                return Ok(());
            }
            Self::One { piece, limit_bytes } => {
                let mut sink = Sink::new(*limit_bytes);
                sink.bytes.extend_from_slice(piece);
                *self = Self::Many(sink);
            }
            Self::Nothing {
                coding,
                limit_bytes,
            } => {
                let sink = Sink::new(*limit_bytes);
                *self = match coding {
                    Coding::Zstd => Self::Zstd(Box::new(unzstd(sink).map_err(corrupt)?)),
                    _ => Self::Gzip(Box::new(Members::new(sink))),
                };
            }
            Self::Many(_) | Self::Gzip(_) | Self::Zstd(_) => {}
        }
        let written = match self {
            Self::Many(sink) => sink.write_all(&data),
            Self::Gzip(decoder) => decoder.write_all(&data),
            Self::Zstd(decoder) => decoder.write_all(&data),
            Self::One { .. } | Self::Nothing { .. } => Ok(()),
        };
        written.map_err(corrupt)
    }

    fn finish(self) -> Result<Bytes, Rejection> {
        let sink = match self {
            Self::One { piece, .. } => return Ok(piece),
            Self::Nothing { .. } => return Ok(Bytes::new()),
            Self::Many(sink) => sink,
            Self::Gzip(decoder) => decoder.finish().map_err(corrupt)?,
            Self::Zstd(mut decoder) => {
                decoder.flush().map_err(corrupt)?;
                decoder.finish().map_err(corrupt)?;
                decoder.into_inner().0
            }
        };
        Ok(sink.bytes.into())
    }
}

/// Decoder of gzip, for consecutive members.
struct Members {
    decoder: GzDecoder<Sink>,
    count: usize,
}

impl Members {
    fn new(sink: Sink) -> Self {
        Self {
            decoder: GzDecoder::new(sink),
            count: 1,
        }
    }

    fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let taken = self.decoder.write(data)?;
            if taken == 0 {
                // The member has ended; another begins.
                count_part(&mut self.count)?;
                self.decoder.try_finish()?;
                let sink = std::mem::replace(self.decoder.get_mut(), Sink::new(0));
                self.decoder = GzDecoder::new(sink);
            }
            data = data.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Sink> {
        self.decoder.finish()
    }
}

/// Decoder of zstd. Counts frames, including skippable ones.
struct Frames {
    decoder: raw::Decoder<'static>,
    count: usize,
}

impl Operation for Frames {
    fn run<C: WriteBuf + ?Sized>(
        &mut self,
        input: &mut InBuffer<'_>,
        output: &mut OutBuffer<'_, C>,
    ) -> io::Result<usize> {
        self.decoder.run(input, output)
    }

    fn flush<C: WriteBuf + ?Sized>(&mut self, output: &mut OutBuffer<'_, C>) -> io::Result<usize> {
        self.decoder.flush(output)
    }

    fn reinit(&mut self) -> io::Result<()> {
        count_part(&mut self.count)?;
        self.decoder.reinit()
    }

    fn finish<C: WriteBuf + ?Sized>(
        &mut self,
        output: &mut OutBuffer<'_, C>,
        finished_frame: bool,
    ) -> io::Result<usize> {
        self.decoder.finish(output, finished_frame)
    }
}

fn unzstd(sink: Sink) -> io::Result<zio::Writer<Sink, Frames>> {
    let mut decoder = raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
    Ok(zio::Writer::new(sink, Frames { decoder, count: 1 }))
}

/// Counts one more part of a body.
fn count_part(count: &mut usize) -> io::Result<()> {
    *count += 1;
    if *count > MAX_PARTS {
        return Err(io::Error::other(TooManyParts));
    }
    Ok(())
}

/// Error for a body of more than [`MAX_PARTS`] parts.
#[derive(Debug)]
struct TooManyParts;

impl fmt::Display for TooManyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The request body is compressed in more than {MAX_PARTS} parts"
        )
    }
}

impl Error for TooManyParts {}

/// Returns the rejection for a decoding error: the size, the number of parts, or malformed content. The decoders
/// return errors of the sink as I/O errors, so that only downcasts distinguish them.
fn corrupt(error: io::Error) -> Rejection {
    let inner = error.get_ref();
    if let Some(BodyTooLarge { limit_bytes }) = inner.and_then(|inner| inner.downcast_ref()) {
        return Rejection::body_too_large(*limit_bytes);
    }
    match inner.and_then(|inner| inner.downcast_ref::<TooManyParts>()) {
        Some(parts) => Rejection::new(Status::invalid_argument(parts.to_string())),
        None => Rejection::corrupt_body(),
    }
}

/// Buffer with a maximum size.
struct Sink {
    bytes: Vec<u8>,
    limit_bytes: u64,
}

impl Sink {
    fn new(limit_bytes: u64) -> Self {
        Self {
            bytes: Vec::new(),
            limit_bytes,
        }
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let limit_bytes = self.limit_bytes;
        if (self.bytes.len() + data.len()) as u64 > limit_bytes {
            return Err(io::Error::other(BodyTooLarge { limit_bytes }));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `Accept-Encoding` values of a request.
pub(crate) struct Accepted(Vec<HeaderValue>);

impl Accepted {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get_all(ACCEPT_ENCODING).iter().cloned().collect())
    }
}

/// Compresses a response's body if that is worthwhile and the client accepts it. A stream is not
/// compressed, since compression would delay its data. A response for which the service disables
/// compression in gRPC too (`disable_compression`) is not compressed either, such as a secret next
/// to text from other clients (BREACH).
pub(crate) fn compress(asked: &Accepted, response: &mut Response<Body>) {
    let extensions = response.extensions();
    let unwanted = extensions.get::<SingleMessageCompressionOverride>();
    if unwanted == Some(&SingleMessageCompressionOverride::Disable)
        && extensions.get::<SmallMessage>().is_none()
    {
        return;
    }
    let Some(bytes) = response.body().bytes() else {
        return;
    };
    if bytes.len() < MIN_COMPRESSED_BYTES {
        return;
    }
    let coded = match Coding::accepted(asked) {
        Coding::Identity => None,
        Coding::Gzip => gzip(bytes).ok().map(|coded| ("gzip", coded)),
        Coding::Zstd => {
            let coded = zstd::bulk::compress(bytes, ZSTD_LEVEL);
            coded.ok().map(|coded| ("zstd", coded))
        }
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some((name, coded)) = coded {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        *response.body_mut() = Body::full(coded);
    }
}

/// Reason why a message is not compressed in gRPC: its size, which differs in JSON.
#[derive(Debug, Clone, Copy)]
struct SmallMessage;

/// Makes tonic skip compression of a response that compression would hardly shrink.
pub fn uncompressed_if_small<M: prost::Message>(
    mut response: tonic::Response<M>,
) -> tonic::Response<M> {
    let decided = response
        .extensions()
        .get::<SingleMessageCompressionOverride>();
    if decided.is_none() && response.get_ref().encoded_len() < MIN_COMPRESSED_MESSAGE_BYTES {
        response.disable_compression();
        response.extensions_mut().insert(SmallMessage);
    }
    response
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
