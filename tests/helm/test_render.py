"""Tests of the rendered chart: lint, goldens, and rejected combinations of values."""

import difflib
import json
import pathlib
import re
import tempfile
import tomllib
import unittest

import custom
import invariants
import kubernetes_validate
import support
import yaml
from support import CASES, KUBERNETES


class Lint(unittest.TestCase):
    def test_every_case_is_without_a_word(self):
        for case in CASES:
            for version in KUBERNETES:
                with self.subTest(case=case, version=version):
                    done = support.helm("lint", "--strict", "--kube-version", version,
                                        "--values", support.values_file(case), support.CHART)
                    self.assertIn("0 chart(s) failed", done.stdout)
                    self.assertNotIn("WARNING", done.stdout)


class Golden(unittest.TestCase):
    def test_every_case_renders_what_was_agreed(self):
        for case in CASES:
            with self.subTest(case=case):
                golden, found = support.GOLDEN / f"{case}.yaml", support.text(case)
                if support.UPDATE:
                    golden.write_text(found)
                wanted = golden.read_text() if golden.exists() else ""
                difference = "".join(difflib.unified_diff(
                    wanted.splitlines(True), found.splitlines(True), str(golden), "rendered"))
                self.assertEqual(difference, "", "UPDATE_GOLDEN=1 tests/helm/run writes it")

    def test_no_golden_is_without_its_case(self):
        self.assertEqual(sorted(path.stem for path in support.GOLDEN.glob("*.yaml")), CASES)

    def test_every_template_is_in_some_case(self):
        rendered = "".join(support.text(case) for case in CASES)
        for template in support.CHART.glob("templates/**/*.yaml"):
            with self.subTest(template=template.name):
                self.assertIn(f"# Source: keyward/{template.relative_to(support.CHART)}", rendered)

    def test_old_versions_of_kubernetes_get_the_same(self):
        for version in KUBERNETES[:-1]:
            for case in CASES:
                with self.subTest(case=case, version=version):
                    done = support.template("--values", support.values_file(case), kubernetes=version)
                    self.assertEqual(done.stdout, support.text(case))


class Kubernetes(unittest.TestCase):
    def test_every_manifest_is_valid_in_three_versions(self):
        checked = 0
        for case in CASES:
            for manifest in support.documents(case):
                name = support.name_of(manifest)
                if manifest["kind"] in custom.SCHEMAS:
                    with self.subTest(case=case, manifest=name):
                        self.assertEqual(custom.problems(manifest), [])
                    continue
                for version in KUBERNETES:
                    with self.subTest(case=case, manifest=name, version=version):
                        kubernetes_validate.validate(manifest, version, strict=True)
                        checked += 1
        self.assertGreater(checked, 200)

    def test_every_custom_resource_is_in_some_case(self):
        kinds = {one["kind"] for case in CASES for one in support.documents(case)}
        self.assertLessEqual(set(custom.SCHEMAS), kinds)


class Invariants(unittest.TestCase):
    def test_hold_in_every_case(self):
        for case in CASES:
            for invariant in invariants.ALL:
                with self.subTest(case=case, invariant=invariant.__name__):
                    found = list(invariant(support.documents(case), support.values(case)))
                    self.assertEqual(found, [])

    def test_a_changed_configuration_starts_new_pods(self):
        def checksum(over):
            done = support.template_values("required", over)
            (line,) = {line for line in done.stdout.splitlines() if "checksum/config" in line}
            return line

        same = checksum({})
        self.assertEqual(same, checksum({"podLabels": {"example.com/a": "b"}}))
        self.assertNotEqual(same, checksum({"config": {"log": {"filter": "debug"}}}))

    def test_egress_is_to_the_ports_of_the_urls(self):
        def ports(endpoint, session, service, egress={}, policy="kw-keyward"):
            done = support.template_values("required", {
                "telemetry": {"endpoint": endpoint},
                "auth": {"session": {"jwksUrl": session},
                         "service": {"issuer": "a" if service else "", "jwksUrl": service}},
                "tests": {"url": "https://a"}, "networkPolicy": {"egress": egress}})
            (policy,) = [one for one in yaml.safe_load_all(done.stdout)
                         if support.name_of(one) == f"NetworkPolicy/{policy}"]
            return [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]

        known = [53, 53, 5432]
        self.assertEqual(ports("", "https://a/b:7", ""), [*known, 443])
        self.assertEqual(ports("http://c:4318/x", "https://a", "http://b"), [*known, 4318, 443, 80])
        self.assertEqual(ports("https://[::1]", "https://[fd00::1]:8443/k", "https://a:8443"),
                         [*known, 443, 8443])
        # A service's port differs from that of its pods.
        pods = {"database": {"port": 6432}, "otlp": {"ports": [14317]}, "jwks": {"ports": [8443, 8080]},
                "test": {"ports": [10443]}}
        self.assertEqual(ports("http://c:4317", "https://a", "http://b", pods),
                         [53, 53, 6432, 14317, 8443, 8080])
        self.assertEqual(ports("", "https://a", "", {}, "kw-keyward-test"), [53, 53, 8080, 9090, 443])
        self.assertEqual(ports("", "https://a", "", pods, "kw-keyward-test"), [53, 53, 8080, 9090, 10443])

    def test_only_a_service_for_the_outside_has_a_policy_of_its_traffic(self):
        def policy(service):
            done = support.template_values("own-database", {"service": service})
            return [line for line in done.stdout.splitlines() if "externalTrafficPolicy" in line]

        local = ["  externalTrafficPolicy: Local"]
        self.assertEqual(policy({}), local)
        self.assertEqual(policy({"type": "NodePort", "loadBalancerSourceRanges": []}), local)
        self.assertEqual(policy({"type": "ClusterIP", "loadBalancerSourceRanges": []}), [])
        self.assertEqual(policy({"externalTrafficPolicy": ""}), [])

    def test_the_alert_on_connections_follows_their_bound(self):
        def bound(over):
            done = support.template_values("required", {
                "metrics": {"prometheusRule": {"enabled": True}}, **over})
            (rule,) = [rule for one in yaml.safe_load_all(done.stdout) if one["kind"] == "PrometheusRule"
                       for group in one["spec"]["groups"] for rule in group["rules"]
                       if rule.get("alert") == "KeywardConnectionsNearBound"]
            return rule["expr"]

        self.assertEqual(bound({}), 'keyward_connections{job="keyward"} > 900')
        self.assertEqual(bound({"config": {"server": {"max_connections": 25000}}}),
                         'keyward_connections{job="keyward"} > 22500')

    def test_a_changed_job_has_another_name(self):
        def job(over):
            done = support.template_values("own-database", over)
            return {line for line in done.stdout.splitlines() if "name: kw-keyward-migrate-" in line}

        names = [job({}), job({"image": {"tag": "2"}}), job({"extraEnv": [{"name": "A", "value": "b"}]}),
                 job({"migrations": {"backoffLimit": 9}}), job({"podLabels": {"a": "b"}}),
                 job({"tolerations": [{"operator": "Exists"}]})]
        self.assertEqual(len(set.union(*names)), len(names))


    def test_a_job_outlasts_the_start_of_its_database(self):
        def limit(mode, limit):
            done = support.template_values("required", {"migrations": {"mode": mode, "backoffLimit": limit}})
            (job,) = support.of_kind([one for one in yaml.safe_load_all(done.stdout) if one], "Job")
            return job["spec"]["backoffLimit"]

        self.assertEqual([limit("hook", 0), limit("hook", 3)], [0, 3])
        self.assertEqual([limit("job", 0), limit("job", 3), limit("job", 30)], [20, 20, 30])


class Names(unittest.TestCase):
    ODD = {
        "database": {"existingSecret": {"name": "1", "key": "2"}},
        "keyring": {"existingSecret": {"name": "true", "key": "1e3"}},
        "tls": {"existingSecret": {"name": "null", "certKey": "0x1", "keyKey": "no"},
                "clientCa": {"existingSecret": "3", "key": "4"}, "clientCertificates": "optional"},
        "server": {"tlsTerminatedByProxy": False},
        "auth": {"session": {"jwksUrl": "", "jwksConfigMap": {"name": "5", "key": "6"}}},
        "telemetry": {"endpoint": "http://7:8", "headers": {"existingSecret": "9", "key": "10"}},
        "image": {"repository": "11", "tag": "12"},
        "imagePullSecrets": [{"name": "13"}],
        "serviceAccount": {"name": "14"},
        "priorityClassName": "15", "runtimeClassName": "16", "schedulerName": "17",
        "podLabels": {"example.com/a": "18"}, "podAnnotations": {"example.com/a": "true"},
        "nodeSelector": {"example.com/a": "true"},
        "ingress": {"rest": {"enabled": True, "className": "19", "hosts": ["20"], "tlsSecret": "21"}},
        "gateway": {"parentRefs": [{"name": "22"}], "rest": {"enabled": True, "hostnames": ["23"]}},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"a": "24"}}},
        "networkPolicy": {"ingress": {"from": [{"podSelector": {"matchLabels": {"a": "27"}}}]}},
        "migrations": {"podLabels": {"b": "28"}, "podAnnotations": {"b": "true"}},
        "tests": {"podLabels": {"b": "29"}, "podAnnotations": {"b": "true"}},
    }

    def test_that_look_like_numbers_stay_texts(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(self.ODD, file)
            file.flush()
            done = support.helm("template", "25", support.CHART, "--namespace", "26", "--values",
                                support.values_file("required"), "--values", file.name)
        manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
        self.assertGreater(len(manifests), 10)
        for manifest in manifests:
            name = support.name_of(manifest)
            with self.subTest(manifest=name):
                self.assertEqual(manifest["metadata"]["namespace"], "26")
                if manifest["kind"] in custom.SCHEMAS:
                    self.assertEqual(custom.problems(manifest), [])
                else:
                    kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)

    def test_stay_short_enough_however_long_the_release_is(self):
        for name in ("a" * 48, "a" * 43 + "-" + "b" * 4):
            for case, over in (("required", {"migrations": {"mode": "hook"}}),
                               ("required", {"migrations": {"mode": "job"}}),
                               ("required", {"migrations": {"mode": "none"}}), ("sqlite", {})):
                with self.subTest(name=name, case=case, over=over):
                    done = support.template_values(case, {"fullnameOverride": name, **over})
                    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
                    self.assertGreater(len(manifests), 5)
                    self.assertEqual(list(invariants.names(manifests, {})), [])
                    for manifest in manifests:
                        self.assertNotIn("--", manifest["metadata"]["name"])

    def test_a_package_is_the_chart(self):
        with tempfile.TemporaryDirectory() as folder:
            support.helm("package", support.CHART, "--destination", folder)
            (package,) = pathlib.Path(folder).glob("*.tgz")
            for case in CASES:
                done = support.template("--values", support.values_file(case), chart=package)
                self.assertEqual(done.stdout, support.text(case))

    def test_versions_are_one(self):
        version = tomllib.loads((support.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        toolchain = tomllib.loads((support.ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
        chart = yaml.safe_load((support.CHART / "Chart.yaml").read_text())
        dockerfile = (support.ROOT / "deploy" / "Dockerfile").read_text()
        self.assertEqual(chart["appVersion"], version)
        self.assertIn(f"\nARG VERSION={version}\n", dockerfile)
        self.assertIn(f"/rust:{toolchain.rpartition('.')[0]}-", dockerfile)


class Rejections(unittest.TestCase):
    """Combinations of valid values that are rejected together."""

    TABLE = [
        ({"server": {"tlsTerminatedByProxy": False}}, "or server.tlsTerminatedByProxy=true says"),
        ({"tls": {"existingSecret": {"name": "a"}}}, "exclude each other"),
        ({"tls": {"clientCertificates": "optional"}}, "tls.clientCertificates needs"),
        ({"tls": {"services": {"a": "b"}}}, "tls.services needs"),
        ({"keyring": {"existingSecret": {"name": ""}}}, "keyring.existingSecret.name is required"),
        ({"database": {"existingSecret": {"name": ""}}}, "database.existingSecret.name is required"),
        ({"database": {"engine": "sqlite"}}, "database.existingSecret.name is for postgres"),
        ({"database": {"engine": "sqlite", "existingSecret": {"name": ""}},
          "autoscaling": {"enabled": True}}, "SQLite has one pod"),
        ({"auth": {"session": {"issuer": ""}}}, "auth.session.issuer and auth.session.audience"),
        ({"auth": {"session": {"jwksUrl": ""}}}, "auth.session needs jwksUrl or"),
        ({"auth": {"session": {"jwksConfigMap": {"name": "a"}}}}, "and not both"),
        ({"auth": {"service": {"issuer": "https://a"}}}, "auth.service needs jwksUrl"),
        ({"server": {"operationsPort": 8080}}, "must differ"),
        ({"service": {"grpcPort": 80}}, "must differ"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}, "must not be above"),
        ({"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}}, "needs a target"),
        ({"updateStrategy": {"maxSurge": 0}}, "must not both be 0"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "podDisruptionBudget.maxUnavailable must not be 0"),
        ({"podDisruptionBudget": {"maxUnavailable": "0%"}}, "podDisruptionBudget.maxUnavailable must not"),
        ({"replicaCount": 0}, "replicaCount must not be 0"),
        ({"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
         "needs resources.requests.cpu"),
        ({"ingress": {"rest": {"enabled": True, "hosts": ["a.b"]}}}, "would shut out the ingress"),
        ({"gateway": {"parentRefs": [{"name": "a"}], "grpc": {"enabled": True, "hostnames": ["a.b"]}}},
         "would shut out the gateway"),
        ({"service": {"type": "LoadBalancer"}}, "would shut out a service of type LoadBalancer"),
        ({"ingress": {"rest": {"enabled": True}}}, "ingress.rest.hosts is required"),
        ({"ingress": {"rest": {"enabled": True, "hosts": ["a.b"]},
                      "grpc": {"enabled": True, "hosts": ["a.b"]}}}, "one protocol"),
        ({"gateway": {"grpc": {"enabled": True, "hostnames": ["a.b"]}}}, "gateway.parentRefs and"),
        ({"gateway": {"parentRefs": [{"name": "a"}], "rest": {"enabled": True, "hostnames": ["a.b"]},
                      "grpc": {"enabled": True, "hostnames": ["a.b"]}}}, "one kind of route"),
    ]

    def test_are_said_in_words(self):
        for over, words in self.TABLE:
            with self.subTest(over=over):
                done = support.template_values("required", over, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("Keyward cannot be installed like this", done.stderr)
                self.assertIn(words, done.stderr)

    def test_a_chart_without_values_says_all_that_it_misses(self):
        done = support.template(check=False)
        self.assertEqual(done.stderr.count("\n  - "), 5, done.stderr)


class Notes(unittest.TestCase):
    def notes(self, case, *more):
        # Helm shows notes only for an installation.
        done = support.helm(
            "install", support.RELEASE, support.CHART, "--dry-run=client", "--namespace",
            support.NAMESPACE, "--values", support.values_file(case), *more, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.partition("NOTES:")[2]

    def test_say_how_to_reach_it_and_what_is_missing(self):
        notes = self.notes("required")
        for words in ("http://kw-keyward.credentials.svc:80", "kw-keyward.credentials.svc:9080",
                      "dns:///kw-keyward-headless.credentials.svc:8080", "helm test kw -n credentials",
                      "auth.service.issuer is empty", "No ServiceMonitor", "rollout restart deploy/"):
            self.assertIn(words, notes)
        notes = self.notes("everything")
        self.assertIn("https://keyward.credentials.svc:80", notes)
        self.assertIn("BackendTLSPolicy", notes)
        self.assertIn("backend-protocol: HTTPS for REST and GRPCS for gRPC", notes)
        self.assertIn("networkPolicy.ingress.from is empty", self.notes("required"))
        self.assertNotIn("auth.service.issuer is empty", notes)
        self.assertIn("rollout restart statefulset/", self.notes("sqlite"))

    def test_say_when_the_database_may_be_asked_for_too_many_connections(self):
        def said(case, *more):
            return re.findall(r"take up to (\d+) connections", self.notes(case, *more))

        scaled = ("--set", "autoscaling.enabled=true")
        self.assertEqual(said("required"), [])
        self.assertEqual(said("required", *scaled), [])
        self.assertEqual(said("required", *scaled, "--set", "autoscaling.maxReplicas=10"), ["122"])
        self.assertEqual(said("required", "--set", "config.database.max_connections=25"), ["105"])
        # Twelve pods, and another quarter during an update.
        self.assertEqual(said("everything"), ["316"])
        self.assertEqual(said("sqlite"), [])

    def test_say_where_callers_lose_their_addresses(self):
        words = "service.externalTrafficPolicy is not Local"
        self.assertNotIn(words, self.notes("required"))
        self.assertNotIn(words, self.notes("own-database"))
        self.assertIn(words, self.notes("own-database", "--set", "service.externalTrafficPolicy="))
