//! Column and constraint definitions for the migrations.

use sea_orm::DbBackend;
use sea_orm::sea_query::{ColumnDef, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement};

/// Maximum length of a short text, in characters; the same as for the platform's identifiers.
const SHORT_TEXT_CHARS: u32 = 255;
/// Maximum length of a provider's name, in characters.
const PROVIDER_CHARS: u32 = 64;

/// Column for an identifier, compared and ordered by bytes. This is SQLite's default; PostgreSQL would use the
/// database's locale, in which the pages of a list could be ordered differently.
pub(super) fn id(backend: DbBackend, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.string_len(SHORT_TEXT_CHARS);
    match backend {
        DbBackend::Postgres => {
            column.extra(r#"COLLATE "C""#);
        }
        DbBackend::MySql => {
            column.extra("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        }
        _ => {}
    }
    column
}

/// Column for a short text.
pub(super) fn short_text(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.string_len(SHORT_TEXT_CHARS);
    column
}

/// Column for the name of a provider.
pub(super) fn provider(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.string_len(PROVIDER_CHARS);
    column
}

/// Column for an envelope. On MySQL a plain blob ends at 65,535 bytes, and the envelope of the longest secret is
/// longer.
pub(super) fn envelope(backend: DbBackend, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match backend {
        DbBackend::MySql => column.custom("mediumblob"),
        _ => column.blob(),
    };
    column.not_null();
    column
}

/// Column for a timestamp in milliseconds, a version or another integer.
pub(super) fn integer(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.big_integer().not_null();
    column
}

/// Foreign key to another table's primary key.
pub(super) fn reference<const N: usize>(
    name: &'static str,
    from: (&'static str, [&'static str; N]),
    to: (&'static str, [&'static str; N]),
    on_delete: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    let mut key = ForeignKey::create();
    key.name(name)
        .from_tbl(from.0)
        .to_tbl(to.0)
        .on_delete(on_delete);
    for column in from.1 {
        key.from_col(column);
    }
    for column in to.1 {
        key.to_col(column);
    }
    key
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::Table;

    use super::*;

    #[test]
    fn envelopes_fit_on_every_engine() {
        for (backend, wanted) in [
            (DbBackend::Sqlite, " blob "),
            (DbBackend::Postgres, " bytea "),
            (DbBackend::MySql, " mediumblob "),
        ] {
            let table = Table::create()
                .table("t")
                .col(envelope(backend, "sealed"))
                .to_owned();
            let sql = backend.build(&table).sql;
            assert!(sql.contains(wanted), "{sql}");
        }
    }
}
