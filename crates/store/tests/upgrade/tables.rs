//! Content of a database: its tables with their columns, the constraints that affect writers, and every row, as text.

use std::collections::{BTreeMap, BTreeSet};

use keyward_testkit::TestDatabase;
use sea_orm::DbBackend;

/// Column properties that affect writers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    kind: String,
    is_nullable: bool,
    has_default: bool,
}

#[derive(Debug, Default)]
struct Table {
    columns: BTreeMap<String, Column>,
    /// Definition of each unique index and each foreign key.
    constraints: BTreeSet<String>,
    /// Values of each row, by column.
    rows: BTreeSet<BTreeMap<String, Option<String>>>,
}

/// All tables except the list of migrations.
pub(crate) struct Tables(BTreeMap<String, Table>);

impl Tables {
    pub(crate) async fn read(database: &TestDatabase) -> Self {
        let is_postgres = database.raw().await.get_database_backend() == DbBackend::Postgres;
        let columns = if is_postgres {
            "SELECT table_name::text AS t, column_name::text AS c, data_type::text AS k, \
             is_nullable = 'YES' AS n, column_default IS NOT NULL AS d \
             FROM information_schema.columns WHERE table_schema = 'public'"
        } else {
            "SELECT t.name AS t, c.name AS c, c.type AS k, c.\"notnull\" = 0 AS n, \
             c.dflt_value IS NOT NULL AS d FROM sqlite_master AS t, pragma_table_info(t.name) AS c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
        };
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        for row in database.query(columns).await {
            let text = |name: &str| row.try_get::<String>("", name).unwrap();
            let column = Column {
                kind: text("k"),
                is_nullable: row.try_get("", "n").unwrap(),
                has_default: row.try_get("", "d").unwrap(),
            };
            let table = tables.entry(text("t")).or_default();
            table.columns.insert(text("c"), column);
        }
        tables.remove("seaql_migrations");
        let constraints = if is_postgres {
            "SELECT conrelid::regclass::text AS t, pg_get_constraintdef(oid) AS c FROM pg_constraint \
             WHERE connamespace = 'public'::regnamespace AND contype <> 'n' \
             UNION SELECT indrelid::regclass::text, 'UNIQUE ' || pg_get_indexdef(indexrelid) \
             FROM pg_index WHERE indisunique AND NOT indisprimary \
             AND indrelid::regclass::text NOT LIKE 'pg_%'"
        } else {
            "SELECT t.name AS t, 'UNIQUE ' || (SELECT group_concat(c.name) FROM \
             pragma_index_info(i.name) AS c) AS c FROM sqlite_master AS t, \
             pragma_index_list(t.name) AS i WHERE t.type = 'table' AND i.\"unique\" \
             UNION SELECT t.name, f.\"from\" || ' REFERENCES ' || f.\"table\" || '.' || f.\"to\" || \
             ' ON DELETE ' || f.on_delete FROM sqlite_master AS t, \
             pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'"
        };
        for row in database.query(constraints).await {
            let text = |name: &str| row.try_get::<String>("", name).unwrap();
            if let Some(table) = tables.get_mut(&text("t")) {
                table.constraints.insert(text("c"));
            }
        }
        for (name, table) in &mut tables {
            table.rows = rows(database, name, table, is_postgres).await;
        }
        Self(tables)
    }

    pub(crate) fn names(&self) -> Vec<&String> {
        self.0.keys().collect()
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.values().map(|table| table.rows.len()).sum()
    }

    pub(crate) fn empty(&self) -> BTreeSet<&String> {
        let empty = self.0.iter().filter(|(_, table)| table.rows.is_empty());
        empty.map(|(name, _)| name).collect()
    }

    /// Checks that every earlier row exists with the same values in the earlier columns.
    #[track_caller]
    pub(crate) fn assert_holds(&self, before: &Self, step: usize) {
        for (name, old) in &before.0 {
            let table = &self.0[name];
            let known = |row: &BTreeMap<String, Option<String>>| {
                let columns = row
                    .iter()
                    .filter(|(column, _)| old.columns.contains_key(*column));
                columns
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            };
            let rows: BTreeSet<BTreeMap<_, _>> = table.rows.iter().map(known).collect();
            assert_eq!(rows, old.rows, "{name} after an upgrade from step {step}");
        }
    }

    /// Checks that earlier readers and writers lose nothing, and that writers need not set new columns.
    #[track_caller]
    pub(crate) fn assert_expands(&self, before: &Self, migration: &str) {
        for (name, old) in &before.0 {
            let Some(table) = self.0.get(name) else {
                panic!("{migration} takes away the table {name}")
            };
            assert_eq!(
                table.constraints, old.constraints,
                "{migration} changes what {name} demands or guarantees"
            );
            for (column, was) in &old.columns {
                let is = table.columns.get(column);
                assert_eq!(is, Some(was), "{migration} changes {name}.{column}");
            }
            for (column, is) in &table.columns {
                assert!(
                    old.columns.contains_key(column) || is.is_nullable || is.has_default,
                    "{migration} demands {name}.{column} from programs of the previous version"
                );
            }
        }
    }
}

async fn rows(
    database: &TestDatabase,
    name: &str,
    table: &Table,
    is_postgres: bool,
) -> BTreeSet<BTreeMap<String, Option<String>>> {
    let value = |column: &String| {
        if is_postgres {
            format!("\"{column}\"::text AS \"{column}\"")
        } else {
            format!("quote(\"{column}\") AS \"{column}\"")
        }
    };
    let values: Vec<_> = table.columns.keys().map(value).collect();
    let select = format!("SELECT {} FROM \"{name}\"", values.join(", "));
    let rows = database.query(&select).await;
    rows.iter()
        .map(|row| {
            let value = |column: &String| (column.clone(), row.try_get("", column).unwrap());
            table.columns.keys().map(value).collect()
        })
        .collect()
}
