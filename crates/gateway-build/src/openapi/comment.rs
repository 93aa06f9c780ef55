//! Comments of proto files, as text for the API reference.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

use super::node::Node;
use crate::error::{Error, declaration};

/// Prefix of a comment line with an example as JSON.
const EXAMPLE: &str = "Example:";

/// Parsed comment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Comment {
    /// Text without examples: one paragraph per line, with empty lines between.
    pub(crate) text: String,
    /// Examples in JSON.
    pub(crate) examples: Vec<Node>,
}

impl Comment {
    /// Returns the text, unless it is empty.
    pub(crate) fn description(&self) -> Option<String> {
        Some(self.text.clone()).filter(|text| !text.is_empty())
    }

    /// Returns the first sentence without its full stop, and the text after it.
    pub(crate) fn split(&self) -> (Option<String>, Option<String>) {
        let paragraph_end = self.text.find("\n\n").unwrap_or(self.text.len());
        let (first, _) = self.text.split_at(paragraph_end);
        let sentence_end = first.find(". ").unwrap_or(first.len());
        let (sentence, rest) = self.text.split_at(sentence_end);
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        (
            given(sentence.trim_end_matches('.')),
            given(rest.trim_start_matches('.').trim()),
        )
    }
}

/// Comments of all files.
#[derive(Debug, Default)]
pub(crate) struct Comments(BTreeMap<(String, Vec<i32>), String>);

impl Comments {
    /// Collects the comments before declarations, or after them on the same line.
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut comments = BTreeMap::new();
        for file in pool.files() {
            let info = &file.file_descriptor_proto().source_code_info;
            for location in info.iter().flat_map(|info| &info.location) {
                let leading = Some(location.leading_comments()).filter(|text| !text.is_empty());
                let text = leading.unwrap_or_else(|| location.trailing_comments());
                if !text.is_empty() {
                    let location = (file.name().to_owned(), location.path.clone());
                    comments.insert(location, text.to_owned());
                }
            }
        }
        Self(comments)
    }

    /// Returns the comment of the declaration at `path` of its file.
    pub(crate) fn of(
        &self,
        file: &FileDescriptor,
        path: &[i32],
        item: &str,
    ) -> Result<Comment, Error> {
        let location = (file.name().to_owned(), path.to_vec());
        match self.0.get(&location) {
            Some(text) => read(text).map_err(|reason| declaration(file, item, reason)),
            None => Ok(Comment::default()),
        }
    }
}

/// Joins the lines of each paragraph and extracts the examples. An example extends to the end of
/// its paragraph.
fn read(text: &str) -> Result<Comment, String> {
    let mut comment = Comment::default();
    let mut paragraphs: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n").flat_map(blocks) {
        if let Some(example) = paragraph.strip_prefix(EXAMPLE) {
            let example = example.trim().trim_matches('`');
            let node = Node::parse(example)
                .map_err(|error| format!("an example of its comment is not JSON: {error}"))?;
            comment.examples.push(node);
        } else if !paragraph.is_empty() {
            paragraphs.push(paragraph);
        }
    }
    comment.text = paragraphs.join("\n\n");
    Ok(comment)
}

/// Returns the parts of a paragraph: its text, its examples, and the items of its list.
fn blocks(paragraph: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in paragraph.lines() {
        let line = line.trim();
        let begins = line.starts_with(EXAMPLE) || line.starts_with("- ");
        match found.last_mut() {
            Some(last) if !begins && !line.is_empty() => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
            _ => found.push(line.to_owned()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn lines_become_paragraphs_and_examples_are_taken_out() {
        let comment = read(
            " Lists keys, newest\n first. Then more.\n\n Needs READ.\n Example: {\"a\":\n  1}\n",
        )
        .unwrap();
        assert_eq!(
            comment.text,
            "Lists keys, newest first. Then more.\n\nNeeds READ."
        );
        assert_eq!(comment.examples[0].compact(), r#"{"a":1}"#);
        let (summary, rest) = comment.split();
        assert_eq!(summary.as_deref(), Some("Lists keys, newest first"));
        assert_eq!(rest.as_deref(), Some("Then more.\n\nNeeds READ."));
    }

    #[test]
    fn one_sentence_is_a_summary_and_nothing_else() {
        let comment = read(" Version 1.2 of it.\n").unwrap();
        assert_eq!(
            comment.split(),
            (Some("Version 1.2 of it".to_owned()), None)
        );
    }

    #[test]
    fn an_example_must_be_json() {
        assert!(read(" Example: nonsense\n").is_err());
    }
}
