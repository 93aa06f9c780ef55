//! `keyward keyring`.

use std::path::PathBuf;

use keyward_crypto::Keyring;

use super::{Failure, say};

#[derive(clap::Subcommand)]
pub(super) enum KeyringCommand {
    /// Make a keyring with one new key, in a new file that its owner alone can read.
    ///
    /// Without the keyring nothing that was stored can be opened: back it up, apart from the
    /// database.
    Create {
        /// The file, which must not exist yet.
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
    say(format_args!(
        "{} has key version {}",
        file.display(),
        keyring.primary()
    ))
}
