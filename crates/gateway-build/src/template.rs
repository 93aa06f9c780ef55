//! The grammar of path templates.
//!
//! ```text
//! Template = "/" Segments [ ":" LITERAL ]
//! Segments = Segment { "/" Segment }
//! Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
//! ```
//!
//! The whole grammar is read here; [`Template::plain`] says which part of it the
//! rest can serve so far.

/// A path template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// Itself.
    Literal(String),
    /// `*`, one segment.
    One,
    /// `**`, all that remains.
    Rest,
    /// A field and what it matches.
    Variable {
        path: Vec<String>,
        pattern: Vec<Segment>,
    },
}

/// A segment that the rest can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Itself.
    Literal(String),
    /// The field that takes one segment.
    Variable(String),
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("a path must begin with /")?;
        let (rest, verb) = split_verb(rest);
        if let Some(verb) = verb {
            literal(verb)?;
        }
        Ok(Self {
            segments: segments(rest, true)?,
            verb: verb.map(str::to_owned),
        })
    }

    /// The segments, if all are literals and variables of one segment.
    pub(crate) fn plain(self) -> Result<Vec<Plain>, String> {
        if self.verb.is_some() {
            return Err("verbs in paths are not supported yet".to_owned());
        }
        self.segments
            .into_iter()
            .map(|segment| match segment {
                Segment::Literal(text) => Ok(Plain::Literal(text)),
                Segment::One | Segment::Rest => Err("wildcards are not supported yet".to_owned()),
                Segment::Variable { pattern, .. } if pattern != [Segment::One] => {
                    Err("patterns of variables are not supported yet".to_owned())
                }
                Segment::Variable { path, .. } => match <[String; 1]>::try_from(path) {
                    Ok([field]) => Ok(Plain::Variable(field)),
                    Err(_) => Err("fields of fields in paths are not supported yet".to_owned()),
                },
            })
            .collect()
    }
}

/// Splits off the verb: what follows a colon after the last slash and brace.
fn split_verb(text: &str) -> (&str, Option<&str>) {
    let tail = text.rfind(['/', '}']).map_or(0, |end| end + 1);
    match text.get(tail..).and_then(|last| last.find(':')) {
        Some(colon) => {
            let (before, verb) = text.split_at(tail + colon);
            (before, verb.strip_prefix(':'))
        }
        None => (text, None),
    }
}

fn segments(text: &str, variables: bool) -> Result<Vec<Segment>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (segment, after) = match rest.strip_prefix('{') {
            Some(_) if !variables => return Err("a variable inside a variable".to_owned()),
            Some(inner) => {
                let (inside, after) = inner.split_once('}').ok_or("a { without its }")?;
                (variable(inside)?, after)
            }
            None => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                (plain_segment(text)?, after)
            }
        };
        if found.contains(&Segment::Rest) {
            return Err("** must be the last segment".to_owned());
        }
        found.push(segment);
        if after.is_empty() {
            return Ok(found);
        }
        rest = after.strip_prefix('/').ok_or("a } must end its segment")?;
    }
}

fn plain_segment(text: &str) -> Result<Segment, String> {
    match text {
        "*" => Ok(Segment::One),
        "**" => Ok(Segment::Rest),
        other => literal(other).map(|()| Segment::Literal(other.to_owned())),
    }
}

fn variable(text: &str) -> Result<Segment, String> {
    let (path, pattern) = match text.split_once('=') {
        Some((path, pattern)) => (path, segments(pattern, false)?),
        None => (text, vec![Segment::One]),
    };
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    let is_name = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name
                .chars()
                .all(|other| other.is_ascii_alphanumeric() || other == '_')
    };
    if path.iter().all(is_name) {
        Ok(Segment::Variable { path, pattern })
    } else {
        Err(format!("{{{text}}} names no field"))
    }
}

/// A literal is not empty and has only characters that a path holds as they are.
fn literal(text: &str) -> Result<(), String> {
    let allowed = |other: char| other.is_ascii_alphanumeric() || "-._~!$&'()+,;@".contains(other);
    match text.chars().find(|other| !allowed(*other)) {
        Some(other) => Err(format!("the path has an unexpected {other:?}")),
        None if text.is_empty() => Err("the path has an empty segment".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Plain, Template};

    fn plain(text: &str) -> Result<Vec<Plain>, String> {
        Template::parse(text)?.plain()
    }

    #[test]
    fn literals_and_variables_are_read() {
        let expected = vec![
            Plain::Literal("repo".to_owned()),
            Plain::Variable("repo_id".to_owned()),
            Plain::Literal("ai".to_owned()),
        ];
        assert_eq!(plain("/repo/{repo_id}/ai"), Ok(expected.clone()));
        assert_eq!(plain("/repo/{repo_id=*}/ai"), Ok(expected));
    }

    #[test]
    fn what_comes_later_is_refused_by_name() {
        for (text, word) in [
            ("/a/*", "wildcards"),
            ("/a/**", "wildcards"),
            ("/a/{b=**}", "patterns"),
            ("/a/{b=c/*}", "patterns"),
            ("/a/{b.c}", "fields of fields"),
            ("/a/{b}:rotate", "verbs"),
            ("/a:rotate", "verbs"),
        ] {
            let reason = plain(text).unwrap_err();
            assert!(
                reason.contains(word) && reason.contains("not supported yet"),
                "{reason}"
            );
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in [
            "", "a", "/", "/a/", "//a", "/a//b", "/{", "/{}", "/{a", "/a}", "/{a}b", "/b{a}",
            "/{a={b}}", "/a?b", "/a b", "/ä", "/{1a}", "/{a..b}", "/**/a", "/a:", "/a:b:c",
            "/a%20",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
