//! Keyring files: accessible to their owner only, regular, bounded, and never overwritten.

use std::fs;
use std::path::{Path, PathBuf};

use keyward_crypto::{
    AssociatedData, Error, Kek, Keyring, KeyringDefect, KeyringFileDefect, MAX_KEYRING_FILE_BYTES,
};
use tempfile::TempDir;

use crate::{key, now};

const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f91";

struct Place {
    directory: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring.json");
    Place { directory, path }
}

/// Creates a valid keyring with a single key in a file that only its owner can access.
fn good() -> Place {
    let place = place();
    write(
        &place.path,
        format!(
            r#"{{"format":"keyward-keyring-v1","primary":1,"keys":[{{"version":1,"key":"{KEY}"}}]}}"#
        ),
    );
    place
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    set_mode(path, 0o600);
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}

/// Returns the defect that loading reports, after checking that the error names the path and quotes no key.
#[track_caller]
fn defect(path: &Path) -> KeyringFileDefect {
    let error = Keyring::load(path).unwrap_err();
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(
        !text.contains(&KEY[..8]) && !debug.contains(&KEY[..8]),
        "{text}"
    );
    match error {
        Error::KeyringFile {
            path: named,
            defect,
        } => {
            assert_eq!(named, path);
            defect
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_file_loads() {
    assert_eq!(Keyring::load(&good().path).unwrap().versions(), [1]);
}

#[test]
fn created_file_loads_with_the_same_keys() {
    let place = place();
    let ring = Keyring::generate().unwrap().with_new_version().unwrap();
    let ring = ring.with_primary(2).unwrap();
    ring.create_file(&place.path).unwrap();
    let loaded = Keyring::load(&place.path).unwrap();
    assert_eq!((loaded.primary(), loaded.versions()), (2, vec![1, 2]));

    let aad = AssociatedData::new("keyward data key");
    for version in [1, 2] {
        let wrapped = now(ring.with_primary(version).unwrap().wrap(&key(0x60), &aad)).unwrap();
        assert_eq!(
            now(loaded.unwrap(&wrapped, &aad)).unwrap().expose(),
            key(0x60).expose()
        );
    }
}

#[test]
fn creating_rejects_to_overwrite() {
    let place = good();
    let before = fs::read(&place.path).unwrap();
    assert_eq!(
        Keyring::generate()
            .unwrap()
            .create_file(&place.path)
            .unwrap_err(),
        Error::KeyringFile {
            path: place.path.clone(),
            defect: KeyringFileDefect::AlreadyExists
        }
    );
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[test]
fn creating_in_a_missing_directory_is_rejected() {
    let place = place();
    let path = place.path.join("keyring.json");
    assert_eq!(
        Keyring::generate().unwrap().create_file(&path).unwrap_err(),
        Error::KeyringFile {
            path,
            defect: KeyringFileDefect::CannotCreate(std::io::ErrorKind::NotFound)
        }
    );
}

#[test]
fn missing_file_is_rejected() {
    assert_eq!(
        defect(&place().path),
        KeyringFileDefect::CannotOpen(std::io::ErrorKind::NotFound)
    );
}

#[test]
fn directory_is_rejected() {
    assert_eq!(
        defect(place().directory.path()),
        KeyringFileDefect::NotRegular
    );
}

#[test]
fn file_larger_than_the_bound_is_rejected() {
    let place = good();
    let mut content = fs::read(&place.path).unwrap();
    content.resize(MAX_KEYRING_FILE_BYTES, b' ');
    write(&place.path, &content);
    assert!(Keyring::load(&place.path).is_ok(), "at the bound");
    content.push(b' ');
    write(&place.path, &content);
    assert_eq!(
        defect(&place.path),
        KeyringFileDefect::TooLarge {
            limit_bytes: MAX_KEYRING_FILE_BYTES
        }
    );
}

#[test]
fn file_that_is_not_utf8_is_rejected() {
    let place = place();
    write(&place.path, [KEY.as_bytes(), &[0xff]].concat());
    assert_eq!(defect(&place.path), KeyringFileDefect::NotUtf8);
}

#[test]
fn empty_file_is_rejected() {
    let place = place();
    write(&place.path, "");
    assert_eq!(
        defect(&place.path),
        KeyringFileDefect::Text(KeyringDefect::NotJson { line: 1, column: 0 })
    );
}

#[test]
fn malformed_file_is_rejected_with_path_and_defect() {
    let place = good();
    let content = fs::read_to_string(&place.path).unwrap();
    write(&place.path, content.replace(KEY, &KEY[..63]));
    assert_eq!(
        Keyring::load(&place.path).unwrap_err().to_string(),
        format!(
            "keyring file {}: has a key of version 1 that is not 64 hexadecimal digits long",
            place.path.display()
        )
    );
    assert_eq!(
        defect(&place.path),
        KeyringFileDefect::Text(KeyringDefect::KeyLength { version: 1 })
    );
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn file_that_others_may_read_is_rejected() {
        let place = good();
        set_mode(&place.path, 0o644);
        assert_eq!(
            defect(&place.path),
            KeyringFileDefect::OpenToOthers { mode: 0o644 }
        );
        let text = Keyring::load(&place.path).unwrap_err().to_string();
        assert!(text.ends_with(
            "has mode 0644, which lets its group or others in; it must be 0600 or stricter, \
             or 0640 or stricter where it is root's and of a group of this process"
        ));
    }

    #[test]
    fn file_that_its_group_may_read_is_rejected() {
        let place = good();
        set_mode(&place.path, 0o640);
        assert_eq!(
            defect(&place.path),
            KeyringFileDefect::OpenToOthers { mode: 0o640 }
        );
    }

    #[test]
    fn every_single_bit_for_group_or_others_is_rejected() {
        let place = good();
        for bit in 0..6 {
            let mode = 0o600 | 1 << bit;
            set_mode(&place.path, mode);
            assert_eq!(
                defect(&place.path),
                KeyringFileDefect::OpenToOthers { mode }
            );
        }
    }

    #[test]
    fn file_that_its_owner_may_only_read_loads() {
        let place = good();
        set_mode(&place.path, 0o400);
        assert!(Keyring::load(&place.path).is_ok());
    }

    #[test]
    fn link_to_a_good_file_loads() {
        let place = good();
        let link = place.directory.path().join("link");
        symlink(&place.path, &link).unwrap();
        assert_eq!(Keyring::load(&link).unwrap().versions(), [1]);
    }

    #[test]
    fn link_to_an_open_file_is_rejected() {
        let place = good();
        set_mode(&place.path, 0o644);
        let link = place.directory.path().join("link");
        symlink(&place.path, &link).unwrap();
        assert_eq!(
            defect(&link),
            KeyringFileDefect::OpenToOthers { mode: 0o644 }
        );
    }

    #[test]
    fn link_to_nothing_is_not_written_through() {
        let place = place();
        let target = place.directory.path().join("target");
        symlink(&target, &place.path).unwrap();
        assert_eq!(
            Keyring::generate()
                .unwrap()
                .create_file(&place.path)
                .unwrap_err(),
            Error::KeyringFile {
                path: place.path.clone(),
                defect: KeyringFileDefect::AlreadyExists
            }
        );
        assert!(!target.exists());
    }

    #[test]
    fn socket_is_rejected() {
        let place = place();
        let _socket = UnixListener::bind(&place.path).unwrap();
        set_mode(&place.path, 0o600);
        assert_eq!(defect(&place.path), KeyringFileDefect::NotRegular);
    }

    #[test]
    fn device_is_rejected() {
        assert_eq!(
            defect(Path::new("/dev/null")),
            KeyringFileDefect::NotRegular
        );
    }

    #[test]
    fn created_file_has_mode_0600() {
        let place = place();
        Keyring::generate()
            .unwrap()
            .create_file(&place.path)
            .unwrap();
        let mode = fs::metadata(&place.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}
