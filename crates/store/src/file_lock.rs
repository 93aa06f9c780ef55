//! Lock of a SQLite file by one server process.
//!
//! The lock is on a separate file beside the database, because closing any descriptor of the database file would
//! release SQLite's own locks. Commands that share the file with a server do not take it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use keyward_core::Error;

/// Maximum length that is read of a lock file, which contains a process id.
const MAX_PID_BYTES: u64 = 20;

/// Another process serves from the same SQLite file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the SQLite file is in use by {}", match pid {
    Some(pid) => format!("process {pid}"),
    None => "another process".to_owned(),
})]
pub struct InUse {
    /// The other process's id, in its own PID namespace.
    pub pid: Option<u32>,
}

/// A lock that is released when it is dropped, or when the process ends.
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of a database file, which must exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`] of [`InUse`]; the lock file cannot be opened.
    pub(crate) fn take(database: &Path) -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            let text = format!("the SQLite file cannot be locked: {}", error.kind());
            Error::unavailable(text)
        };
        let path = path(database).map_err(failed)?;
        let mut file = open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.take(MAX_PID_BYTES).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(Error::unavailable(InUse { pid }));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // A full disk must not prevent the server from starting. The id is only informative: a reader of an incomplete
        // file reports none or a wrong one.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::warn!(%error, "failed to write the process id to the lock file");
        }
        Ok(Self { _file: file })
    }
}

/// Returns the lock file's path: the name of the database file, with links resolved, plus `.lock`.
fn path(database: &Path) -> std::io::Result<PathBuf> {
    let mut path = database.canonicalize()?.into_os_string();
    path.push(".lock");
    Ok(path.into())
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
