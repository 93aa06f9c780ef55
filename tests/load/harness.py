"""Shared code of the scripts in attacks, rolling and soak: a Keyward with its own data, `keyward-loadtest`,
and the system's figures of a process.

All servers listen on 127.0.0.1 and are ended by their process id. Every wait has a time limit.
"""

import atexit
import http.client
import http.server
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Maximum time for a program to start, to end or to become ready.
PATIENCE_SECONDS = 120


# Failure text of a request without a response for ten seconds.
LATE = re.compile(r"[\w.]+: (no answer in time|DeadlineExceeded: .*|Cancelled: Timeout expired.*)$")


class Failed(Exception):
    """A script could not show its result."""


def say(text):
    print(text, flush=True)


def wait_until(what, condition, seconds=PATIENCE_SECONDS):
    """Polls until the condition is true, and returns its value."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"waited in vain until {what}")
        time.sleep(0.02)


def free_port():
    """Returns a free port below the range of ephemeral ports, so that the system does not assign it while its
    server restarts. Another script may still choose the same port."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first = 32768
    for port in random.sample(range(10_000, max(first, 20_000)), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no port is free")


def without_late(failures):
    """Returns the failures without late responses, and the number of late responses. A machine that stalls
    for ten seconds causes these too."""
    others = {reason: times for reason, times in failures.items() if not LATE.match(reason)}
    return others, sum(failures.values()) - sum(others.values())


def get(url, seconds=2):
    """Returns the status and the text of a response; the status is None without a response."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError):
        return None, ""


def keyward_program(variable="KEYWARD_BIN"):
    if variable not in os.environ:
        raise Failed(f"{variable} names no program")
    return Path(os.environ[variable]).resolve(strict=True)


def loadtest_program():
    """Path of `keyward-loadtest`: LOADTEST_BIN, or a release build of this checkout."""
    if "LOADTEST_BIN" in os.environ:
        return Path(os.environ["LOADTEST_BIN"]).resolve(strict=True)
    command = ["cargo", "build", "--locked", "--release", "-p", "keyward-loadtest"]
    built = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    )
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "keyward-loadtest":
            return Path(message["executable"])
    raise Failed("cargo built no keyward-loadtest")


def clean_environment(**more):
    """Returns the environment without foreign settings of Keyward."""
    ours = ("KEYWARD_", "OTEL_", "LOADTEST_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.upper().endswith("_PROXY")
    }
    return {**kept, **more}


class MemoryLimit:
    """A control group whose processes the kernel kills above a limit, if root can create one."""

    HIERARCHIES = (("memory", "memory.limit_in_bytes"), ("", "memory.max"))

    def __init__(self, most_bytes):
        self.directory = None
        for hierarchy, limit in self.HIERARCHIES:
            directory = Path("/sys/fs/cgroup", hierarchy, f"keyward-attacks-{os.getpid()}")
            try:
                directory.mkdir()
            except OSError:
                continue
            try:
                (directory / limit).write_text(str(most_bytes))
            except OSError:
                directory.rmdir()
                continue
            self.directory = directory
            atexit.register(self.remove)
            break

    def join(self):
        if self.directory:
            (self.directory / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        # The kernel removes an ended process from the group with a delay.
        for _ in range(50):
            try:
                return self.directory.rmdir()
            except OSError:
                time.sleep(0.1)


class Place:
    """CPUs, memory limit and niceness of a program."""

    IDLE = "idle"

    def __init__(self, cpus=None, niceness=0, memory=None):
        self.cpus, self.niceness, self.memory = cpus, niceness, memory

    def take(self):
        if self.memory:
            self.memory.join()
        if self.cpus:
            os.sched_setaffinity(0, self.cpus)
        if self.niceness == self.IDLE:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, self.niceness)


def stand_out():
    """Sets the niceness of this script's process group, if permitted: the system first shares CPUs among such
    groups, and niceness counts only within one."""
    try:
        Path("/proc/self/autogroup").write_text("-15")
    except OSError:
        pass


ANYWHERE = Place(niceness=os.getpriority(os.PRIO_PROCESS, 0))


class Program:
    """A child process whose standard error is a file."""

    def __init__(self, command, log, place=ANYWHERE, stdin=subprocess.DEVNULL, **variables):
        self.log = log
        with open(log, "ab") as errors:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=clean_environment(**variables),
                preexec_fn=place.take,
                text=True,
            )
        atexit.register(self.kill)

    @property
    def pid(self):
        return self.child.pid

    def kill(self):
        """Kills the process with SIGKILL, as the kernel does when memory runs out."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        atexit.unregister(self.kill)

    def terminate(self, seconds=PATIENCE_SECONDS):
        """Sends SIGTERM, expects a graceful shutdown, and returns its duration."""
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        self.finish(seconds)
        return time.monotonic() - began

    def finish(self, seconds=PATIENCE_SECONDS):
        """Waits for the end of the process, and returns its output."""
        try:
            printed, _ = self.child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.child.args[0]} did not end in {seconds} s") from error
        if self.child.returncode != 0:
            raise Failed(
                f"{self.child.args[0]} ended with {self.child.returncode}:\n{self.errors()}"
            )
        atexit.unregister(self.kill)
        return printed

    def errors(self, most=4000):
        return Path(self.log).read_text(errors="replace")[-most:]


class Deployment:
    """Database, keys and tokens for `keyward serve`, in a directory that is removed at the end of the
    script."""

    def __init__(self, program, loadtest, postgres=None):
        # In memory if possible: the scripts measure the server, not the disk.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = Path(tempfile.mkdtemp(prefix="keyward-loadtest-", dir=memory))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.loadtest, self.postgres = loadtest, postgres
        self.env = self.directory / "dev.env"
        self.borrow(program)
        self.config = self.directory / "keyward.toml"
        self.database = postgres or f"sqlite://{self.directory}/keyward.db"
        self.settings = {}
        self.configure()
        if postgres:
            self.settle(program)

    def borrow(self, program):
        """Creates keyring, signing key, tokens and an organization on SQLite with `keyward dev`."""
        command = [program, "dev", "--listen", "127.0.0.1:0", "--data-dir", self.directory]
        dev = Program(command, self.directory / "dev.log")
        for line in dev.child.stdout:
            if line.startswith("Ctrl-C"):
                break
        else:
            raise Failed(f"keyward dev did not start:\n{dev.errors()}")
        dev.terminate()

    def configure(self, **settings):
        """Writes the configuration: the defaults, and overrides given as SECTION__NAME="TOML"."""
        self.settings |= settings
        sections = {
            "database": {"url": f'"{self.database}"'},
            "vault": {"keyring_file": f'"{self.directory}/keyring.json"'},
            "auth.session": self.issuer("keyward"),
            "auth.service": self.issuer("keyward-internal"),
            "auth.service.subjects": {"demo-service": '"demo-service"'},
            "log": {"filter": '"warn"'},
        }
        for name, value in self.settings.items():
            section, _, field = name.rpartition("__")
            sections.setdefault(section.replace("__", "."), {})[field] = value
        text = ""
        for section, fields in sections.items():
            text += f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())
        self.config.write_text(text)

    def issuer(self, audience):
        return {
            "issuer": '"keyward-dev"',
            "audience": f'"{audience}"',
            "jwks": f'"{self.directory}/jwks.json"',
        }

    def run(self, program, *words):
        """Runs a command with the configuration and waits for its end."""
        command = [program, *words, "--config", self.config]
        return Program(command, self.directory / f"{words[0]}.log").finish()

    def settle(self, program):
        """Creates the same organization in an empty database, with its own management key."""
        self.run(program, "migrate")
        server = self.serve(program)
        command = [self.loadtest, "prepare", "--env", self.env, "--url", server.url]
        Program(command, self.directory / "prepare.log").finish()
        admin = ("admin", "create-management-key", "--organization", "demo")
        key = self.run(program, *admin).strip().splitlines()[-1]
        server.terminate()
        lines = self.env.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("MANAGEMENT_KEY=")]
        self.env.write_text("\n".join([*kept, f"MANAGEMENT_KEY={key}", ""]))

    def token(self, name):
        for line in self.env.read_text().splitlines():
            if line.startswith(f"{name}="):
                return line.partition("=")[2]
        raise Failed(f"dev.env has no {name}")

    def serve(self, program, port=None, place=ANYWHERE, operations=False):
        """Starts `keyward serve`, optionally with a listener for operations, and waits until it is ready."""
        return Server(self, program, port or free_port(), place, operations)


class Server(Program):
    """A `keyward serve` that is ready."""

    def __init__(self, deployment, program, port, place, operations=False):
        self.port = port
        self.url = self.operations_url = f"http://127.0.0.1:{port}"
        command = [program, "serve", "--config", deployment.config]
        log = deployment.directory / f"serve-{port}.log"
        listen = {"KEYWARD_SERVER__LISTEN": f"127.0.0.1:{port}"}
        if operations:
            address = f"127.0.0.1:{free_port()}"
            listen["KEYWARD_OPERATIONS__LISTEN"] = address
            self.operations_url = f"http://{address}"
        super().__init__(command, log, place, **listen)
        wait_until("the server is ready", self.is_ready)

    def is_ready(self):
        if self.child.poll() is not None:
            raise Failed(f"keyward serve ended:\n{self.errors()}")
        return get(f"{self.url}/readyz")[0] == 200

    def metrics(self):
        """Returns the gauges of /metrics that have no labels; empty without such a page."""
        status, text = get(f"{self.operations_url}/metrics")
        found = {}
        if status == 200:
            for line in text.splitlines():
                name, _, value = line.partition(" ")
                if name.isidentifier():
                    found[name] = float(value.split()[0])
        return found

    def memory(self):
        """Returns the current and the peak resident memory since the last reset of the peak, in bytes."""
        if self.child.poll() is not None:
            raise Failed(f"the server ended with {self.child.returncode}:\n{self.errors()}")
        status = Path(f"/proc/{self.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        in_bytes = [int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]
        return tuple(in_bytes)

    def forget_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load(Program):
    """`keyward-loadtest load`, which reports its figures in windows."""

    def __init__(self, deployment, seconds, *words, urls=(), place=ANYWHERE):
        command = [deployment.loadtest, "load", "--env", deployment.env, "--seconds", seconds, "--windows"]
        log = deployment.directory / "load.log"
        super().__init__([*command, *urls, *words], log, place, stdin=subprocess.PIPE)

    def window(self):
        """Ends a window, and returns its figures."""
        try:
            self.child.stdin.write("\n")
            self.child.stdin.flush()
        except OSError as error:
            raise Failed(f"the load ended:\n{self.errors()}") from error
        line = self.child.stdout.readline()
        if not line:
            raise Failed(f"the load ended:\n{self.errors()}")
        return json.loads(line)

    def end(self):
        """Ends the load, and returns the figures of its last window."""
        return json.loads(self.finish().splitlines()[-1])


class SlowIssuer:
    """Serves a key set over HTTP, after a delay that the script sets."""

    def __init__(self, file):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                time.sleep(issuer.delay_seconds)
                body = Path(file).read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.delay_seconds, self.asked = 0, 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Prober:
    """Requests URLs as a kubelet does: each over a new connection. A probe without a response within a second
    has failed."""

    PERIOD_SECONDS, TIMEOUT_SECONDS = 0.1, 1

    def __init__(self, *urls):
        self.urls, self.failed, self.sent, self.slowest = urls, {}, 0, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.wait(self.PERIOD_SECONDS):
            for url in self.urls:
                began = time.monotonic()
                status, _ = get(url, self.TIMEOUT_SECONDS)
                took = time.monotonic() - began
                self.sent += 1
                self.slowest = max(self.slowest, took)
                if status != 200 or took > self.TIMEOUT_SECONDS:
                    path = "/" + url.rpartition("/")[2]
                    reason = f"{path}: {status or 'no answer in time'}"
                    self.failed[reason] = self.failed.get(reason, 0) + 1

    def finish(self):
        self.over.set()
        self.thread.join()
        return {"sent": self.sent, "failed": self.failed, "slowest_ms": round(self.slowest * 1000)}


class Client:
    """Calls over REST with one token, on one connection."""

    def __init__(self, port, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        """Returns the status and the JSON of the response."""
        self.connection.request(method, path, body and json.dumps(body), self.headers)
        response = self.connection.getresponse()
        return response.status, json.load(response)

    def create(self, path, body):
        """Returns the JSON of a created resource."""
        status, answer = self.call("POST", path, body)
        if status != 201:
            raise Failed(f"POST {path}: {status} {answer}")
        return answer


def attack(deployment, kind, *words, url, seconds, place=ANYWHERE, **variables):
    """Starts an attack; its output is its tally."""
    command = [deployment.loadtest, kind, "--url", url, "--seconds", seconds, *words]
    log = deployment.directory / f"{kind}.log"
    return Program(command, log, place, **variables)


def end_in_order(number, _frame):
    """Converts a signal into a normal exit, which ends programs and removes directories."""
    # `timeout` signals the process and then its group; the second signal is ignored.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main(run):
    """Runs a script, and prints the reason of a failure."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_in_order)
    stand_out()
    try:
        run()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
