"""Tests that the checks detect deliberate faults, and that compose.yaml has none."""

import configparser
import copy
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import check
import compose
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
SERIES = check.read_series((pathlib.Path(__file__).parent / "series.txt").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
DASHBOARD = json.loads((ROOT / "deploy/grafana/keyward.json").read_text())
COMPOSE = (ROOT / "deploy/compose.yaml").read_text()


class Expressions(unittest.TestCase):
    def found(self, expression, series=None):
        return list(check.problems(expression, series or SERIES))

    def test_good_ones_pass(self):
        for expression in ("sum by (kind) (rate(keyward_verdicts_total[5m]))", "vector(0)",
                           'histogram_quantile(0.9, sum by (le) (rate(http_server_request_duration_seconds_bucket{le!="1"}[1m])))',
                           'up{job="keyward"} == 0'):
            self.assertEqual(self.found(expression), [], expression)

    def test_bad_ones_are_found(self):
        for expression, problem in [
            ("sum(rate(keyward_verdicts_total[5m])", "does not parse"),
            ("keyward_verdict_total", "keyward_verdict_total is not there"),
            ("rate(keyward_ready_bucket[5m]) + 1 / (1 - offset_of_something)", "is not there"),
            ('keyward_verdicts_total{outcome="x"}', "has no label outcome"),
            ("sum by (tenant) (keyward_ready)", "groups by tenant"),
            ("1 + 1", "asks for nothing"),
        ]:
            self.assertTrue(any(problem in one for one in self.found(expression)), expression)

    def test_what_metrics_says_is_read(self):
        series = check.read_series(
            '# HELP a words\n# TYPE a counter\na_total{outcome="success",x="a\\"b"} 1\n'
            'a_total{outcome="failure"} 0\nb 2\nd_bucket{le="+Inf"} 1\n')
        self.assertEqual(series["a_total"]["outcome"], {"success", "failure"})
        self.assertEqual(self.found('a_total{outcome="failure"}', series), [])
        self.assertEqual(self.found('a_total{outcome="failed"}', series),
                         ["a_total has no outcome of failed"])
        self.assertEqual(self.found("b + on () d_bucket", series), [])


    def test_bare_names_get_the_agreed_labels(self):
        agreed = check.read_series("a_total{kind}\nb_seconds{m}\nc\n")
        series, missing = check.completed("a_total\nb_seconds_bucket\nb_seconds_count\nc\nd\n", agreed)
        self.assertEqual(missing, [])
        self.assertEqual(self.found('a_total{kind="x"} + d', series), [])
        self.assertEqual(self.found('sum by (le, m) (b_seconds_bucket{m="x"})', series), [])
        self.assertNotEqual(self.found('a_total{other="x"}', series), [])
        _, missing = check.completed("a_total\nc\n", agreed)
        self.assertEqual(missing, ["series.txt: b_seconds is not there"])


    def test_labels_are_compared_with_those_of_a_program(self):
        agreed = check.read_series("a_total{kind}\nb_seconds{m}\n")
        text = 'a_total{kind="x"} 1\nb_seconds_bucket{m="y",le="1"} 1\n'
        series, missing = check.completed(text, agreed)
        self.assertEqual(missing, [])
        self.assertEqual(self.found('a_total{kind=~"x"}', series), [])
        self.assertEqual(self.found('a_total{kind=~"x|z"}', series), ["a_total has no kind of z"])
        for old, new in (("kind", "sort"), ("m=", "n=")):
            self.assertNotEqual(check.completed(text.replace(old, new), agreed)[1], [])


class Files(unittest.TestCase):
    def problems(self, rules=RULES, dashboard=DASHBOARD):
        return check.check(SERIES, rules, dashboard)[0]

    def test_are_without_fault(self):
        self.assertEqual(self.problems(), [])

    def test_a_removed_series_is_missed(self):
        for name in SERIES:
            rest = {key: value for key, value in SERIES.items() if key != name}
            found, _ = check.check(rest, RULES, DASHBOARD)
            self.assertTrue(found, f"nothing asks for {name}")

    def test_broken_ones_are_found(self):
        def broken(change):
            rules, dashboard = copy.deepcopy(RULES), copy.deepcopy(DASHBOARD)
            change(rules, dashboard)
            return self.problems(rules, dashboard)

        def rule(rules):
            return next(one for group in rules["groups"] for one in group["rules"]
                        if one.get("alert") == "KeywardRetries")

        for change in [
            lambda r, d: rule(r).update(expr="rate(keyward_store_retrys_total[5m]) > 1"),
            lambda r, d: rule(r)["annotations"].update(summary="{{ $labels.tenant }}"),
            lambda r, d: d["panels"][1]["targets"][0].update(expr="sum(keyward_redy)"),
            lambda r, d: d["panels"][1]["targets"][0].update(expr="keyward_ready[$other]"),
            lambda r, d: d["panels"][2].update(id=d["panels"][1]["id"]),
            lambda r, d: d["panels"][2].update(gridPos=d["panels"][1]["gridPos"]),
            lambda r, d: d["panels"][2].update(datasource={"uid": "mine"}),
            lambda r, d: d["templating"]["list"][1]["query"].update(
                query="label_values(keyward_gone, instance)"),
        ]:
            self.assertTrue(broken(change))

    def test_every_alert_is_tested(self):
        tested = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("*.test.yaml"))
        for group in RULES["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    self.assertIn(f'alertname="{rule["alert"]}"', tested)


class Beside(unittest.TestCase):
    """Files that compose.yaml mounts: each refers only to existing objects."""

    def test_the_collector_has_what_its_pipelines_name(self):
        config = yaml.safe_load((ROOT / "deploy/otel-collector.yaml").read_text())
        for pipeline in config["service"]["pipelines"].values():
            for kind, names in pipeline.items():
                self.assertLessEqual(set(names), set(config[kind]))
        # Endpoints that Keyward exports to, and that Prometheus scrapes.
        port = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rpartition(":")[2]
        self.assertIn(f"OTEL_EXPORTER_OTLP_ENDPOINT: http://otel-collector:{port}\n", COMPOSE)
        (reader,) = config["service"]["telemetry"]["metrics"]["readers"]
        port = reader["pull"]["exporter"]["prometheus"]["port"]
        self.assertIn(f"otel-collector:{port}", (ROOT / "deploy/prometheus/prometheus.yml").read_text())

    def test_prometheus_asks_the_operations_port_as_the_right_job(self):
        config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        (job,) = [one for one in config["scrape_configs"] if one["job_name"] == "keyward"]
        (target,) = job["static_configs"][0]["targets"]
        service, _, port = target.partition(":")
        self.assertIn(service, yaml.safe_load(COMPOSE)["services"])
        self.assertIn(f"KEYWARD_OPERATIONS__LISTEN: 0.0.0.0:{port}\n", COMPOSE)
        self.assertIn(f'"http://127.0.0.1:{port}"', COMPOSE)

    def test_grafana_finds_prometheus_and_the_dashboard(self):
        folder = ROOT / "deploy/grafana/provisioning"
        (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        (provider,) = yaml.safe_load((folder / "dashboards/keyward.yaml").read_text())["providers"]
        mounted = f"./grafana/keyward.json:{provider['options']['path']}/keyward.json:ro"
        self.assertIn(mounted, yaml.safe_load(COMPOSE)["services"]["grafana"]["volumes"])


class Service(unittest.TestCase):
    """The systemd unit."""

    UNIT = configparser.ConfigParser(interpolation=None)
    UNIT.read(ROOT / "deploy/keyward.service")

    def test_reloads_and_does_not_repeat_a_rejected_configuration(self):
        service = self.UNIT["Service"]
        self.assertEqual(service["ExecReload"], "/bin/kill -HUP $MAINPID")
        self.assertEqual(service["Restart"], "on-failure")
        self.assertEqual(service["RestartPreventExitStatus"], "78")

    def test_is_started_again_for_as_long_as_its_database_is_away(self):
        self.assertEqual(self.UNIT["Service"]["RestartSec"], "5")
        self.assertEqual(self.UNIT["Unit"]["StartLimitIntervalSec"], "0")


class Compose(unittest.TestCase):
    def test_is_without_fault(self):
        self.assertEqual(list(compose.problems(COMPOSE)), [])

    def test_broken_ones_are_found(self):
        for old, new in [
            ("  postgres:\n    image", "  postgres:\n    imagee"),
            ("condition: service_healthy", "condition: service_wealthy"),
            ("      postgres: {", "      postgre: {"),
            ("secrets: [database-url, keyring]", "secrets: [database-url, keyrings]"),
            ("./otel-collector.yaml:", "./otel.yaml:"),
            ("127.0.0.1:8080:8080", "8080:8080"),
            ("postgres:17", "postgres"),
            ("pull_policy: never", "build: { context: .. }"),
            ("pull_policy: never", "pull_policy: missing"),
            ("KEYWARD_DATABASE__URL_FILE: /run/secrets/database-url",
             "KEYWARD_DATABASE__URL: postgres://keyward:hunter2@postgres/keyward"),
            ("POSTGRES_PASSWORD_FILE: /run/secrets/database-password", "POSTGRES_PASSWORD: hunter2"),
            ("read_only: true", "read_only: false"),
            ("cap_drop: [ALL]", "cap_drop: [NET_RAW]"),
            ("service_completed_successfully", "service_started"),
            ("./secrets/keyring.json", "./secrets/ring.json"),
            ("test: [CMD, /keyward,", "test: [CMD-SHELL, curl,"),
            ("/etc/prometheus:ro", "/etc/prometheus"),
        ]:
            with self.subTest(broken=new):
                self.assertIn(old, COMPOSE)
                self.assertNotEqual(list(compose.problems(COMPOSE.replace(old, new))), [])

    def test_it_sets_what_the_server_knows(self):
        example = (ROOT / "deploy/keyward.example.toml").read_text()
        found = set(compose.settings(COMPOSE))
        self.assertGreater(len(found), 7)
        for name in found:
            section, _, field = name.rpartition(".")
            self.assertRegex(example, rf"(?m)^(# )?\[{section}\]")
            self.assertRegex(example, rf"(?m)^(# )?({field} = |\[{re.escape(name)}\]$)")

    def test_what_the_settings_file_may_say_reaches_the_server(self):
        script = (ROOT / "deploy/compose-secrets").read_text()
        names = re.findall(r"(?m)^#?(KEYWARD_[A-Z_]+)=", script)
        self.assertGreater(len(names), 7)
        environment = yaml.safe_load(COMPOSE)["x-keyward"]["environment"]
        for name in names:
            self.assertTrue(f"${{{name}:" in COMPOSE or environment.get(name, "") is None, name)

    def test_secrets_are_made_once_and_for_their_maker_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            script = folder / "compose-secrets"
            script.write_bytes((ROOT / "deploy/compose-secrets").read_bytes())
            keyward = folder / "keyward"
            keyward.write_text("#!/bin/sh\n[ \"$1 $2\" = 'keyring create' ] && echo ring >\"$3\"\n")
            keyward.chmod(0o755)

            def run():
                subprocess.run(["bash", script], check=True, capture_output=True,
                               env={"PATH": "/usr/bin:/bin", "KEYWARD_BIN": str(keyward)})
                return {path.name: path.read_bytes() for path in (folder / "secrets").iterdir()}

            first = run()
            self.assertEqual(run(), first)
            self.assertEqual(set(first), {"database-password", "database-url", "grafana-password",
                                          "keyring.json"})
            self.assertRegex(first["database-password"], rb"\A[0-9a-f]{48}\Z")
            self.assertIn(first["database-password"], first["database-url"])
            for path in (folder / "secrets").iterdir():
                self.assertEqual(path.stat().st_mode & 0o77, 0)
