//! A position in the feed on PostgreSQL.

/// A snapshot of the transactions, and the server that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The first transaction that had not begun (`xmax`).
    pub(super) next: i64,
    /// Earlier transactions that were open (`xip`).
    pub(super) open: Vec<i64>,
    /// Start time of the server. Another server, such as a promoted standby, may have lost transactions and used their
    /// numbers again.
    pub(super) server: String,
}

impl Position {
    /// Reads a snapshot in PostgreSQL's text form, `xmin:xmax:xip,…`. `None` if the text is malformed.
    pub(super) fn parse(snapshot: &str, server: String) -> Option<Self> {
        let mut parts = snapshot.split(':');
        let (_first, next, open) = (parts.next()?, parts.next()?, parts.next()?);
        let open = open.split(',').filter(|number| !number.is_empty());
        Some(Self {
            next: next.parse().ok()?,
            open: open
                .map(|number| number.parse().ok())
                .collect::<Option<_>>()?,
            server,
        })
    }

    /// Returns the first transaction that the snapshot does not show.
    pub(super) fn first_unseen(&self) -> i64 {
        self.open.iter().copied().fold(self.next, i64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_is_parsed() {
        let parse = |text| Position::parse(text, String::new());
        let position = |next, open: &[i64]| Position {
            next,
            open: open.to_vec(),
            server: String::new(),
        };
        assert_eq!(parse("10:20:"), Some(position(20, &[])));
        assert_eq!(parse("10:20:10,14"), Some(position(20, &[10, 14])));
        assert_eq!(position(20, &[14, 10]).first_unseen(), 10);
        assert_eq!(position(20, &[]).first_unseen(), 20);
        for malformed in ["", "10:20", "10:x:", "10:20:a"] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }
}
