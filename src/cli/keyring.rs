//! `keyward keyring`.

use std::path::PathBuf;

use keyward_crypto::Keyring;

use super::{Failure, print_line};

#[derive(clap::Subcommand)]
pub(super) enum KeyringCommand {
    /// Create a keyring with one new key, in a new file that only its owner can read.
    ///
    /// Stored secrets cannot be opened without the keyring: back it up separately from the database.
    Create {
        /// Keyring file to create; it must not exist yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(command: &KeyringCommand) -> Result<(), Failure> {
    let KeyringCommand::Create { file } = command;
    let keyring = Keyring::generate()
        .map_err(|error| Failure::caused(Failure::SOFTWARE, "no keyring", &error))?;
    keyring
        .create_file(file)
        .map_err(|error| Failure::caused(Failure::CANNOT_CREATE, "no keyring", &error))?;
    print_line(format_args!(
        "{} has key version {}",
        file.display(),
        keyring.primary()
    ))
}
