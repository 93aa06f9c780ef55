//! Searches for forbidden text, in every form that it could take.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A text to search for, in all its forms.
pub(crate) struct Needle {
    pub(crate) name: String,
    /// Lower-case forms, matched in any case.
    lower: Vec<Vec<u8>>,
    /// Base64 forms, which are case-sensitive.
    exact: Vec<Vec<u8>>,
}

/// A text to search.
pub(crate) struct Haystack {
    pub(crate) name: String,
    bytes: Vec<u8>,
    lower: Vec<u8>,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the Base64 digits that depend on a text alone, for each of the three positions at which it can
/// begin in a group of a longer text.
fn base64_cores(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut cores = Vec::new();
    for before in 0..3 {
        let padded = [vec![0; before], bytes.to_vec()].concat();
        let begin = [0, 2, 3][before];
        let end = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            cores.push(engine.encode(&padded).as_bytes()[begin..end].to_vec());
        }
    }
    cores
}

impl Needle {
    pub(crate) fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 8, "too short to be found only where it is");
        let percent = |byte: &u8| match byte.is_ascii_alphanumeric() {
            true => char::from(*byte).to_string(),
            false => format!("%{byte:02x}"),
        };
        let debug = bytes.escape_ascii().to_string();
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let lower = vec![
            bytes.to_ascii_lowercase(),
            hex(bytes).into_bytes(),
            bytes
                .iter()
                .map(percent)
                .collect::<String>()
                .to_ascii_lowercase()
                .into_bytes(),
            debug.to_ascii_lowercase().into_bytes(),
            // Output of a derived Debug of bytes.
            numbers.join(", ").into_bytes(),
        ];
        let mut exact = base64_cores(bytes);
        exact.extend(base64_cores(hex(bytes).as_bytes()));
        exact.extend(base64_cores(STANDARD_NO_PAD.encode(bytes).as_bytes()));
        Self {
            name: name.into(),
            lower,
            exact,
        }
    }
}

impl Haystack {
    pub(crate) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            name: name.into(),
            lower: bytes.to_ascii_lowercase(),
            bytes,
        }
    }

    pub(crate) fn file(path: &Path) -> Self {
        Self::new(path.display().to_string(), std::fs::read(path).unwrap())
    }

    pub(crate) fn holds(&self, needle: &Needle) -> bool {
        let search = Search::new(std::slice::from_ref(needle));
        !self.find(&search).is_empty()
    }

    /// Returns the needles in the haystack, each with the surroundings of its first position.
    fn find(&self, search: &Search<'_>) -> Vec<(usize, String)> {
        let mut places = search.lower.places(&self.lower);
        places.extend(search.exact.places(&self.bytes));
        places.sort_unstable();
        places.dedup_by_key(|(needle, _)| *needle);
        let around = |at: usize| {
            let around = at.saturating_sub(300)..(at + 200).min(self.bytes.len());
            self.bytes[around].escape_ascii().to_string()
        };
        let found = places.into_iter();
        found.map(|(needle, at)| (needle, around(at))).collect()
    }
}

/// All needles of a search.
struct Search<'n> {
    lower: Forms<'n>,
    exact: Forms<'n>,
}

/// Forms of needles by their first two bytes, so that a single pass finds all of them.
struct Forms<'n> {
    begins: Vec<bool>,
    by_beginning: BTreeMap<usize, Vec<(usize, &'n [u8])>>,
}

impl<'n> Search<'n> {
    fn new(needles: &'n [Needle]) -> Self {
        Self {
            lower: Forms::new(needles.iter().map(|needle| needle.lower.as_slice())),
            exact: Forms::new(needles.iter().map(|needle| needle.exact.as_slice())),
        }
    }
}

impl<'n> Forms<'n> {
    fn new(needles: impl Iterator<Item = &'n [Vec<u8>]>) -> Self {
        let mut begins = vec![false; 1 << 16];
        let mut by_beginning: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, forms) in needles.enumerate() {
            for form in forms {
                begins[beginning(form)] = true;
                let alike = by_beginning.entry(beginning(form)).or_default();
                alike.push((number, form.as_slice()));
            }
        }
        Self {
            begins,
            by_beginning,
        }
    }

    /// Returns the matching needles and their positions.
    fn places(&self, haystack: &[u8]) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for at in 0..haystack.len().saturating_sub(1) {
            let rest = &haystack[at..];
            if !self.begins[beginning(rest)] {
                continue;
            }
            for (needle, form) in &self.by_beginning[&beginning(rest)] {
                if rest.starts_with(form) {
                    places.push((*needle, at));
                }
            }
        }
        places
    }
}

fn beginning(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// Expects that no haystack has any of the needles.
#[track_caller]
pub(crate) fn expect_absent(haystacks: &[Haystack], needles: &[Needle]) {
    let search = Search::new(needles);
    let mut found = Vec::new();
    for haystack in haystacks {
        for (needle, around) in haystack.find(&search) {
            let (needle, haystack) = (&needles[needle].name, &haystack.name);
            found.push(format!("{needle} is in {haystack}: …{around}…"));
        }
    }
    assert!(
        found.is_empty(),
        "{} leaks:\n{}",
        found.len(),
        found.join("\n\n")
    );
}

/// Expects that every haystack has a harmless mark, which proves that the search works.
#[track_caller]
pub(crate) fn expect_present(haystacks: &[Haystack], mark: &str) {
    let needle = Needle::new(mark, mark.as_bytes());
    for haystack in haystacks {
        assert!(
            haystack.holds(&needle),
            "{mark} is not in {}",
            haystack.name
        );
    }
}

#[test]
fn every_form_is_found() {
    let mark = b"A mark/with+all%kinds\"of\\bytes";
    let needle = Needle::new("mark", mark);
    let standard = base64::engine::general_purpose::STANDARD;
    let forms: Vec<Vec<u8>> = vec![
        mark.to_vec(),
        mark.to_ascii_uppercase(),
        hex(mark).into_bytes(),
        hex(mark).to_uppercase().into_bytes(),
        format!("{:?}", String::from_utf8(mark.to_vec()).unwrap()).into_bytes(),
        format!("{:?}", mark.to_vec()).into_bytes(),
        standard.encode(mark).into_bytes(),
        standard
            .encode([b"x".as_slice(), mark].concat())
            .into_bytes(),
        standard
            .encode([b"xy".as_slice(), mark, b"z"].concat())
            .into_bytes(),
        URL_SAFE_NO_PAD.encode(mark).into_bytes(),
        standard.encode(hex(mark)).into_bytes(),
        "A%20mark%2Fwith%2Ball%25kinds%22of%5Cbytes".into(),
    ];
    for form in forms {
        let text = form.escape_ascii().to_string();
        let haystack = Haystack::new("text", [b"before ".as_slice(), &form, b" after"].concat());
        assert!(haystack.holds(&needle), "{text}");
    }
    assert!(!Haystack::new("other", "A mark, with none").holds(&needle));
}
