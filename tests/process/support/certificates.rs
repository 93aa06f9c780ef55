//! Certificates generated for a test, and clients that verify them.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::support::deployment::{Deployment, Served};
use crate::support::program::Program;

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Validity period of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    Now,
    InThePast,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for this machine.
    pub(crate) fn server(&self, good: Good) -> Pair {
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        self.issue(params.unwrap(), good)
    }

    /// Issues a client certificate with these names: URIs have a colon, DNS names do not.
    pub(crate) fn client(&self, names: &[&str], good: Good) -> Pair {
        let mut params = CertificateParams::default();
        let name = |name: &&str| match name.contains(':') {
            true => SanType::URI((*name).try_into().unwrap()),
            false => SanType::DnsName((*name).try_into().unwrap()),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        self.issue(params, good)
    }

    fn issue(&self, mut params: CertificateParams, good: Good) -> Pair {
        if good == Good::InThePast {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// Returns the certificate as it is sent.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// Files that a server reads.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(pair: &Pair) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.write(pair);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file atomically, readable by its owner only.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let draft = self.path("draft");
        fs::write(&draft, text).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    pub(crate) fn write(&self, pair: &Pair) {
        self.put("tls.crt", &pair.certificate);
        self.put("tls.key", &pair.key);
    }
}

/// Returns `keyward serve` over TLS with these files.
pub(crate) fn serve(deployment: &Deployment, files: &Files) -> Program {
    deployment
        .command("serve")
        .env("KEYWARD_SERVER__TLS__CERT_FILE", files.path("tls.crt"))
        .env("KEYWARD_SERVER__TLS__KEY_FILE", files.path("tls.key"))
}

/// An environment with a TLS server, and the authority of its certificate.
pub(crate) struct Secured {
    pub(crate) authority: Authority,
    pub(crate) files: Files,
    pub(crate) served: Served,
    pub(crate) deployment: Deployment,
}

impl Secured {
    pub(crate) async fn start() -> Self {
        Self::start_with(|program, _| program).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Program, &Files) -> Program) -> Self {
        let deployment = Deployment::sqlite().await;
        let authority = Authority::new("an authority");
        let files = Files::new(&authority.server(Good::Now));
        files.put("ca.crt", authority.pem());
        let program = serve(&deployment, &files).env("KEYWARD_LOG__FILTER", "info,keyward=debug");
        let served = Served::of(change(program, &files));
        Self {
            authority,
            files,
            served,
            deployment,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.served.address())
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.authority)
    }
}

/// Settings of a client.
#[derive(Clone)]
pub(crate) struct Client {
    authority: String,
    pub(crate) pair: Option<Pair>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl Client {
    pub(crate) fn new(authority: &Authority) -> Self {
        Self {
            authority: authority.pem.clone(),
            pair: None,
            alpn: Vec::new(),
            versions: vec![&rustls::version::TLS12, &rustls::version::TLS13],
        }
    }

    pub(crate) fn with_pair(self, pair: &Pair) -> Self {
        Self {
            pair: Some(pair.clone()),
            ..self
        }
    }

    pub(crate) fn with_alpn(self, protocols: &[&str]) -> Self {
        let alpn = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Self { alpn, ..self }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![pair.der()], key)
                    .unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }

    /// Returns a REST client over HTTP/2 or HTTP/1.1.
    pub(crate) fn rest(&self, http2: bool) -> reqwest::Client {
        let mut client = self.clone();
        client.alpn = vec![if http2 { &b"h2"[..] } else { b"http/1.1" }.to_vec()];
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.tls_backend_preconfigured(client.config());
        let builder = match http2 {
            true => builder.http2_prior_knowledge(),
            false => builder.http1_only(),
        };
        builder.build().unwrap()
    }

    /// Opens a connection and completes the handshake.
    pub(crate) fn stream(
        &self,
        address: &str,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let session = ClientConnection::new(Arc::new(self.config()), name).unwrap();
        let mut stream = StreamOwned::new(session, crate::support::frames::connect(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// Returns an HTTP/2 connection for gRPC, which is opened on demand and reopened after a loss.
    pub(crate) fn channel(&self, address: &str) -> Channel {
        let connector =
            tokio_rustls::TlsConnector::from(Arc::new(self.clone().with_alpn(&["h2"]).config()));
        let address = address.to_owned();
        let connect = tower::service_fn(move |_| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                let name = ServerName::try_from("127.0.0.1").unwrap();
                let stream = connector.connect(name, stream).await?;
                std::io::Result::Ok(TokioIo::new(stream))
            }
        });
        Endpoint::from_static("http://keyward").connect_with_connector_lazy(connect)
    }
}
