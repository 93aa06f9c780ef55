"""The table of values in the chart's README, generated from the values file and its comments."""

import json
import re

import yaml

BEGIN, END = "<!-- values -->\n", "<!-- /values -->\n"


def rows(text):
    """(path, default, description) of each value that has a description, or is a leaf without one."""
    lines = text.splitlines()

    def comment(line):
        """Returns the description directly above a line."""
        words = []
        while line > 0 and lines[line - 1].lstrip().startswith("#"):
            line -= 1
            words.insert(0, lines[line].lstrip().removeprefix("#").strip())
            if words[0].startswith("-- "):
                return " ".join(words).removeprefix("-- ")
        return ""

    found = []

    def walk(node, path):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else key.value
            words = comment(key.start_mark.line)
            if not words and isinstance(value, yaml.MappingNode) and value.value:
                walk(value, below)
            else:
                found.append((below, yaml.safe_load(yaml.serialize(value)), words))

    walk(yaml.compose(text), "")
    return found


def markdown(text):
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, default, words in rows(text):
        shown = json.dumps(default, ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{path}` | `{shown}` | {words.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def replaced(readme, values):
    """Returns the README with a current table."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    made = BEGIN + "\n" + markdown(values) + "\n" + END
    text, count = re.subn(pattern, lambda _: made, readme, flags=re.S)
    if count != 1:
        raise AssertionError("the README has no place for the table")
    return text
