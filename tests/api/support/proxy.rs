//! A TCP proxy that the test can cut, to disconnect a server from its database, or that stops at a text of the
//! database.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Action on a text that the upstream server sends.
#[derive(Debug, Clone, Copy, Default)]
pub enum OnText {
    #[default]
    Forward,
    /// Forwards nothing more of the connection, which stays open.
    Hang(&'static str),
    /// Closes every connection; new ones are closed at once.
    Cut(&'static str),
}

/// Forwards connections until it is cut, and again once it is restored.
pub struct Proxy {
    address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    on_text: Arc<watch::Sender<OnText>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of the server in the URL.
    pub async fn before(url: &str) -> Self {
        let authority = url.split_once("://").unwrap().1.split('/').next().unwrap();
        let upstream = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let on_text = Arc::new(watch::Sender::new(OnText::Forward));
        let accepting = accept(listener, upstream, Arc::clone(&open), Arc::clone(&on_text));
        let accepting = tokio::spawn(accepting);
        Self {
            address,
            open,
            on_text,
            accepting,
        }
    }

    /// Returns the URL with the server replaced by the proxy.
    pub fn url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let user = authority
            .rsplit_once('@')
            .map(|(user, _)| format!("{user}@"));
        format!(
            "{scheme}://{}{}/{path}",
            user.unwrap_or_default(),
            self.address
        )
    }

    /// Closes every connection; new ones are closed at once.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Sets the action on a text, which must be short enough that the server sends it in one piece.
    pub fn on_text(&self, action: OnText) {
        self.on_text.send_replace(action);
    }

    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    opened: Arc<watch::Sender<bool>>,
    on_text: Arc<watch::Sender<OnText>>,
) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let (upstream, mut open) = (upstream.clone(), opened.subscribe());
        let (opened, on_text) = (Arc::clone(&opened), Arc::clone(&on_text));
        tokio::spawn(async move {
            if !*open.borrow_and_update() {
                return;
            }
            let Ok(mut server) = TcpStream::connect(upstream).await else {
                return;
            };
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let nothing = watch::Sender::new(OnText::Forward);
            let requests = forward(from_client, to_server, &nothing, &opened);
            let responses = forward(from_server, to_client, &on_text, &opened);
            tokio::select! {
                () = requests => {}
                () = responses => {}
                _ = open.wait_for(|open| !open) => {}
            }
        });
    }
}

/// Forwards one direction of a connection to its end.
async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    on_text: &watch::Sender<OnText>,
    open: &watch::Sender<bool>,
) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let piece = &piece[..length];
        let holds = |text: &str| {
            piece
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        let action = *on_text.borrow();
        match action {
            OnText::Hang(text) if holds(text) => return std::future::pending().await,
            OnText::Cut(text) if holds(text) => {
                open.send_replace(false);
                return;
            }
            _ => {}
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}
