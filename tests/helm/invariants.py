"""Invariants of every rendered release. Each function takes a case's manifests and values and returns the
problems, so that a test can show that it detects some."""

import ipaddress
import re
import tomllib

from support import containers, name_of, of_kind, pods, strings

SECRET_MATERIAL = re.compile(
    r"-----BEGIN|keyward-keyring-v1|sk-kw-v1-|FB_AIS?_[0-9a-f]|://[^/\s:@]+:[^/\s@]+@|Bearer\s+\S"
)
SECRET_NAME = re.compile(r"HEADERS|PASSWORD|SECRET|TOKEN|CREDENTIAL|API_?KEY", re.I)
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
           "projected", "secret"}
WRITABLE = {"data", "tmp"}


def restricted(manifests, _):
    """The restricted level of Kubernetes' pod security standards, and a read-only root."""
    for name, _, spec in pods(manifests):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield f"{name}: {field}"
        security = spec.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
            yield f"{name}: may run as root"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: no seccomp profile"
        for volume in spec.get("volumes", []):
            if not set(volume) - {"name"} <= VOLUMES:
                yield f"{name}: volume {volume['name']}"
        for container in containers(spec):
            own = container.get("securityContext", {})
            wanted = {"allowPrivilegeEscalation": False, "privileged": False,
                      "readOnlyRootFilesystem": True, "runAsNonRoot": True,
                      "capabilities": {"drop": ["ALL"]},
                      "seccompProfile": {"type": "RuntimeDefault"}}
            if own != wanted:
                yield f"{name}: container {container['name']} has another securityContext"
            for port in container.get("ports", []):
                if "hostPort" in port or port["containerPort"] < 1024:
                    yield f"{name}: port {port['name']}"


def no_token(manifests, _):
    """Pods have no token for the cluster's API and no addresses of other services in their environment."""
    for name, _, spec in pods(manifests):
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: has a token"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: has service links"
    for account in of_kind(manifests, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: has a token"


def resources(manifests, _):
    for name, _, spec in pods(manifests):
        for container in containers(spec):
            found = container.get("resources", {})
            if not {"cpu", "memory"} <= set(found.get("requests", {})):
                yield f"{name}: {container['name']} requests too little"
            if "memory" not in found.get("limits", {}):
                yield f"{name}: {container['name']} has no bound of memory"


def no_secrets(manifests, _):
    """No object contains a secret, in any form."""
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            yield f"{name_of(manifest)}: a secret is rendered"
        for text in strings(manifest):
            if SECRET_MATERIAL.search(text):
                yield f"{name_of(manifest)}: secret material"
    for name, _, spec in pods(manifests):
        for container in containers(spec):
            for variable in container.get("env", []):
                if SECRET_NAME.search(variable["name"]) and "value" in variable:
                    yield f"{name}: {variable['name']} is given inline"


def probes(manifests, _):
    """The server has all three probes, readiness over gRPC, on ports that it listens on."""
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe"):
            asked = container.get(probe, {}).get("httpGet", {})
            if asked.get("path") != "/healthz" or asked.get("port") != "operations":
                yield f"{name_of(workload)}: {probe}"
        asked = container.get("readinessProbe", {}).get("grpc", {})
        if asked.get("port") != ports.get("operations"):
            yield f"{name_of(workload)}: readinessProbe"


def _matches(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def selectors(manifests, _):
    """Selectors match their intended objects, and no others."""
    by_pod = {name: metadata["labels"] for name, metadata, _ in pods(manifests)}
    (server,) = of_kind(manifests, "Deployment", "StatefulSet")
    server = name_of(server)

    def selected(selector):
        return [name for name, labels in by_pod.items() if _matches(selector, labels)]

    for manifest in manifests:
        spec, kind = manifest.get("spec", {}), manifest["kind"]
        if kind == "Service":
            found = selected(spec["selector"])
        elif kind in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            found = selected(spec["selector"]["matchLabels"])
        elif kind == "NetworkPolicy":
            found = selected(spec["podSelector"]["matchLabels"])
            if found and found[0].startswith(("Job/", "Pod/")):
                continue
        elif kind == "HorizontalPodAutoscaler":
            found = [f"{spec['scaleTargetRef']['kind']}/{spec['scaleTargetRef']['name']}"]
        elif kind == "ServiceMonitor":
            services = [name_of(one) for one in of_kind(manifests, "Service")
                        if _matches(spec["selector"]["matchLabels"], one["metadata"]["labels"])]
            if len(services) != 1 or not services[0].endswith("-operations"):
                yield f"{name_of(manifest)}: selects {services}"
            continue
        else:
            continue
        if found != [server]:
            yield f"{name_of(manifest)}: selects {found}"
    for spread in _spec(manifests).get("topologySpreadConstraints", []):
        if selected(spread["labelSelector"]["matchLabels"]) != [server]:
            yield f"{server}: spreads something else"


def _spec(manifests):
    (server,) = of_kind(manifests, "Deployment", "StatefulSet")
    return server["spec"]["template"]["spec"]


def ports(manifests, _):
    """Services refer to ports of the server; routes and monitors refer to ports of services."""
    (container,) = _spec(manifests)["containers"]
    own = {port["name"] for port in container["ports"]}
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in of_kind(manifests, "Service")}
    for name, found in services.items():
        for port in found:
            if port["targetPort"] not in own:
                yield f"Service/{name}: port {port['name']}"
    for ingress in of_kind(manifests, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                names = [port["name"] for port in services.get(backend["name"], [])]
                if backend["port"]["name"] not in names:
                    yield f"{name_of(ingress)}: backend"
    for route in of_kind(manifests, "HTTPRoute", "GRPCRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                numbers = {port["port"]: port["name"] for port in services.get(backend["name"], [])}
                wanted = {"HTTPRoute": "http", "GRPCRoute": "grpc"}[route["kind"]]
                if numbers.get(backend["port"]) != wanted:
                    yield f"{name_of(route)}: backend"
    workload = of_kind(manifests, "StatefulSet")
    for one in workload:
        if one["spec"]["serviceName"] not in services:
            yield f"{name_of(one)}: serviceName"


def _references(spec):
    """Returns (kind, name, key) of all external objects that a pod uses; key None for the whole object."""
    def items(kind, name, source):
        for item in source.get("items") or [{"key": None}]:
            yield kind, name, item["key"]

    for volume in spec.get("volumes", []):
        if "secret" in volume:
            yield from items("Secret", volume["secret"]["secretName"], volume["secret"])
        if "configMap" in volume:
            yield from items("ConfigMap", volume["configMap"]["name"], volume["configMap"])
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None
    for one in spec.get("imagePullSecrets", []):
        yield "Secret", one["name"], None
    if spec.get("serviceAccountName", "default") != "default":
        yield "ServiceAccount", spec["serviceAccountName"], None
    for container in containers(spec):
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if field in source:
                    yield kind, source[field]["name"], source[field]["key"]


def _hook(manifest):
    """Returns the hook of an object, as its events and weight; None for the release's own objects."""
    annotations = manifest["metadata"].get("annotations", {})
    if "helm.sh/hook" not in annotations:
        return None
    return set(annotations["helm.sh/hook"].split(",")), int(annotations.get("helm.sh/hook-weight", "0"))


def references(manifests, values):
    """Objects that a pod uses are rendered with that key and before the pod, or the values refer to them."""
    rendered = {(one["kind"], one["metadata"]["name"]): one for one in manifests}
    said = set(strings(values))
    for manifest in manifests:
        for _, _, spec in pods([manifest]):
            for kind, name, key in _references(spec):
                found = rendered.get((kind, name))
                if found is None:
                    if name not in said:
                        yield f"{name_of(manifest)}: {kind}/{name} is nowhere"
                    continue
                if key and key not in found.get("data", {}):
                    yield f"{name_of(manifest)}: {kind}/{name} has no {key}"
                user, used = _hook(manifest), _hook(found)
                if user and user[0] == {"test"}:
                    user = None
                if user is None and used is not None:
                    yield f"{name_of(manifest)}: {kind}/{name} is gone when it is needed"
                if user and (used is None or used[1] >= user[1] or not user[0] <= used[0]):
                    yield f"{name_of(manifest)}: {kind}/{name} is not there yet"


def mounts(manifests, _):
    """Mounts match volumes, and only data is writable."""
    for name, _, spec in pods(manifests):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        mounted = set()
        for container in containers(spec):
            for mount in container.get("volumeMounts", []):
                mounted.add(mount["name"])
                if mount["name"] not in volumes:
                    yield f"{name}: {mount['name']} is no volume"
                if not mount.get("readOnly") and mount["name"] not in WRITABLE:
                    yield f"{name}: {mount['name']} is writable"
        if set(volumes) - mounted:
            yield f"{name}: {set(volumes) - mounted} is not mounted"
        for volume in volumes.values():
            if volume.get("secret", {}).get("defaultMode", 0o400) != 0o400:
                yield f"{name}: {volume['name']} is readable to others"


def policies(manifests, values):
    """Both directions are denied by default for every pod, and no rule allows all traffic."""
    if values.get("networkPolicy", {}).get("enabled", True) is False:
        return
    found = of_kind(manifests, "NetworkPolicy")
    for name, metadata, _ in pods(manifests):
        if not any(_matches(one["spec"]["podSelector"]["matchLabels"], metadata["labels"])
                   for one in found):
            yield f"{name}: no policy"
    for one in found:
        if set(one["spec"]["policyTypes"]) != {"Ingress", "Egress"}:
            yield f"{name_of(one)}: a direction is open"
        for rule in one["spec"].get("ingress", []):
            if not rule.get("from") or not rule.get("ports"):
                yield f"{name_of(one)}: an ingress rule lets everyone in"
        for rule in one["spec"].get("egress", []):
            if not rule.get("ports"):
                yield f"{name_of(one)}: an egress rule lets everything out"


def migration(manifests, _):
    """A migration has the scheduling, security context and environment of the server."""
    server = _spec(manifests)
    for job in of_kind(manifests, "Job"):
        spec = job["spec"]["template"]["spec"]
        for field in ("imagePullSecrets", "securityContext", "nodeSelector", "tolerations", "affinity",
                      "priorityClassName", "dnsConfig"):
            if spec.get(field) != server.get(field):
                yield f"{name_of(job)}: {field} differs"
        own, serving = spec["containers"][0], server["containers"][0]
        if own["image"] != serving["image"]:
            yield f"{name_of(job)}: another image"
        for variable in serving.get("env", []):
            if not re.match("OTEL_|POD_|NODE_", variable["name"]) and variable not in own.get("env", []):
                yield f"{name_of(job)}: lacks {variable['name']}"
        if any(volume["name"] in ("keyring", "tls") for volume in spec["volumes"]):
            yield f"{name_of(job)}: has more secrets than it needs"


def writer(manifests, _):
    """A workload with a volume has one pod, and a pod that never gets ready does not block the next one."""
    for one in of_kind(manifests, "StatefulSet"):
        if one["spec"].get("replicas") != 1:
            yield f"{name_of(one)}: not one writer"
        if one["spec"].get("podManagementPolicy") != "Parallel":
            yield f"{name_of(one)}: a broken pod holds up what mends it"


def endings(manifests, _):
    """The grace period of a pod is the shutdown time of its configuration plus 15 seconds."""
    for config in of_kind(manifests, "ConfigMap"):
        if "keyward.toml" in config["data"]:
            server = tomllib.loads(config["data"]["keyward.toml"])["server"]
            wanted = -(-(server["shutdown_delay_ms"] + server["drain_timeout_ms"]) // 1000) + 15
            if _spec(manifests).get("terminationGracePeriodSeconds") != wanted:
                yield f"{name_of(config)}: the pod is given another time than {wanted} s"


def configuration(manifests, _):
    """Each file of the configuration is mounted, and each port is a port of the container."""
    for config in of_kind(manifests, "ConfigMap"):
        if "keyward.toml" not in config["data"]:
            continue
        settings = tomllib.loads(config["data"]["keyward.toml"])
        spec = _spec(manifests)
        (container,) = spec["containers"]
        numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
        for section, port in (("server", "api"), ("operations", "operations")):
            address, _, number = settings[section]["listen"].rpartition(":")
            ipaddress.ip_address(address.strip("[]"))
            if int(number) != numbers[port]:
                yield f"{name_of(config)}: {section}.listen"
        files = set()
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            source = volumes[mount["name"]]
            for item in (source.get("secret") or source.get("configMap") or {}).get("items", []):
                files.add(f"{mount['mountPath']}/{item['path']}")
        for text in strings(settings):
            if text.startswith("/") and text not in files:
                yield f"{name_of(config)}: {text} is not mounted"


def names(manifests, _):
    """Names are valid DNS labels, and no two objects have the same name."""
    seen = set()
    for manifest in manifests:
        name = name_of(manifest)
        if name in seen:
            yield f"{name}: twice"
        seen.add(name)
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", manifest["metadata"]["name"]):
            yield f"{name}: no name"
        if manifest["metadata"].get("namespace") is None:
            yield f"{name}: no namespace"


ALL = [restricted, no_token, resources, no_secrets, probes, selectors, ports, references, mounts,
       policies, migration, writer, endings, configuration, names]
