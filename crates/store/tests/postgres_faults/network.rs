//! A proxy between a store and its database that makes connections go silent in two ways.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Kind of silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The proxy forwards no data and acknowledges none once buffers are full, like a router that lost the connection
    /// state.
    Frozen,
    /// The proxy accepts and acknowledges all data but sends no responses, like a proxy that lost its server.
    Swallowed,
}

/// A TCP proxy on its own port.
pub(crate) struct Network {
    pub(crate) port: u16,
    silence: Arc<watch::Sender<Option<Silence>>>,
}

impl Network {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silence = Arc::new(watch::Sender::new(None));
        let sender = Arc::clone(&silence);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // New connections work, regardless of the state of earlier ones.
                let mut silence = sender.subscribe();
                silence.mark_unchanged();
                let server = server.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    forward(client, server, silence).await;
                });
            }
        });
        Self { port, silence }
    }

    /// Silences every open connection.
    pub(crate) fn silence(&self, silence: Silence) {
        self.silence.send_replace(Some(silence));
    }
}

async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    mut silence: watch::Receiver<Option<Silence>>,
) {
    let manner = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = silence.changed() => *silence.borrow(),
    };
    if manner == Some(Silence::Swallowed) {
        let mut buffer = [0; 4096];
        while client.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    } else {
        // Keeps the connection open until the test ends.
        std::future::pending::<()>().await;
    }
    let _ = server.shutdown().await;
}
