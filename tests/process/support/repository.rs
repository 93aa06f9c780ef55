//! The checkout.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Returns the root of the repository. Cargo runs a test in its package's directory, which is the checkout; a path
/// from build time would outlive it.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| std::env::current_dir().unwrap());
    &ROOT
}
