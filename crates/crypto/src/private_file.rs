//! Reads a file that contains a secret. The file is opened before its owner and mode are checked, so that it
//! cannot be replaced by another file between the two steps.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Rule for the group of a file that contains a secret. Users other than the owner and the group must never
/// have access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupAccess {
    /// The group may read a file that root owns if it is a group of this process and the process does not run
    /// as root. Systems provide secrets in this way to processes that are not root (Kubernetes with
    /// `fsGroup`: 0440, root and that group), and PostgreSQL has the same rule for its TLS key.
    OfRootsFiles,
    /// The group may read every file.
    Read,
}

/// Reason why a file that contains a secret is not read. It never quotes the file or its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrivateFileDefect {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    CannotOpen(io::ErrorKind),
    /// It is a directory, a pipe, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// It belongs to a user other than root and the user of this process.
    #[error("belongs to another user; its owner must be root or the user of this process")]
    OwnedByAnother,
    /// Its mode gives access to other users, or to a group that must not have access.
    #[error("can be read or written by others (mode {mode:04o})")]
    OpenToOthers {
        /// Permission bits of the file.
        mode: u32,
    },
    /// It is too large.
    #[error("is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Maximum size.
        limit_bytes: usize,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    CannotRead(io::ErrorKind),
}

/// Reads a regular file of at most `limit_bytes` that belongs to this process's user or to root and that
/// gives no access to other users or to a group that `group` excludes (on Unix). Follows links. The content
/// is overwritten when it is dropped.
///
/// # Errors
/// The first defect that was found.
pub fn read_private_file(
    path: &Path,
    limit_bytes: usize,
    group: GroupAccess,
) -> Result<Zeroizing<Vec<u8>>, PrivateFileDefect> {
    let file = open(path)?;
    let metadata = file
        .metadata()
        .map_err(|error| PrivateFileDefect::CannotOpen(error.kind()))?;
    if !metadata.is_file() {
        return Err(PrivateFileDefect::NotRegular);
    }
    check_access(&metadata, group)?;
    // Extra capacity, since a growing buffer would leave copies of the secret in freed memory.
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(limit_bytes) + 64));
    let read = file
        .take(limit_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| PrivateFileDefect::CannotRead(error.kind()))?;
    match read > limit_bytes {
        true => Err(PrivateFileDefect::TooLarge { limit_bytes }),
        false => Ok(bytes),
    }
}

fn open(path: &Path) -> Result<File, PrivateFileDefect> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // Without these flags, opening a pipe would wait for a writer, and a terminal would become the
        // controlling terminal of this process.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.cast_signed());
    }
    options.open(path).map_err(|error| {
        #[cfg(unix)]
        if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
            // A socket.
            return PrivateFileDefect::NotRegular;
        }
        PrivateFileDefect::CannotOpen(error.kind())
    })
}

#[cfg(unix)]
fn check_access(metadata: &Metadata, group: GroupAccess) -> Result<(), PrivateFileDefect> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    let process = Identity::of_process();
    process.judge(mode, metadata.uid(), metadata.gid(), group)
}

#[cfg(not(unix))]
fn check_access(_: &Metadata, _: GroupAccess) -> Result<(), PrivateFileDefect> {
    Ok(())
}

/// The user and the groups of a process.
#[cfg(unix)]
struct Identity {
    user: u32,
    /// The effective group and the supplementary groups.
    groups: Vec<u32>,
}

#[cfg(unix)]
impl Identity {
    fn of_process() -> Self {
        use rustix::process::{getegid, geteuid, getgroups};

        // If the supplementary groups cannot be determined, they count as empty, which accepts fewer files.
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

    /// Checks access to a file with this mode, owner and group.
    fn judge(
        &self,
        mode: u32,
        owner: u32,
        group: u32,
        access: GroupAccess,
    ) -> Result<(), PrivateFileDefect> {
        const ROOT: u32 = 0;
        if owner != ROOT && owner != self.user {
            return Err(PrivateFileDefect::OwnedByAnother);
        }
        let is_fit = match (mode & 0o077, access) {
            (0, _) => true,
            (0o040, GroupAccess::Read) => true,
            // A process that runs as root does not need a group to read the file.
            (0o040, GroupAccess::OfRootsFiles) => {
                owner == ROOT && self.user != ROOT && self.groups.contains(&group)
            }
            _ => false,
        };
        match is_fit {
            true => Ok(()),
            false => Err(PrivateFileDefect::OpenToOthers { mode }),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use GroupAccess::{OfRootsFiles, Read};

    const ROOT: u32 = 0;
    const US: u32 = 65532;
    const OTHER: u32 = 1000;

    fn us() -> Identity {
        Identity {
            user: US,
            groups: vec![US, 2000],
        }
    }

    fn is_fit(mode: u32, owner: u32, group: u32, access: GroupAccess) -> bool {
        us().judge(mode, owner, group, access).is_ok()
    }

    #[test]
    fn file_of_its_owner_alone_is_fit_if_that_is_us_or_root() {
        for mode in [0o400, 0o600, 0o700] {
            for access in [OfRootsFiles, Read] {
                assert!(is_fit(mode, US, OTHER, access));
                assert!(is_fit(mode, ROOT, ROOT, access));
                assert_eq!(
                    us().judge(mode, OTHER, US, access),
                    Err(PrivateFileDefect::OwnedByAnother)
                );
            }
        }
    }

    #[test]
    fn file_that_root_keeps_for_one_of_our_groups_is_fit() {
        for mode in [0o440, 0o640] {
            for access in [OfRootsFiles, Read] {
                assert!(is_fit(mode, ROOT, US, access));
                assert!(is_fit(mode, ROOT, 2000, access));
            }
        }
    }

    #[test]
    fn file_that_its_group_may_read_depends_on_the_rule() {
        for (owner, group) in [(ROOT, OTHER), (ROOT, ROOT), (US, US)] {
            assert!(!is_fit(0o440, owner, group, OfRootsFiles));
            assert!(is_fit(0o440, owner, group, Read));
        }
        let root = Identity {
            user: ROOT,
            groups: vec![ROOT, US],
        };
        assert!(root.judge(0o440, ROOT, US, OfRootsFiles).is_err());
    }

    #[test]
    fn no_other_bit_of_group_or_others_is_fit() {
        for bits in (0..=0o077).filter(|bits| ![0, 0o040].contains(bits)) {
            for access in [OfRootsFiles, Read] {
                let mode = 0o600 | bits;
                let rejected = us().judge(mode, ROOT, US, access);
                assert_eq!(rejected, Err(PrivateFileDefect::OpenToOthers { mode }));
            }
        }
    }

    #[test]
    fn process_is_in_its_own_group() {
        let us = Identity::of_process();
        assert!(us.groups.contains(&rustix::process::getegid().as_raw()));
    }
}
