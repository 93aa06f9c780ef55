"""Tests of the schema of the values: it is closed, rejects hostile values, and matches the server's settings,
the values file and the table of the README."""

import json
import pathlib
import re
import tomllib
import unittest

import support
import table
import yaml

SCHEMA = json.loads((support.CHART / "values.schema.json").read_text())
EXAMPLE = support.ROOT / "deploy" / "keyward.example.toml"
# Settings that the chart derives from other values, or that only `keyward dev` uses.
BY_CHART = {
    "server.listen", "server.tls_terminated_by_proxy", "operations.listen", "database.url",
    "database.url_file", "vault.keyring_file",
}
# Sections whose names the operator chooses.
MAPS = ("providers.", "server.tls.services.", "auth.service.subjects.")
BY_CHART_SECTIONS = ("server.tls.", "auth.session.", "auth.service.", "providers.")


def open_levels(node, path="#"):
    """Yields every object in a schema that accepts unlisted properties."""
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from open_levels(value, f"{path}/{index}")
    elif isinstance(node, dict):
        if node.get("type") == "object" or "properties" in node and "$ref" not in node:
            condition = re.search(r"/(if|then|not)(/|$)", path)
            further = node.get("additionalProperties")
            typed_map = isinstance(further, dict) and further and "propertyNames" in node
            if not condition and further is not False and not typed_map:
                yield path
        if node == {} or node is True:
            yield path
        if node.get("type") == "array" and not node.get("items"):
            yield path
        for key, value in node.items():
            if key not in ("enum", "const", "required", "pattern"):
                yield from open_levels(value, f"{path}/{key}")


def settings(text):
    """Yields every setting of an example configuration, including commented-out ones."""
    shown = re.sub(r"(?m)^# (?=(\[[a-z0-9_.]+\]$|\"?[A-Za-z_.:]+\"? = ))", "", text)
    section = None
    for line in shown.splitlines():
        if match := re.fullmatch(r"\[([a-z0-9_.]+)\]", line):
            section = match[1]
        elif match := re.match(r"([a-z_]+) = ", line):
            yield f"{section}.{match[1]}"


def configurable(schema):
    """Yields every setting that `config` accepts."""
    def below(path, node):
        for name, inner in node.get("properties", {}).items():
            if "properties" in inner:
                yield from below(f"{path}{name}.", inner)
            elif path:
                yield path + name

    yield from below("", schema["properties"]["config"])


class Closed(unittest.TestCase):
    def test_at_every_level(self):
        self.assertEqual(list(open_levels(SCHEMA)), [])

    def test_an_open_level_is_found(self):
        for path in (["properties", "image"], ["definitions", "peer"], ["definitions", "labels"],
                     ["properties", "config", "properties", "log"]):
            schema = json.loads(json.dumps(SCHEMA))
            node = schema
            for step in path:
                node = node[step]
            del node["additionalProperties"]
            self.assertEqual(list(open_levels(schema)), ["#/" + "/".join(path)])


class Hostile(unittest.TestCase):
    def test_values_are_rejected_by_the_schema(self):
        count = 0
        for path in sorted((support.HERE / "hostile").glob("*.yaml")):
            for case in yaml.safe_load_all(path.read_text()):
                with self.subTest(file=path.name, values=case["values"]):
                    done = support.template_values("required", case["values"], check=False)
                    self.assertNotEqual(done.returncode, 0, "it is taken")
                    self.assertIn("don't meet the specifications of the schema", done.stderr)
                    self.assertIn(case["rejected"], done.stderr)
                    self.assertEqual(done.stdout, "")
                    count += 1
        self.assertGreater(count, 70)

    def test_what_may_be_any_text_stays_in_its_place(self):
        odd = "quote\" back\\slash 'single' {{ .Release.Name }} $(HOME) <&> # é"
        done = support.template_values("required", {
            "auth": {"session": {"issuer": odd, "audience": odd}},
            "config": {"log": {"filter": odd}},
            "podAnnotations": {"example.com/odd": odd + "\nline: two\n---\n"},
        })
        manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
        configs = [one for one in manifests if one["kind"] == "ConfigMap"]
        for config in configs:
            found = tomllib.loads(config["data"]["keyward.toml"])
            self.assertEqual(found["auth"]["session"]["issuer"], odd)
            self.assertEqual(found["log"]["filter"], odd)
        (deployment,) = support.of_kind(manifests, "Deployment")
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual(annotations["example.com/odd"], odd + "\nline: two\n---\n")
        self.assertEqual(len(manifests), len(support.documents("required")))

    def test_numbers_keep_their_form(self):
        done = support.template_values("required", {"config": {"server": {"drain_timeout_ms": 10000000}}})
        self.assertIn("drain_timeout_ms = 10000000\n", done.stdout)


class Settings(unittest.TestCase):
    def test_every_setting_of_the_server_can_be_set(self):
        wanted = {name for name in settings(EXAMPLE.read_text())
                  if name not in BY_CHART and not name.startswith(BY_CHART_SECTIONS)}
        self.assertGreater(len(wanted), 15)
        self.assertEqual(wanted - set(configurable(SCHEMA)), set(), "values.schema.json lacks these")

    def test_nothing_can_be_set_that_the_server_does_not_know(self):
        known = set(settings(EXAMPLE.read_text()))
        self.assertEqual(set(configurable(SCHEMA)) - known, set())
        self.assertEqual(self._rendered() - known, set())

    def test_the_chart_makes_what_is_not_in_config(self):
        wanted = {name for name in settings(EXAMPLE.read_text())
                  if name in BY_CHART or name.startswith(BY_CHART_SECTIONS)}
        wanted = {name for name in wanted if not name.startswith(MAPS)}
        self.assertEqual(wanted - self._rendered(), set())

    def _rendered(self):
        """Returns every setting that any case sets."""
        rendered = set()
        for case in support.CASES:
            for config in support.of_kind(support.documents(case), "ConfigMap"):
                if "keyward.toml" in config["data"]:
                    rendered |= set(settings(config["data"]["keyward.toml"]))
        return {name for name in rendered if not name.startswith(MAPS)}

    def test_a_setting_that_is_commented_out_is_found(self):
        found = set(settings('[a]\n# Words.\n# b = 1\n# [a.c]\n# d = "x"\n[e]\nf = 2\n'))
        self.assertEqual(found, {"a.b", "a.c.d", "e.f"})


class Table(unittest.TestCase):
    README = support.CHART / "README.md"

    def test_the_readme_has_every_value_with_its_default(self):
        text = self.README.read_text()
        wanted = table.replaced(text, (support.CHART / "values.yaml").read_text())
        if support.UPDATE:
            pathlib.Path(self.README).write_text(wanted)
            text = wanted
        self.assertEqual(text, wanted, "UPDATE_GOLDEN=1 tests/helm/run writes it")

    def test_every_value_is_described(self):
        rows = table.rows((support.CHART / "values.yaml").read_text())
        self.assertEqual([path for path, _, words in rows if not words], [])

    def test_the_schema_and_the_values_file_know_the_same(self):
        documented = {path for path, _, _ in table.rows((support.CHART / "values.yaml").read_text())}
        known = set(self._leaves(SCHEMA, "", documented))
        self.assertEqual(known - documented, set(), "values.yaml lacks these")
        self.assertEqual(documented - known, set(), "values.schema.json lacks these")

    def _leaves(self, node, path, documented):
        while "$ref" in node:
            node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
        if path in documented or "properties" not in node:
            yield path
            return
        for name, value in node["properties"].items():
            below = f"{path}.{name}" if path else name
            optional = path.startswith("config.") and below not in documented
            if below != "global" and not optional:
                yield from self._leaves(value, below, documented)


class Copies(unittest.TestCase):
    """The chart contains copies of files, since a packaged chart cannot read files outside it."""

    FILES = {"prometheus/alerts.yaml": "alerts.yaml", "grafana/keyward.json": "keyward.json"}

    def test_are_the_originals(self):
        for original, copied in self.FILES.items():
            with self.subTest(file=copied):
                wanted = (support.ROOT / "deploy" / original).read_bytes()
                copied = support.CHART / "files" / copied
                if support.UPDATE:
                    copied.write_bytes(wanted)
                self.assertEqual(copied.read_bytes(), wanted, "UPDATE_GOLDEN=1 copies it")
                self.assertGreater(len(wanted), 1000)
