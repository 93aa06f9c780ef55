//! Preferences of a client: the lists of `Accept` and `Accept-Encoding`.

use http::HeaderValue;

/// Default weight, in thousandths.
const FULL: u16 = 1000;

/// Entries of a list header, in lower case, with their weights in thousandths. Parameters other
/// than the weight are ignored.
#[derive(Debug, Default)]
pub(crate) struct Preferences(Vec<(String, u16)>);

impl Preferences {
    /// Parses the values of a header. Returns `None` if the header is absent. Malformed entries are
    /// skipped.
    pub(crate) fn of<'h>(values: impl Iterator<Item = &'h HeaderValue>) -> Option<Self> {
        let mut values = values.peekable();
        values.peek()?;
        let texts = values.map(HeaderValue::to_str).filter_map(Result::ok);
        let entries = texts.flat_map(|text| text.split(',')).filter_map(entry);
        Some(Self(entries.collect()))
    }

    /// Returns the weight of exactly this entry.
    pub(crate) fn named(&self, name: &str) -> Option<u16> {
        let mut entries = self.0.iter();
        entries.find(|(known, _)| known == name).map(|(_, q)| *q)
    }

    /// Returns the weight of a media type, from the most specific range that contains it.
    pub(crate) fn media_type(&self, name: &str) -> Option<u16> {
        let (kind, _) = name.split_once('/').unwrap_or((name, ""));
        self.named(name)
            .or_else(|| self.named(&format!("{kind}/*")))
            .or_else(|| self.named("*/*"))
    }

    /// Returns the weight of a content coding.
    pub(crate) fn coding(&self, name: &str) -> u16 {
        self.named(name)
            .or_else(|| self.named("*"))
            .unwrap_or_default()
    }
}

fn entry(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim_end()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim_start())
    });
    let weight = match weight {
        Some(text) => thousandths(text)?,
        None => FULL,
    };
    Some((name.to_ascii_lowercase(), weight))
}

/// Parses a weight (RFC 9110, 12.4.2): 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || !matches!(whole, "0" | "1") {
        return None;
    }
    let weight: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Preferences;

    fn accept(values: &[&str]) -> Option<Preferences> {
        let values: Vec<_> = values
            .iter()
            .map(|value| HeaderValue::from_str(value).unwrap())
            .collect();
        Preferences::of(values.iter())
    }

    #[test]
    fn weights_are_read_and_the_most_specific_range_counts() {
        assert!(accept(&[]).is_none());
        let list = accept(&[
            "text/*;q=0.3, text/HTML;q=0.7",
            "text/html;level=1;Q=0.4, */*;q=0.05",
        ]);
        let list = list.unwrap();
        assert_eq!(list.media_type("text/html"), Some(700));
        assert_eq!(list.media_type("text/plain"), Some(300));
        assert_eq!(list.media_type("image/png"), Some(50));
        assert_eq!(list.coding("gzip"), 0);
        assert_eq!(accept(&["gzip, *;q=0.5"]).unwrap().coding("zstd"), 500);
    }

    #[test]
    fn entries_that_cannot_be_read_are_passed_over() {
        for text in [
            "a;q=2",
            "a;q=",
            "a;q=0.1234",
            "a;q=-1",
            "a;q=1.001",
            "a;q=x",
            ";q=1",
            "",
        ] {
            assert_eq!(accept(&[text]).unwrap().named("a"), None, "{text}");
        }
        for (text, weight) in [
            ("a;q=1.000", 1000),
            ("a; q = 0.5 ", 500),
            ("a;q=0", 0),
            ("a;q=1.", 1000),
        ] {
            assert_eq!(accept(&[text]).unwrap().named("a"), Some(weight), "{text}");
        }
    }
}
