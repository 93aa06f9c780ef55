"""Tests that the checks can fail: each invariant detects a deliberate fault, and so do the schemas."""

import unittest

import custom
import invariants
import kubernetes_validate
import support
import table


def one(manifests, kind, index=0):
    return support.of_kind(manifests, kind)[index]


def named(manifests, kind, name):
    (found,) = [it for it in support.of_kind(manifests, kind) if it["metadata"]["name"] == name]
    return found


def pod(manifests, kind="Deployment"):
    return one(manifests, kind)["spec"]["template"]["spec"]


def container(manifests, kind="Deployment"):
    return pod(manifests, kind)["containers"][0]


def delete(node, *path):
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]


def change(node, *path_and_value):
    *path, last, value = path_and_value
    for step in path:
        node = node[step]
    node[last] = value


def add(manifests, manifest):
    manifests.append({"metadata": {"name": "x", "namespace": "y"}, **manifest})


# Invariant that detects the fault, the fault, and its case: "everything" by default.
BROKEN = [
    ("restricted", lambda m: change(pod(m), "hostNetwork", True)),
    ("restricted", lambda m: change(pod(m), "securityContext", "runAsNonRoot", False)),
    ("restricted", lambda m: change(pod(m), "securityContext", "runAsUser", 0)),
    ("restricted", lambda m: delete(pod(m), "securityContext", "seccompProfile")),
    ("restricted", lambda m: delete(container(m), "securityContext")),
    ("restricted", lambda m: change(container(m), "securityContext", "privileged", True)),
    ("restricted", lambda m: delete(container(m, "Job"), "securityContext", "capabilities")),
    ("restricted", lambda m: change(container(m), "securityContext", "readOnlyRootFilesystem", False)),
    ("restricted", lambda m: pod(m)["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    ("restricted", lambda m: change(one(m, "Pod")["spec"]["containers"][0], "securityContext", {})),
    ("no_token", lambda m: delete(pod(m), "automountServiceAccountToken")),
    ("no_token", lambda m: change(one(m, "ServiceAccount"), "automountServiceAccountToken", True)),
    ("no_token", lambda m: delete(pod(m, "Job"), "enableServiceLinks")),
    ("resources", lambda m: delete(container(m), "resources", "requests", "memory")),
    ("resources", lambda m: delete(container(m, "Job"), "resources", "limits")),
    ("no_secrets", lambda m: add(m, {"kind": "Secret"})),
    ("no_secrets", lambda m: change(one(m, "ConfigMap"), "data", "a", "postgres://a:hunter2@b/c")),
    ("no_secrets", lambda m: change(one(m, "ConfigMap"), "data", "a", "-----BEGIN PRIVATE KEY-----")),
    ("no_secrets", lambda m: container(m)["env"].append({"name": "A_TOKEN", "value": "x"})),
    ("probes", lambda m: delete(container(m), "startupProbe")),
    ("probes", lambda m: change(container(m), "readinessProbe", "grpc", "port", 8080)),
    ("probes", lambda m: change(container(m), "livenessProbe", "httpGet", "path", "/readyz")),
    ("selectors", lambda m: change(one(m, "Service"), "spec", "selector", {"a": "b"})),
    ("selectors", lambda m: delete(one(m, "Service"), "spec", "selector",
                                   "app.kubernetes.io/component")),
    ("selectors", lambda m: change(one(m, "HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name",
                                   "other")),
    ("selectors", lambda m: change(one(m, "ServiceMonitor"), "spec", "selector", "matchLabels", {})),
    ("selectors", lambda m: change(pod(m), "topologySpreadConstraints", 0, "labelSelector",
                                   "matchLabels", {"a": "b"})),
    ("ports", lambda m: change(one(m, "Service"), "spec", "ports", 0, "targetPort", "nothing")),
    ("ports", lambda m: change(one(m, "GRPCRoute"), "spec", "rules", 0, "backendRefs", 0, "port", 80)),
    ("ports", lambda m: change(one(m, "Ingress"), "spec", "rules", 0, "http", "paths", 0, "backend",
                               "service", "port", "name", "nothing")),
    ("references", lambda m: change(pod(m), "volumes", 1, "secret", "secretName", "nowhere")),
    ("references", lambda m: delete(named(m, "ConfigMap", "keyward-migrate"), "metadata",
                                    "annotations")),
    ("references", lambda m: change(pod(m, "Job"), "serviceAccountName", "keyward")),
    ("references", lambda m: change(pod(m), "serviceAccountName", "keyward-migrate")),
    ("references", lambda m: change(pod(m), "imagePullSecrets", [{"name": "nowhere"}])),
    ("mounts", lambda m: container(m)["volumeMounts"].append({"name": "a", "mountPath": "/a"})),
    ("mounts", lambda m: delete(container(m)["volumeMounts"][1], "readOnly")),
    ("mounts", lambda m: container(m)["volumeMounts"].pop()),
    ("mounts", lambda m: change(pod(m), "volumes", 1, "secret", "defaultMode", 0o444)),
    ("policies", lambda m: change(one(m, "NetworkPolicy"), "spec", "policyTypes", ["Ingress"])),
    ("policies", lambda m: one(m, "NetworkPolicy")["spec"]["ingress"].append({})),
    ("policies", lambda m: one(m, "NetworkPolicy")["spec"]["egress"].append({"to": []})),
    ("policies", lambda m: m.remove(named(m, "NetworkPolicy", "keyward-migrate"))),
    ("policies", lambda m: m.remove(named(m, "NetworkPolicy", "keyward-test"))),
    ("migration", lambda m: delete(pod(m, "Job"), "tolerations")),
    ("migration", lambda m: delete(pod(m, "Job"), "imagePullSecrets")),
    ("migration", lambda m: delete(pod(m, "Job"), "nodeSelector")),
    ("migration", lambda m: delete(container(m, "Job"), "env")),
    ("migration", lambda m: change(container(m, "Job"), "image", "keyward:old")),
    ("migration", lambda m: pod(m, "Job")["volumes"].append({"name": "keyring", "emptyDir": {}})),
    ("writer", lambda m: change(one(m, "StatefulSet"), "spec", "replicas", 2), "sqlite"),
    ("writer", lambda m: delete(one(m, "StatefulSet"), "spec", "podManagementPolicy"), "sqlite"),
    ("endings", lambda m: change(pod(m), "terminationGracePeriodSeconds", 30)),
    ("configuration", lambda m: container(m)["volumeMounts"].pop(2)),
    ("configuration", lambda m: change(container(m), "ports", 1, "containerPort", 9999)),
    ("names", lambda m: m.append(one(m, "Service"))),
    ("names", lambda m: change(one(m, "Service"), "metadata", "name", "Big_Name")),
    ("names", lambda m: delete(one(m, "Service"), "metadata", "namespace")),
]


class Mutations(unittest.TestCase):
    def test_each_invariant_finds_what_is_broken(self):
        found_by = set()
        for index, (name, mutate, *case) in enumerate(BROKEN):
            case = case[0] if case else "everything"
            with self.subTest(invariant=name, index=index):
                manifests = support.documents(case)
                mutate(manifests)
                invariant = getattr(invariants, name)
                self.assertNotEqual(list(invariant(manifests, support.values(case))), [])
                found_by.add(name)
        self.assertEqual(found_by, {invariant.__name__ for invariant in invariants.ALL})

    def test_kubernetes_schemas_find_a_wrong_field(self):
        for version in support.KUBERNETES:
            manifest = one(support.documents("required"), "Deployment")
            manifest["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
            with self.assertRaises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(manifest, version, strict=True)

    def test_excerpts_find_a_wrong_field(self):
        for kind in custom.SCHEMAS:
            manifest = one(support.documents("everything"), kind)
            self.assertEqual(custom.problems(manifest), [])
            manifest["spec"]["more"] = True
            self.assertNotEqual(custom.problems(manifest), [])

    def test_the_table_finds_a_changed_default(self):
        values = (support.CHART / "values.yaml").read_text()
        readme = (support.CHART / "README.md").read_text()
        changed = values.replace("replicaCount: 3", "replicaCount: 4")
        self.assertNotEqual(table.replaced(readme, changed), readme)
