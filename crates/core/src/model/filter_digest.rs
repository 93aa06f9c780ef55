//! Binding of page tokens to the list that they come from: its kind and its filters.

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::model::page::{self, Page, PageRequest, Position};

/// Number of bytes of the digest in a token: enough to exclude accidental collisions.
const DIGEST_BYTES: usize = 16;
/// Number of bytes of the checksum, which detects damaged tokens. A client that forges a token gains nothing:
/// the filters still apply.
const CHECK_BYTES: usize = 4;

/// Digest of a list's filters. Different filters have different digests, since each part is encoded with its
/// presence and its length.
#[derive(Debug, Clone)]
pub(crate) struct FilterDigest(Sha256);

impl FilterDigest {
    /// Begins the digest of a kind of list.
    pub(crate) fn of(list: &'static str) -> Self {
        Self(Sha256::new_with_prefix(list))
    }

    /// Adds a filter; `None` if it is not set.
    pub(crate) fn with(mut self, part: Option<&[u8]>) -> Self {
        match part {
            None => self.0.update([0]),
            Some(bytes) => {
                self.0.update([1]);
                self.0.update((bytes.len() as u64).to_be_bytes());
                self.0.update(bytes);
            }
        }
        self
    }

    /// Adds a filter that is a text.
    pub(crate) fn with_text(self, text: Option<&str>) -> Self {
        self.with(text.map(str::as_bytes))
    }

    /// Returns a sort key as a page token contains it, bound to the filters.
    pub(crate) fn bind(&self, key: &str) -> String {
        let text = format!("{key}.{}", self.hex());
        format!("{text}.{}", check(&text))
    }

    /// Returns the sort key of a page token.
    ///
    /// # Errors
    /// The text was modified, or belongs to a list with other filters.
    pub(crate) fn unbind<'a>(&self, text: &'a str) -> Result<&'a str, Error> {
        let (text, found) = text.rsplit_once('.').ok_or_else(page::invalid)?;
        if found != check(text) {
            return Err(page::invalid());
        }
        let (key, digest) = text.rsplit_once('.').ok_or_else(page::invalid)?;
        if digest != self.hex() {
            let message = "Page token is of a list with other filters";
            return Err(Error::invalid("pageToken", message));
        }
        Ok(key)
    }

    /// Reads the position of a request for a page.
    ///
    /// # Errors
    /// The page token does not come from a page of this list.
    pub(crate) fn read(&self, page: &PageRequest) -> Result<PageRequest<Position>, Error> {
        page.read(|text| Position::from_sort_key(self.unbind(text)?))
    }

    /// Binds the token of the next page.
    pub(crate) fn bind_page<T>(&self, page: Page<T>) -> Page<T> {
        let next = page.next.map(|key| self.bind(&key));
        Page { next, ..page }
    }

    fn hex(&self) -> String {
        hex::encode(&self.0.clone().finalize()[..DIGEST_BYTES])
    }
}

fn check(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..CHECK_BYTES])
}
