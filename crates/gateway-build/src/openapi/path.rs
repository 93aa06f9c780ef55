//! Converts path templates of `google.api.http` to those of OpenAPI.

/// Path in OpenAPI form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) text: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// Parameter for a part of the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// Field of the parameter, by original names; `None` for a wildcard outside of variables.
    pub(crate) field: Option<String>,
    /// Pattern of the variable, if the field is more than this one segment.
    pub(crate) pattern: Option<String>,
    /// True if it can be any number of segments, including zero.
    pub(crate) is_rest: bool,
}

impl Path {
    /// Translates a valid template. A variable with a pattern is expanded, since a parameter of
    /// OpenAPI is one segment; a parameter for several segments has a note in its description.
    /// `shown` returns the name of a field's parameter.
    pub(crate) fn translate(template: &str, shown: impl Fn(&str) -> String) -> Self {
        let mut path = Self {
            text: String::new(),
            parameters: Vec::new(),
        };
        let mut rest = template;
        while let Some((before, inner)) = rest.split_once('{') {
            path.plain(before, None, &shown);
            let (variable, after) = inner.split_once('}').unwrap_or((inner, ""));
            let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
            path.plain(pattern, Some((field, pattern)), &shown);
            rest = after;
        }
        path.plain(rest, None, &shown);
        path
    }

    /// Renames the parameters. In OpenAPI, paths that differ only in the values their parameters
    /// match need different names.
    pub(crate) fn renamed(&mut self, number: usize) {
        for parameter in &mut self.parameters {
            let name = format!("{}_{number}", parameter.name);
            let before = format!("{{{}}}", parameter.name);
            self.text = self.text.replace(&before, &format!("{{{name}}}"));
            parameter.name = name;
        }
    }

    /// Takes over the parameter names of a known path if the two differ only in those: OpenAPI
    /// treats them as one path, regardless of the names of its parameters.
    pub(crate) fn named_as(&mut self, known: &str) -> bool {
        let (literals, names) = parts(known);
        if literals != parts(&self.text).0 {
            return false;
        }
        for (parameter, name) in self.parameters.iter_mut().zip(names) {
            parameter.name = name.to_owned();
        }
        known.clone_into(&mut self.text);
        true
    }

    /// Adds literals and wildcards, which may belong to a variable.
    fn plain(
        &mut self,
        text: &str,
        variable: Option<(&str, &str)>,
        shown: &impl Fn(&str) -> String,
    ) {
        let wildcards = text.split('/').filter(|part| part.starts_with('*')).count();
        for (index, part) in text.split('/').enumerate() {
            if index > 0 {
                self.text.push('/');
            }
            let (stars, verb) = part.split_at(part.len() - part.trim_start_matches('*').len());
            if stars.is_empty() {
                self.text.push_str(part);
                continue;
            }
            let field = variable.map(|(field, _)| shown(field));
            let name = self.name(field.as_deref(), wildcards > 1);
            self.text.push_str(&format!("{{{name}}}{verb}"));
            let whole = |pattern: &&str| *pattern != "*" && *pattern != "**";
            self.parameters.push(Parameter {
                name,
                field: variable.map(|(field, _)| field.to_owned()),
                pattern: variable
                    .map(|(_, all)| all)
                    .filter(whole)
                    .map(str::to_owned),
                is_rest: stars == "**",
            });
        }
    }

    /// Returns an unused name for a parameter: the field's, or with a number appended.
    fn name(&self, field: Option<&str>, numbered: bool) -> String {
        let base = field.unwrap_or("segment");
        if !numbered && field.is_some() {
            return base.to_owned();
        }
        let is_free = |name: &String| self.parameters.iter().all(|known| known.name != *name);
        let mut number = 1;
        loop {
            let name = format!("{base}_{number}");
            if is_free(&name) {
                return name;
            }
            number += 1;
        }
    }
}

/// Returns the text around a path's parameters, and their names.
fn parts(text: &str) -> (Vec<&str>, Vec<&str>) {
    text.split(['{', '}'])
        .enumerate()
        .fold((Vec::new(), Vec::new()), |mut found, (index, part)| {
            if index % 2 == 0 {
                found.0.push(part);
            } else {
                found.1.push(part);
            }
            found
        })
}

#[cfg(test)]
mod tests {
    use super::Path;

    fn text(template: &str) -> String {
        Path::translate(template, str::to_owned).text
    }

    #[test]
    fn variables_become_parameters() {
        assert_eq!(text("/keys/{hash}"), "/keys/{hash}");
        assert_eq!(text("/keys/{hash}:rotate"), "/keys/{hash}:rotate");
        assert_eq!(text("/v1/{name=shelves/*}"), "/v1/shelves/{name}");
        assert_eq!(
            text("/v1/{book.name=shelves/*/books/*}:lend"),
            "/v1/shelves/{book.name_1}/books/{book.name_2}:lend"
        );
        assert_eq!(text("/files/{path=**}"), "/files/{path}");
        assert_eq!(text("/a/*/b/**"), "/a/{segment_1}/b/{segment_2}");
    }

    #[test]
    fn parameters_can_have_other_names() {
        let mut path = Path::translate("/v1/{a}/x/{b}:c", str::to_owned);
        path.renamed(2);
        assert_eq!(path.text, "/v1/{a_2}/x/{b_2}:c");
        assert_eq!(path.parameters[1].name, "b_2");
    }

    #[test]
    fn one_path_has_one_set_of_names() {
        let mut path = Path::translate("/v1/{book.name=shelves/*/books/*}", str::to_owned);
        assert!(!path.named_as("/v1/shelves/{a}/books/{b}:lend"));
        assert!(!path.named_as("/v1/shelves/{a}/books"));
        assert!(path.named_as("/v1/shelves/{a}/books/{b}"));
        assert_eq!(path.text, "/v1/shelves/{a}/books/{b}");
        assert_eq!(path.parameters[1].name, "b");
        assert_eq!(path.parameters[1].field.as_deref(), Some("book.name"));
    }

    #[test]
    fn parameters_know_their_field_and_pattern() {
        let path = Path::translate("/v1/{name=shelves/*}/{rest=**}", str::to_owned);
        let [name, rest] = path.parameters.as_slice() else {
            panic!("{path:?}");
        };
        assert_eq!(name.field.as_deref(), Some("name"));
        assert_eq!(name.pattern.as_deref(), Some("shelves/*"));
        assert!(!name.is_rest && rest.is_rest && rest.pattern.is_none());
    }
}
