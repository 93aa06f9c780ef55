//! The file of a keyring. It is read only if no user but its owner can write it and no user but that of this
//! process can read it, and it is never overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::keyring_text::MAX_KEYRING_FILE_BYTES;
use crate::private_file::{GroupAccess, read_private_file};
use crate::{Error, Keyring, KeyringFileDefect, keyring_text};

impl Keyring {
    /// Reads a keyring file. Follows links.
    ///
    /// # Errors
    ///
    /// [`Error::KeyringFile`] with the path and the defect: not a regular file, accessible to others than
    /// this process (on Unix), too large, unreadable, or a text that [`Keyring::parse`] rejects.
    pub fn load(path: &Path) -> Result<Self, Error> {
        load(path).map_err(|defect| Error::KeyringFile {
            path: path.to_owned(),
            defect,
        })
    }

    /// Writes the keyring to a new file with mode 0600, and returns once file and name are on disk.
    ///
    /// # Errors
    ///
    /// [`Error::KeyringFile`] with the path and the defect: the path already exists, or the file cannot be
    /// created or written.
    pub fn create_file(&self, path: &Path) -> Result<(), Error> {
        create(self, path).map_err(|defect| Error::KeyringFile {
            path: path.to_owned(),
            defect,
        })
    }
}

fn load(path: &Path) -> Result<Keyring, KeyringFileDefect> {
    let bytes = read_private_file(path, MAX_KEYRING_FILE_BYTES, GroupAccess::OfRootsFiles)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyringFileDefect::NotUtf8)?;
    keyring_text::parse(text).map_err(KeyringFileDefect::Text)
}

fn create(ring: &Keyring, path: &Path) -> Result<(), KeyringFileDefect> {
    let file = create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyringFileDefect::AlreadyExists,
        kind => KeyringFileDefect::CannotCreate(kind),
    })?;
    write(ring, file, path).map_err(|error| {
        // An incomplete keyring is useless and would block the next attempt.
        let _ = fs::remove_file(path);
        KeyringFileDefect::CannotWrite(error.kind())
    })
}

fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(ring: &Keyring, mut file: File, path: &Path) -> io::Result<()> {
    file.write_all(ring.to_text().as_bytes())?;
    file.sync_all()?;
    sync_directory_of(path)
}

/// Makes the name of a new file durable; without it the file may be lost in a crash.
#[cfg(unix)]
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory_of(_: &Path) -> io::Result<()> {
    Ok(())
}
