//! Address of Keyward and tokens of its callers: the variables of a `dev.env`, with addresses from
//! the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Outcome;
use crate::target::Target;

/// Location of the tokens, and the addresses to send to.
#[derive(Debug, clap::Args)]
pub(crate) struct EnvironmentArgs {
    /// File with tokens and identifiers, as written by `keyward dev`.
    #[arg(long, value_name = "FILE")]
    env: PathBuf,
    /// URL to send to, instead of the file's KEYWARD_URL.
    #[arg(long, value_name = "URL")]
    url: Option<Target>,
    /// URL for gRPC calls, if it differs.
    #[arg(long, value_name = "URL")]
    grpc_url: Option<Target>,
    /// Certificate authority of the server, in PEM, for https.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Addresses and variables for a client.
#[derive(Debug)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// Target of REST calls.
    pub(crate) rest: Target,
    /// Target of gRPC calls.
    pub(crate) grpc: Target,
}

impl EnvironmentArgs {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has no loopback address and the command line has none either.
    pub(crate) fn read(&self) -> Outcome<Environment> {
        let text = std::fs::read_to_string(&self.env)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let variables: BTreeMap<_, _> = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let rest = match &self.url {
            Some(url) => url.clone(),
            None => variables
                .get("KEYWARD_URL")
                .ok_or("the file has no KEYWARD_URL")?
                .parse()?,
        };
        let grpc = self.grpc_url.clone().unwrap_or_else(|| rest.clone());
        Ok(Environment {
            variables,
            rest,
            grpc,
        })
    }
}

impl Environment {
    /// Returns a variable of the file.
    ///
    /// # Errors
    ///
    /// The variable is absent.
    pub(crate) fn get(&self, name: &str) -> Outcome<&str> {
        let value = self.variables.get(name);
        Ok(value.ok_or_else(|| format!("the file has no {name}"))?)
    }
}
