//! Pagination of lists.

use uuid::Uuid;

use crate::error::Error;
use crate::model::clock::Timestamp;

/// Number of items in a page if the caller does not set one.
pub const DEFAULT_PAGE_ITEMS: u32 = 100;
/// Maximum number of items in a page, regardless of the operator's setting.
pub const MAX_PAGE_ITEMS: u32 = 1000;
/// Maximum length of a page token, in bytes.
const MAX_TOKEN_BYTES: usize = 2048;

/// Request for a page of a list whose items have positions of type `K`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K = String> {
    /// Maximum number of items, from 1 to [`MAX_PAGE_ITEMS`].
    pub limit: u32,
    /// Sort key of the last item of the previous page.
    pub after: Option<K>,
}

impl PageRequest {
    /// Reads the page size and token of a request. A size of 0 means [`DEFAULT_PAGE_ITEMS`]; a size above
    /// `max_items` is reduced to it. An empty token means the first page. `max_items` is the operator's
    /// maximum, from 1 to [`MAX_PAGE_ITEMS`].
    ///
    /// # Errors
    /// The token does not come from a page.
    pub fn parse(page_size: u32, page_token: &str, max_items: u32) -> Result<Self, Error> {
        let asked = match page_size {
            0 => DEFAULT_PAGE_ITEMS,
            n => n,
        };
        let limit = asked.min(max_items).clamp(1, MAX_PAGE_ITEMS);
        let after = if page_token.is_empty() {
            None
        } else {
            Some(decode(page_token)?)
        };
        Ok(Self { limit, after })
    }

    /// Returns the same request with its sort key parsed.
    ///
    /// # Errors
    /// The sort key does not belong to this list.
    pub fn read<K>(
        &self,
        key: impl FnOnce(&str) -> Result<K, Error>,
    ) -> Result<PageRequest<K>, Error> {
        Ok(PageRequest {
            limit: self.limit,
            after: self.after.as_deref().map(key).transpose()?,
        })
    }
}

/// Position of an item in a list that is sorted by time and id, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Time by which the list is sorted.
    pub created_at: Timestamp,
    /// Identifier, which sorts items of the same time.
    pub id: Uuid,
}

impl Position {
    /// Returns the sort key of an item at this position: milliseconds, a colon, the id.
    #[must_use]
    pub fn sort_key(&self) -> String {
        format!("{}:{}", self.created_at.unix_millis(), self.id)
    }

    /// Returns the position of a sort key.
    ///
    /// # Errors
    /// The text is not a sort key.
    pub fn from_sort_key(key: &str) -> Result<Self, Error> {
        let (millis, id) = key.split_once(':').ok_or_else(invalid)?;
        let millis = millis.parse().map_err(|_| invalid())?;
        Ok(Self {
            created_at: Timestamp::from_unix_millis(millis),
            id: Uuid::parse_str(id).map_err(|_| invalid())?,
        })
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The sort key of the last item; `None` on the last page.
    pub next: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }
}

impl<T> Page<T> {
    /// Cuts a page out of `items`, for which the store was asked for one item more than the limit.
    #[must_use]
    pub fn cut<K>(mut items: Vec<T>, request: &PageRequest<K>, key: impl Fn(&T) -> String) -> Self {
        let limit = request.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    /// Returns the token for the next page; empty on the last page.
    #[must_use]
    pub fn next_token(&self) -> String {
        self.next.as_deref().map(encode).unwrap_or_default()
    }
}

/// Encodes the sort key in hex: opaque enough to keep clients from constructing tokens.
fn encode(key: &str) -> String {
    hex::encode(key)
}

/// Returns the error for an invalid token.
pub(crate) fn invalid() -> Error {
    Error::invalid("pageToken", "Page token is not valid")
}

fn decode(token: &str) -> Result<String, Error> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid());
    }
    let key =
        String::from_utf8(hex::decode(token).map_err(|_| invalid())?).map_err(|_| invalid())?;
    if key.chars().any(|c| c == '\0') {
        Err(invalid())
    } else {
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_never_larger_than_asked_for_or_allowed() {
        for (asked, allowed, expected) in [
            (0, 1000, 100),
            (0, 7, 7),
            (7, 1000, 7),
            (1000, 1000, 1000),
            (1001, 1000, 1000),
            (u32::MAX, 7, 7),
            (u32::MAX, u32::MAX, 1000),
            (1, 0, 1),
        ] {
            let page = PageRequest::parse(asked, "", allowed).unwrap();
            assert_eq!(page.limit, expected, "{asked} of {allowed}");
        }
    }
}
