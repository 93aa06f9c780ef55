//! `keyward token`, and the signing key for development.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward_core::clock::{Clock, SystemClock};
use keyward_crypto::{GroupAccess, Secret, read_private_file};
use serde::Serialize;

use super::{Failure, print_line};

/// Issuer of development tokens.
pub(super) const DEV_ISSUER: &str = "keyward-dev";
/// Audience of development session tokens.
pub(super) const DEV_AUDIENCE: &str = "keyward";
/// Name of the signing key's file in the data directory: PKCS #8, DER.
pub(super) const SIGNING_KEY_FILE: &str = "signing-key.pk8";
/// Maximum size of that file, in bytes.
const MAX_KEY_BYTES: usize = 4096;
/// `kid` of the only key.
const KEY_ID: &str = "dev";

#[derive(clap::Args)]
pub(super) struct TokenArgs {
    /// Signing key file, as created by `keyward dev`.
    #[arg(long, value_name = "FILE", default_value = ".keyward/signing-key.pk8")]
    signing_key: PathBuf,
    /// User, for claim `sub`.
    #[arg(long, value_name = "ID")]
    user: String,
    /// Organization, for claim `org`.
    #[arg(long, value_name = "ID")]
    organization: String,
    /// Issuer, for claim `iss`.
    #[arg(long, value_name = "TEXT", default_value = DEV_ISSUER)]
    issuer: String,
    /// Audience, for claim `aud`.
    #[arg(long, value_name = "TEXT", default_value = DEV_AUDIENCE)]
    audience: String,
    /// Lifetime of the token, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl_seconds: u32,
}

#[derive(Serialize)]
struct DevClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    iat: i64,
    exp: i64,
}

/// Claims of a token to mint.
pub(super) struct Mint<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) subject: &'a str,
    pub(super) organization: Option<&'a str>,
    pub(super) ttl_seconds: u32,
}

/// A key that signs development tokens.
pub(super) struct SigningKey(EncodingKey);

pub(super) fn run(args: &TokenArgs) -> Result<(), Failure> {
    let key = SigningKey::load(&args.signing_key)?;
    let token = key.mint(&Mint {
        issuer: &args.issuer,
        audience: &args.audience,
        subject: &args.user,
        organization: Some(&args.organization),
        ttl_seconds: args.ttl_seconds,
    })?;
    print_line(token)
}

impl SigningKey {
    /// Reads the key.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let mut der = read_private_file(path, MAX_KEY_BYTES, GroupAccess::OfRootsFiles).map_err(
            |defect| {
                let what = format!("the signing key {} {defect}", path.display());
                Failure::new(Failure::CONFIG, what)
            },
        )?;
        let der = Secret::new(std::mem::take(&mut *der));
        Ed25519KeyPair::from_pkcs8(der.expose()).map_err(|_| {
            let what = format!("{} is not an Ed25519 key in PKCS #8 DER", path.display());
            Failure::new(Failure::CONFIG, what)
        })?;
        Ok(Self(EncodingKey::from_ed_der(der.expose())))
    }

    /// Creates a key in a new file that only its owner can read.
    pub(super) fn create(path: &Path) -> Result<(), Failure> {
        let what = format!("the signing key {} cannot be made", path.display());
        // Only version 1, which has no public key, can be published by `jwks`.
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
            .map_err(|_| Failure::new(Failure::SOFTWARE, &what))?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| {
                file.write_all(document.as_ref())?;
                file.sync_all()
            })
            .map_err(|error| Failure::caused(Failure::CANNOT_CREATE, &what, &error))
    }

    /// Returns the public key, in the form that an issuer publishes.
    pub(super) fn jwks(&self) -> Result<String, Failure> {
        let software = |error: &dyn std::error::Error| {
            Failure::caused(
                Failure::SOFTWARE,
                "the signing key cannot be published",
                error,
            )
        };
        let mut jwk =
            Jwk::from_encoding_key(&self.0, Algorithm::EdDSA).map_err(|error| software(&error))?;
        jwk.common.key_id = Some(KEY_ID.to_owned());
        serde_json::to_string_pretty(&JwkSet { keys: vec![jwk] }).map_err(|error| software(&error))
    }

    /// Signs a token.
    pub(super) fn mint(&self, mint: &Mint<'_>) -> Result<String, Failure> {
        let now = SystemClock.now().unix_millis() / 1000;
        let claims = DevClaims {
            iss: mint.issuer,
            aud: mint.audience,
            sub: mint.subject,
            org: mint.organization,
            iat: now,
            exp: now + i64::from(mint.ttl_seconds),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        jsonwebtoken::encode(&header, &claims, &self.0)
            .map_err(|error| Failure::caused(Failure::SOFTWARE, "no token", &error))
    }
}
