//! Compressed bodies: gzip and zstd, by the libraries that tonic uses for gRPC.
//!
//! Limits hold for what comes out of a request's body. Reading stops where a limit
//! is reached, so that a small body cannot become a large one in memory.

use std::error::Error;
use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::{GzEncoder, MultiGzDecoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use tonic::codec::SingleMessageCompressionOverride;
use zstd::stream::raw;
use zstd::stream::zio;
use zstd::zstd_safe::DParameter;

use crate::body::Body;
use crate::preference::Preferences;
use crate::refusal::{BodyTooLarge, Refusal, body_refusal};

/// Smaller bodies would hardly fit into fewer packets.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// The largest window of zstd as a content coding, 8 MiB (RFC 9659).
const MAX_WINDOW_LOG: u32 = 23;
/// zstd's own default: fast, and smaller than gzip.
const ZSTD_LEVEL: i32 = 3;

/// What a body is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// The coding of a request's body.
    ///
    /// # Errors
    ///
    /// Another coding, or more than one of them.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
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

    /// The coding that a response should have: the one that its caller likes best,
    /// and zstd where that is both.
    fn accepted(asked: &Accepted) -> Self {
        let Some(list) = Preferences::of(asked.0.iter()) else {
            return Self::Identity;
        };
        let gzip = list.coding("gzip").max(list.named("x-gzip").unwrap_or(0));
        let zstd = list.coding("zstd");
        // What is not named is as good as anything else that is not.
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

fn unsupported() -> Refusal {
    Refusal::unsupported_encoding()
}

/// Reads a request's body.
///
/// # Errors
///
/// It is larger than `limit_bytes`, is not what its coding says, or cannot be read.
pub(crate) async fn read<B>(body: B, coding: Coding, limit_bytes: u64) -> Result<Bytes, Refusal>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit_bytes && coding == Coding::Identity {
        return Err(Refusal::body_too_large(limit_bytes));
    }
    let mut pieces = Pieces::new(coding, limit_bytes);
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| body_refusal(&*error.into()))?;
        if let Ok(mut data) = frame.into_data() {
            pieces.push(data.copy_to_bytes(data.remaining()))?;
        }
    }
    pieces.finish()
}

/// What came of a body so far.
enum Pieces {
    /// Nothing, or one piece, which need not be copied.
    One {
        piece: Bytes,
        limit_bytes: u64,
    },
    Many(Sink),
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zstd(Box<zio::Writer<Sink, raw::Decoder<'static>>>),
    /// A coded body of which nothing has come: one that stays empty is no body.
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

    fn push(&mut self, data: Bytes) -> Result<(), Refusal> {
        if data.is_empty() {
            return Ok(());
        }
        match self {
            Self::One { piece, limit_bytes } if piece.is_empty() => {
                if data.len() as u64 > *limit_bytes {
                    return Err(Refusal::body_too_large(*limit_bytes));
                }
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
                    _ => Self::Gzip(Box::new(MultiGzDecoder::new(sink))),
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

    fn finish(self) -> Result<Bytes, Refusal> {
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

fn unzstd(sink: Sink) -> io::Result<zio::Writer<Sink, raw::Decoder<'static>>> {
    let mut decoder = raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
    Ok(zio::Writer::new(sink, decoder))
}

/// Why a body could not be decoded: its size, or what it holds.
fn corrupt(error: io::Error) -> Refusal {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(BodyTooLarge { limit_bytes }) => Refusal::body_too_large(*limit_bytes),
        None => Refusal::corrupt_body(),
    }
}

/// Bytes that must not become too many.
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

/// What a request says of the codings that its response may have.
pub(crate) struct Accepted(Vec<HeaderValue>);

impl Accepted {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get_all(ACCEPT_ENCODING).iter().cloned().collect())
    }
}

/// Compresses a response's body if it is worth it and its caller accepts it. A
/// stream is left as it is: compressing would hold back what it has. So is what the
/// service does not want compressed in gRPC either (`disable_compression`), such as
/// a secret beside what others have written (BREACH).
pub(crate) fn compress(asked: &Accepted, response: &mut Response<Body>) {
    let unwanted = response
        .extensions()
        .get::<SingleMessageCompressionOverride>();
    if unwanted == Some(&SingleMessageCompressionOverride::Disable) {
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

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
