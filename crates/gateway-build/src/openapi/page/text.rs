//! Texts as HTML.

/// Escapes all markup in a text.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Renders a line; text between backticks is code.
pub(super) fn line(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let escaped = escape(part);
        if index % 2 == 1 {
            html.push_str(&format!("<code>{escaped}</code>"));
        } else {
            html.push_str(&escaped);
        }
    }
    html
}

/// Renders paragraphs and lists.
pub(super) fn blocks(text: &str) -> String {
    let mut html = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        if block.lines().all(|point| point.starts_with("- ")) {
            let points = block.lines().map(|point| point.trim_start_matches("- "));
            let points: String = points
                .map(|point| format!("<li>{}</li>\n", line(point)))
                .collect();
            html.push_str(&format!("<ul>\n{points}</ul>\n"));
        } else {
            html.push_str(&format!("<p>{}</p>\n", line(block)));
        }
    }
    html
}

/// Renders lines verbatim, such as a program.
pub(super) fn code(text: &str) -> String {
    format!(
        "<pre tabindex=\"0\"><code>{}</code></pre>\n",
        escape(text.trim_end())
    )
}

#[cfg(test)]
mod tests {
    use super::{blocks, line};

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            line("a <b> & `c < \"d\"`"),
            "a &lt;b&gt; &amp; <code>c &lt; &quot;d&quot;</code>"
        );
    }

    #[test]
    fn points_become_a_list() {
        assert_eq!(
            blocks("One.\n\n- `a`: b\n- c"),
            "<p>One.</p>\n<ul>\n<li><code>a</code>: b</li>\n<li>c</li>\n</ul>\n"
        );
    }
}
