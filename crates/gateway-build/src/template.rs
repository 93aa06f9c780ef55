//! Grammar of path templates, from `google/api/http.proto`:
//!
//! ```text
//! Template = "/" Segments [ Verb ]
//! Segments = Segment { "/" Segment }
//! Segment  = "*" | "**" | LITERAL | Variable
//! Variable = "{" FieldPath [ "=" Segments ] "}"
//! FieldPath = IDENT { "." IDENT }
//! Verb     = ":" LITERAL
//! ```
//!
//! A LITERAL has the characters that RFC 3986 allows in a path segment, without `:`, which begins
//! the verb, and `*`. Percent-escapes are decoded here, as the router decodes those of a request
//! before it compares.

/// Path template. Its segments are flat: variables only give the range that they cover.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) verb: Option<String>,
}

/// Matches one segment of a path, or the rest of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// Literal text.
    Literal(String),
    /// `*`, one segment.
    Wildcard,
    /// `**`, all remaining segments.
    CatchAll,
}

/// Field and the segments with its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Names of the field path.
    pub(crate) path: Vec<String>,
    /// First segment.
    pub(crate) first: usize,
    /// Number of segments; `None` for a variable that ends in `**`.
    pub(crate) count: Option<usize>,
}

impl Template {
    /// Parses a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("a path must begin with /")?;
        let (rest, verb) = split_verb(rest);
        let mut template = Self {
            segments: Vec::new(),
            variables: Vec::new(),
            verb: verb.map(literal).transpose()?,
        };
        template.read(rest, true)?;
        Ok(template)
    }

    /// Parses segments; `variables` allows variables in them.
    fn read(&mut self, text: &str, variables: bool) -> Result<(), String> {
        let mut rest = text;
        loop {
            let after = match rest.strip_prefix('{') {
                Some(_) if !variables => return Err("a variable inside a variable".to_owned()),
                Some(inner) => {
                    let (inside, after) = braced(inner)?;
                    self.read_variable(inside)?;
                    after
                }
                None => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    let (text, after) = rest.split_at(end);
                    let segment = match text {
                        "*" => Segment::Wildcard,
                        "**" => Segment::CatchAll,
                        other => Segment::Literal(literal(other)?),
                    };
                    self.push(segment)?;
                    after
                }
            };
            if after.is_empty() {
                return Ok(());
            }
            rest = after.strip_prefix('/').ok_or("a } must end its segment")?;
        }
    }

    fn push(&mut self, segment: Segment) -> Result<(), String> {
        if self.segments.last() == Some(&Segment::CatchAll) {
            return Err("** must be the last segment".to_owned());
        }
        self.segments.push(segment);
        Ok(())
    }

    fn read_variable(&mut self, text: &str) -> Result<(), String> {
        let (path, pattern) = text.split_once('=').unwrap_or((text, "*"));
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        if !names.iter().all(|name| is_ident(name)) {
            return Err(format!("{{{text}}} names no field"));
        }
        let first = self.segments.len();
        self.read(pattern, false)?;
        let open = self.segments.last() == Some(&Segment::CatchAll);
        self.variables.push(Variable {
            path: names,
            first,
            count: (!open).then_some(self.segments.len() - first),
        });
        Ok(())
    }
}

/// Splits at the `}` that ends a variable.
fn braced(inner: &str) -> Result<(&str, &str), String> {
    let end = inner.find(['{', '}']).ok_or("a { without its }")?;
    let (inside, after) = inner.split_at(end);
    match after.strip_prefix('}') {
        Some(after) => Ok((inside, after)),
        None => Err("a variable inside a variable".to_owned()),
    }
}

/// Splits off the verb: the text after a colon that follows the last slash and brace.
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

fn is_ident(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// Decodes a literal that is not empty.
fn literal(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the path has an empty segment".to_owned());
    }
    let allowed = |other: char| other.is_ascii_alphanumeric() || "-._~!$&'()+,;=@%".contains(other);
    match text.chars().find(|other| !allowed(*other)) {
        None => decode(text).ok_or_else(|| format!("{text} is not percent-encoded UTF-8")),
        Some('*') => Err("a * must be a segment of its own".to_owned()),
        Some(':') => Err("a : begins the verb, which ends the path".to_owned()),
        Some(other) => Err(format!("the path has an unexpected {other:?}")),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => u8::try_from(hex(bytes.next())? << 4 | hex(bytes.next())?).ok()?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::{Segment, Template};

    /// Returns the segments and the verb, then the variables with their ranges.
    fn shown(text: &str) -> String {
        let template = Template::parse(text).unwrap();
        let segments: Vec<&str> = template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => text.as_str(),
                Segment::Wildcard => "*",
                Segment::CatchAll => "**",
            })
            .collect();
        let mut shown = segments.join(" ");
        if let Some(verb) = template.verb {
            shown.push_str(&format!(" :{verb}"));
        }
        for variable in template.variables {
            let end = variable
                .count
                .map_or("..".to_owned(), |n| (variable.first + n).to_string());
            shown.push_str(&format!(
                " | {} {} {end}",
                variable.path.join("."),
                variable.first
            ));
        }
        shown
    }

    #[test]
    fn the_whole_grammar_is_read() {
        for (text, expected) in [
            ("/a", "a"),
            ("/*", "*"),
            ("/**", "**"),
            ("/a/*/b/**", "a * b **"),
            ("/a:rotate", "a :rotate"),
            ("/**:v", "** :v"),
            ("/{a}", "* | a 0 1"),
            ("/{a=*}", "* | a 0 1"),
            ("/{a=**}", "** | a 0 .."),
            ("/{a=b}", "b | a 0 1"),
            (
                "/repo/{repo_id}/ai/{_k1=x/*}:x",
                "repo * ai x * :x | repo_id 1 2 | _k1 3 5",
            ),
            (
                "/v1/{name=projects/*/keys/**}:rotate",
                "v1 projects * keys ** :rotate | name 1 ..",
            ),
            ("/v1/{a.b.c=x}/{a.d}", "v1 x * | a.b.c 1 2 | a.d 2 3"),
            ("/a%20b/%7e/{c=x=y}", "a b ~ x=y | c 2 3"),
            ("/a.b/-._~!$&'()+,;=@", "a.b -._~!$&'()+,;=@"),
            ("/a:%3A", "a ::"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_templates_are_rejected_with_the_reason() {
        for (text, reason) in [
            ("", "must begin with /"),
            ("a", "must begin with /"),
            ("/", "empty segment"),
            ("/a/", "empty segment"),
            ("//a", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a:", "empty segment"),
            ("/:a", "empty segment"),
            ("/{a=}", "empty segment"),
            ("/{a=b/}", "empty segment"),
            ("/{", "a { without its }"),
            ("/{a", "a { without its }"),
            ("/{a}b", "a } must end its segment"),
            ("/{a}{b}", "a } must end its segment"),
            ("/a}", "unexpected '}'"),
            ("/b{a}", "unexpected '{'"),
            ("/a?b", "unexpected '?'"),
            ("/a b", "unexpected ' '"),
            ("/ä", "unexpected 'ä'"),
            ("/{a={b}}", "a variable inside a variable"),
            ("/{a=x/{b}}", "a variable inside a variable"),
            ("/{}", "names no field"),
            ("/{1a}", "names no field"),
            ("/{a..b}", "names no field"),
            ("/{a-b}", "names no field"),
            ("/**/a", "** must be the last segment"),
            ("/**/**", "** must be the last segment"),
            ("/{a=**}/b", "** must be the last segment"),
            ("/{a=**/b}", "** must be the last segment"),
            ("/a*", "a * must be a segment of its own"),
            ("/***", "a * must be a segment of its own"),
            ("/a:*", "a * must be a segment of its own"),
            ("/a:b:c", "a : begins the verb"),
            ("/a:b/c", "a : begins the verb"),
            ("/{a=b:c}", "a : begins the verb"),
            ("/a%2", "not percent-encoded"),
            ("/a%zz", "not percent-encoded"),
            ("/a%ff", "not percent-encoded"),
            ("/a%+1", "not percent-encoded"),
        ] {
            let rejected = Template::parse(text).unwrap_err();
            assert!(rejected.contains(reason), "{text}: {rejected}");
        }
    }
}
