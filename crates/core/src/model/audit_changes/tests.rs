#![allow(clippy::unwrap_used, reason = "tests may")]

use super::*;

struct Record(Values);

impl Audited for Record {
    fn audited(&self) -> Values {
        self.0.clone()
    }
}

fn record(values: &[(&'static str, Option<&str>)]) -> Record {
    let own = |(name, value): &(&'static str, Option<&str>)| {
        (Cow::Borrowed(*name), value.map(str::to_owned))
    };
    Record(values.iter().map(own).collect())
}

fn changes_of(old: Option<&Record>, new: &Record) -> Vec<(String, String)> {
    let mut details = BTreeMap::new();
    add(&mut details, old, new);
    details.into_iter().collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn changed_field_has_its_old_and_new_value() {
    let old = record(&[
        ("a", Some("1")),
        ("b", Some("2")),
        ("c", None),
        ("d", Some("4")),
    ]);
    let new = record(&[
        ("a", Some("1")),
        ("b", Some("3")),
        ("c", Some("")),
        ("e", None),
    ]);
    let expected = [
        pair("b.new", "3"),
        pair("b.old", "2"),
        pair("c.new", ""),
        pair("d.old", "4"),
    ];
    assert_eq!(changes_of(Some(&old), &new), expected);
    assert_eq!(changes_of(None, &old).len(), 3);
}

#[test]
fn values_are_cut_between_characters() {
    let long = "\u{1f511}".repeat(100);
    let details = changes_of(None, &record(&[("a", Some(&long))]));
    let (_, shown) = &details[0];
    assert!(shown.len() <= MAX_VALUE_BYTES && shown.len() > MAX_VALUE_BYTES - 8);
    assert!(shown.ends_with("\u{1f511}\u{2026}"));
}

#[test]
fn values_that_differ_after_the_cut_are_reported() {
    let value = |end| format!("{}{end}", "a".repeat(MAX_VALUE_BYTES));
    let (old, new) = (value('1'), value('2'));
    let details = changes_of(
        Some(&record(&[("a", Some(&old))])),
        &record(&[("a", Some(&new))]),
    );
    assert_eq!(details.len(), 2);
}

#[test]
fn changes_beyond_the_bound_are_counted() {
    let values = (0..100).map(|number| {
        let name = format!("access.workspace-{number:03}");
        (Cow::Owned(name), Some("a".repeat(50)))
    });
    let mut details = BTreeMap::new();
    add(&mut details, None, &Record(values.collect()));
    let left_out: usize = details.remove(LEFT_OUT).unwrap().parse().unwrap();
    let size: usize = details
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert_eq!(details.len() + left_out, 100);
    assert!(
        size <= MAX_CHANGES_BYTES && size > MAX_CHANGES_BYTES - 74,
        "{size}"
    );
}

#[test]
fn endpoint_is_recorded_without_possible_secrets() {
    for (text, shown) in [
        ("https://a.example/v1", "https://a.example/v1"),
        (
            "https://user:canary@a.example:8443/v1",
            "https://a.example:8443/v1",
        ),
        ("https://a@canary@a.example/", "https://a.example/"),
        ("https://a.example/v1?key=canary", "https://a.example/v1"),
        ("https://a.example?key=canary#canary", "https://a.example"),
        ("user:canary@a.example/v1", "a.example/v1"),
        ("a.example", "a.example"),
        ("https://user:can/ary@a.example", HIDDEN),
        ("https://user:can?ary@a.example", HIDDEN),
        ("user:canary@a.example/?next=https://b.example", HIDDEN),
        ("user:canary://a.example", HIDDEN),
        ("", ""),
    ] {
        assert_eq!(endpoint(text), shown, "{text}");
    }
}
