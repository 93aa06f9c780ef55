//! Bare servers that answer every request with the same bytes: tonic for gRPC, axum for REST. They have no layers.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::{Buf, BufMut, Bytes};
use http::header;
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use crate::Outcome;
use crate::call::Protocol;
use crate::process::Process;

#[derive(Debug, clap::Args)]
pub(crate) struct YardstickArgs {
    /// File with the response.
    #[arg(long, value_name = "FILE")]
    answer: PathBuf,
    /// Serve gRPC with tonic, not REST with axum.
    #[arg(long)]
    grpc: bool,
}

/// A yardstick in a process of its own.
pub(crate) struct Yardstick {
    process: Process,
    _answer: NamedTempFile,
}

impl Yardstick {
    /// Starts a server that answers with these bytes.
    ///
    /// # Errors
    /// The process does not start.
    pub(crate) async fn start(protocol: Protocol, answer: Bytes) -> Outcome<Self> {
        let file = NamedTempFile::new()?;
        let answer = match protocol {
            // tonic adds the frame.
            Protocol::Grpc => answer.slice(5.min(answer.len())..),
            Protocol::Rest => answer,
        };
        std::fs::write(file.path(), answer)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("yardstick").arg("--answer").arg(file.path());
        if protocol == Protocol::Grpc {
            command.arg("--grpc");
        }
        Ok(Self {
            process: Process::start(command, |line| line.parse().ok()).await?,
            _answer: file,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) async fn end(self) -> Outcome<()> {
        self.process.end().await
    }
}

/// Serves until the standard input ends.
pub(crate) async fn serve(args: YardstickArgs) -> Outcome<()> {
    let answer = Bytes::from(std::fs::read(&args.answer)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let ended = async {
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    let router = match args.grpc {
        true => Router::new().fallback(any(move |request: http::Request<Body>| {
            let answer = Constant(answer.clone());
            async move { Grpc::new(Raw).unary(answer, request).await }
        })),
        false => Router::new().fallback(any(move || {
            let answer = answer.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], answer) }
        })),
    };
    if args.grpc {
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let routes = tonic::service::Routes::from(router);
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, ended)
            .await?;
    } else {
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router)
            .with_graceful_shutdown(ended)
            .await?;
    }
    Ok(())
}

/// Answers each message with the same bytes.
#[derive(Clone)]
struct Constant(Bytes);

impl UnaryService<Bytes> for Constant {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _message: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
