"""What the scripts under tests/attacks, tests/rolling and tests/soak share: a Keyward on data of its own,
`keyward-siege`, and what the system says of a process.

Everything listens on 127.0.0.1 and is ended by its process id. Nothing waits without an end.
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
# How long anything may take to start, to end or to become ready.
PATIENCE_SECONDS = 120


# What a caller says of a request that had no answer for ten seconds.
LATE = re.compile(r"[\w.]+: (no answer in time|DeadlineExceeded: .*|Cancelled: Timeout expired.*)$")


class Failed(Exception):
    """What was to be shown is not so."""


def say(text):
    print(text, flush=True)


def wait_until(what, condition, seconds=PATIENCE_SECONDS):
    """Asks again and again, and gives what is true at last."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"waited in vain until {what}")
        time.sleep(0.02)


def free_port():
    """A port that nobody has, below those that the system gives away by itself, so that none of its choices
    takes the port while its server is restarted. Another script may still choose the same."""
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
    """The failures but for late answers, and how many of those there are: a machine that stands still for
    ten seconds makes them too."""
    others = {reason: times for reason, times in failures.items() if not LATE.match(reason)}
    return others, sum(failures.values()) - sum(others.values())


def get(url, seconds=2):
    """The status and the text of an answer; no status where there is no answer."""
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


def siege_program():
    """`keyward-siege`: SIEGE_BIN, or a release build of this checkout."""
    if "SIEGE_BIN" in os.environ:
        return Path(os.environ["SIEGE_BIN"]).resolve(strict=True)
    command = ["cargo", "build", "--locked", "--release", "-p", "keyward-siege"]
    built = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    )
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "keyward-siege":
            return Path(message["executable"])
    raise Failed("cargo built no keyward-siege")


def clean_environment(**more):
    """The environment without settings of Keyward's that are not ours."""
    ours = ("KEYWARD_", "OTEL_", "SIEGE_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.upper().endswith("_PROXY")
    }
    return {**kept, **more}


class MemoryLimit:
    """A control group whose processes the kernel kills above a limit, where root may make one."""

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
        # The kernel takes a moment to let go of a process that has ended.
        for _ in range(50):
            try:
                return self.directory.rmdir()
            except OSError:
                time.sleep(0.1)


class Place:
    """CPUs and memory that a program has, and its niceness among the programs that want them too."""

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
    """Gives this script's process group its niceness, where root may: the system shares CPUs among such
    groups first, and niceness counts only within one."""
    try:
        Path("/proc/self/autogroup").write_text("-15")
    except OSError:
        pass


ANYWHERE = Place(niceness=os.getpriority(os.PRIO_PROCESS, 0))


class Program:
    """A child process, whose standard error is a file."""

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
        """Ends it as the system does when it runs out of memory."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        atexit.unregister(self.kill)

    def terminate(self, seconds=PATIENCE_SECONDS):
        """Asks it to end, and expects that it does so in order; gives how long it took."""
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        self.finish(seconds)
        return time.monotonic() - began

    def finish(self, seconds=PATIENCE_SECONDS):
        """Waits for its end, and gives what it printed."""
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


class House:
    """A database, keys and tokens for `keyward serve`, in a directory that goes with the script."""

    def __init__(self, program, siege, postgres=None):
        # In memory where there is such a place: what is looked at is the server, not the disk.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = Path(tempfile.mkdtemp(prefix="keyward-siege-", dir=memory))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.siege, self.postgres = siege, postgres
        self.env = self.directory / "dev.env"
        self.borrow(program)
        self.config = self.directory / "keyward.toml"
        self.database = postgres or f"sqlite://{self.directory}/keyward.db"
        self.settings = {}
        self.configure()
        if postgres:
            self.settle(program)

    def borrow(self, program):
        """Keyring, signing key, tokens and an organization on SQLite, from `keyward dev`."""
        command = [program, "dev", "--listen", "127.0.0.1:0", "--data-dir", self.directory]
        dev = Program(command, self.directory / "dev.log")
        for line in dev.child.stdout:
            if line.startswith("Ctrl-C"):
                break
        else:
            raise Failed(f"keyward dev did not start:\n{dev.errors()}")
        dev.terminate()

    def configure(self, **settings):
        """Writes the configuration: the defaults, and what is named as SECTION__NAME="TOML"."""
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
        """Runs a command with the configuration to its end."""
        command = [program, *words, "--config", self.config]
        return Program(command, self.directory / f"{words[0]}.log").finish()

    def settle(self, program):
        """The same organization on an empty database, with a management key of its own."""
        self.run(program, "migrate")
        server = self.serve(program)
        command = [self.siege, "prepare", "--env", self.env, "--url", server.url]
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
        """Starts `keyward serve`, with a listener for operations or without, and waits until it is ready."""
        return Server(self, program, port or free_port(), place, operations)


class Server(Program):
    """A `keyward serve` that is ready."""

    def __init__(self, house, program, port, place, operations=False):
        self.port = port
        self.url = self.operations_url = f"http://127.0.0.1:{port}"
        command = [program, "serve", "--config", house.config]
        log = house.directory / f"serve-{port}.log"
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
        """The gauges without labels that /metrics has; none where there is no such page."""
        status, text = get(f"{self.operations_url}/metrics")
        found = {}
        if status == 200:
            for line in text.splitlines():
                name, _, value = line.partition(" ")
                if name.isidentifier():
                    found[name] = float(value.split()[0])
        return found

    def memory(self):
        """Resident memory now, and at its peak since it was last forgotten, in bytes."""
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
    """`keyward-siege load`, whose figures come in windows."""

    def __init__(self, house, seconds, *words, urls=(), place=ANYWHERE):
        command = [house.siege, "load", "--env", house.env, "--seconds", seconds, "--windows"]
        log = house.directory / "load.log"
        super().__init__([*command, *urls, *words], log, place, stdin=subprocess.PIPE)

    def window(self):
        """Ends a window, and gives its figures."""
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
        """Ends the load, and gives the figures of its last window."""
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
    """Asks for URLs as a kubelet does: over a new connection each, and a probe without an answer within a
    second has failed."""

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
        """Gives the status and the JSON of the response."""
        self.connection.request(method, path, body and json.dumps(body), self.headers)
        response = self.connection.getresponse()
        return response.status, json.load(response)

    def create(self, path, body):
        """Gives the JSON of a creation."""
        status, answer = self.call("POST", path, body)
        if status != 201:
            raise Failed(f"POST {path}: {status} {answer}")
        return answer


def attack(house, kind, *words, url, seconds, place=ANYWHERE, **variables):
    """Starts one of the attacks; its tally is what it prints."""
    command = [house.siege, kind, "--url", url, "--seconds", seconds, *words]
    log = house.directory / f"{kind}.log"
    return Program(command, log, place, **variables)


def end_in_order(number, _frame):
    """Makes of a signal an ordinary end, at which programs are ended and folders go."""
    # `timeout` sends it to the process and then to its group: once is enough.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main(run):
    """Runs a script, and says in words what it could not show."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_in_order)
    stand_out()
    try:
        run()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
