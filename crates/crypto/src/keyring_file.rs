//! The file of a keyring: read only if nobody but its owner can write it and nobody but us can read it,
//! never overwritten.
//!
//! A file is ours alone if its mode lets neither group nor others in. One that root keeps for us is as
//! good: owned by root, only readable to its group, and that is a group of this process, which is not
//! root's. So systems hand secrets to a process that is not root (Kubernetes with `fsGroup`: 0440, root
//! and that group), and PostgreSQL takes its TLS key by the same rule.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::{Error, Keyring, KeyringFileDefect, keyring_text};

/// The largest keyring file that is read: 64 KiB.
pub const MAX_KEYRING_FILE_BYTES: usize = 64 * 1024;

impl Keyring {
    /// Reads a keyring file. A link to a good file is a good file.
    ///
    /// # Errors
    ///
    /// [`Error::KeyringFile`] with the path and the defect: not a regular file, open to others than
    /// this process (on Unix), too large, unreadable, or a text that [`Keyring::parse`] refuses.
    pub fn load(path: &Path) -> Result<Self, Error> {
        load(path).map_err(|defect| Error::KeyringFile {
            path: path.to_owned(),
            defect,
        })
    }

    /// Writes the ring to a new file of mode 0600, and returns once file and name are on disk.
    ///
    /// # Errors
    ///
    /// [`Error::KeyringFile`] with the path and the defect: something is there already, or the
    /// file cannot be created or written.
    pub fn create_file(&self, path: &Path) -> Result<(), Error> {
        create(self, path).map_err(|defect| Error::KeyringFile {
            path: path.to_owned(),
            defect,
        })
    }
}

fn load(path: &Path) -> Result<Keyring, KeyringFileDefect> {
    let cannot_open = |error: io::Error| KeyringFileDefect::CannotOpen(error.kind());
    // Opening a pipe would wait for a writer, so ask first. What counts is the handle's answer.
    check_regular(&fs::metadata(path).map_err(cannot_open)?)?;
    let file = File::open(path).map_err(cannot_open)?;
    let metadata = file.metadata().map_err(cannot_open)?;
    check_regular(&metadata)?;
    check_mode(&metadata)?;
    let bytes = read(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyringFileDefect::NotUtf8)?;
    keyring_text::parse(text).map_err(KeyringFileDefect::Text)
}

fn check_regular(metadata: &Metadata) -> Result<(), KeyringFileDefect> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(KeyringFileDefect::NotRegular),
    }
}

#[cfg(unix)]
fn check_mode(metadata: &Metadata) -> Result<(), KeyringFileDefect> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    if is_private(
        mode,
        metadata.uid(),
        metadata.gid(),
        &Identity::of_process(),
    ) {
        Ok(())
    } else {
        Err(KeyringFileDefect::OpenToOthers { mode })
    }
}

/// Whom the system takes this process for.
#[cfg(unix)]
struct Identity {
    user: u32,
    /// Its group and its supplementary groups.
    groups: Vec<u32>,
}

#[cfg(unix)]
impl Identity {
    fn of_process() -> Self {
        use rustix::process::{getegid, geteuid, getgroups};

        // Supplementary groups that cannot be had count as none, which lets in fewer files.
        let mut groups: Vec<u32> = getgroups()
            .unwrap_or_default()
            .into_iter()
            .map(|group| group.as_raw())
            .collect();
        groups.push(getegid().as_raw());
        Self {
            user: geteuid().as_raw(),
            groups,
        }
    }
}

/// Whether a file of this mode, owner and group is this process's alone, or kept for it by root.
#[cfg(unix)]
fn is_private(mode: u32, owner: u32, group: u32, who: &Identity) -> bool {
    const ROOT: u32 = 0;
    match mode & 0o077 {
        0 => true,
        0o040 => owner == ROOT && who.user != ROOT && who.groups.contains(&group),
        _ => false,
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Metadata) -> Result<(), KeyringFileDefect> {
    Ok(())
}

fn read(file: File) -> Result<Zeroizing<Vec<u8>>, KeyringFileDefect> {
    // Room to spare, because a buffer that grew would leave keys behind in the one it outgrew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEYRING_FILE_BYTES + 64));
    file.take(MAX_KEYRING_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| KeyringFileDefect::CannotRead(error.kind()))?;
    if bytes.len() > MAX_KEYRING_FILE_BYTES {
        return Err(KeyringFileDefect::TooLarge {
            limit_bytes: MAX_KEYRING_FILE_BYTES,
        });
    }
    Ok(bytes)
}

fn create(ring: &Keyring, path: &Path) -> Result<(), KeyringFileDefect> {
    let file = create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyringFileDefect::AlreadyExists,
        kind => KeyringFileDefect::CannotCreate(kind),
    })?;
    write(ring, file, path).map_err(|error| {
        // Half a keyring helps nobody and would stand in the way of the next try.
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

/// A new file survives a crash only once its name is on disk too.
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const ROOT: u32 = 0;
    const US: u32 = 65532;
    const OTHER: u32 = 1000;

    fn us() -> Identity {
        Identity {
            user: US,
            groups: vec![US, 2000],
        }
    }

    #[test]
    fn what_only_its_owner_may_use_is_private_whoever_that_is() {
        for mode in [0o400, 0o600, 0o700] {
            assert!(is_private(mode, US, OTHER, &us()));
            assert!(is_private(mode, ROOT, ROOT, &us()));
        }
    }

    #[test]
    fn what_root_keeps_for_one_of_our_groups_is_private() {
        for mode in [0o440, 0o640] {
            assert!(is_private(mode, ROOT, US, &us()));
            assert!(is_private(mode, ROOT, 2000, &us()));
        }
    }

    #[test]
    fn what_a_group_may_read_is_not_private_otherwise() {
        assert!(!is_private(0o440, ROOT, OTHER, &us()), "a foreign group");
        assert!(!is_private(0o440, ROOT, ROOT, &us()), "root's group");
        assert!(!is_private(0o440, US, US, &us()), "our own file");
        assert!(!is_private(0o440, OTHER, US, &us()), "another user's file");
        let root = Identity {
            user: ROOT,
            groups: vec![ROOT, US],
        };
        assert!(!is_private(0o440, ROOT, US, &root), "root needs no group");
    }

    #[test]
    fn no_other_bit_is_let_through_for_root() {
        for bits in (0..=0o077).filter(|bits| ![0, 0o040].contains(bits)) {
            assert!(!is_private(0o600 | bits, ROOT, US, &us()), "{bits:03o}");
        }
    }

    #[test]
    fn a_process_is_in_its_own_group() {
        let us = Identity::of_process();
        assert!(us.groups.contains(&rustix::process::getegid().as_raw()));
    }
}
