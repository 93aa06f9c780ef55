"""nginx in front of three Keyward processes, configured as in production, and the attempts that its log shows.

nginx retries only requests whose connection to one process could not be made, since nothing of them was sent
(`proxy_next_upstream error`, which is its default without `timeout`). nginx would also retry a GET, PUT or
DELETE whose connection broke after it was sent, though never a POST or a gRPC call. Such a second attempt
would hide that a process dropped a request, so the log contains it, and `broken` counts it as a failure.
"""

import re
import shutil
import subprocess

from harness import Failed, Program, free_port, get, wait_until

CONFIGURATION = """
worker_processes 1;
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
    # Every attempt, and how many bytes of the request went out with it.
    log_format attempts '$request_method $uri $status|$upstream_addr|$upstream_status|$upstream_bytes_sent';
    access_log {directory}/attempts.log attempts;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    # Answers stay in memory, and clients' connections are not ended for their age: the test is about
    # the connections behind nginx.
    proxy_max_temp_file_size 0;
    keepalive_requests 10000000;
    keepalive_timeout 600s;

    upstream rest {{
{servers}
        keepalive 32;
    }}
    upstream grpc {{
{servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{rest_port};
        location / {{
            proxy_pass http://rest;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_connect_timeout 2s;
            proxy_next_upstream error;
        }}
    }}
    server {{
        listen 127.0.0.1:{grpc_port} http2;
        location / {{
            grpc_pass grpc://grpc;
            grpc_set_header X-Forwarded-For $remote_addr;
            grpc_connect_timeout 2s;
            grpc_next_upstream error;
        }}
    }}
}}
"""


class Nginx(Program):
    """An nginx that listens; `ports` are those of the processes behind it."""

    def __init__(self, deployment, ports):
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if not binary:
            raise Failed("nginx is not installed (Debian: apt-get install nginx)")
        self.attempts = deployment.directory / "attempts.log"
        self.rest_port, self.grpc_port = free_port(), free_port()
        # A process that refused a connection gets no requests for a second.
        server = "        server 127.0.0.1:{} max_fails=1 fail_timeout=1s;"
        deployment.directory.chmod(0o711)
        text = CONFIGURATION.format(
            user="user root;" if deployment.directory.stat().st_uid == 0 else "",
            directory=deployment.directory,
            servers="\n".join(server.format(port) for port in ports),
            rest_port=self.rest_port,
            grpc_port=self.grpc_port,
        )
        file = deployment.directory / "nginx.conf"
        file.write_text(text)
        log = deployment.directory / "nginx.log"
        super().__init__([binary, "-c", file, "-p", deployment.directory, "-e", log], log)
        self.url = f"http://127.0.0.1:{self.rest_port}"
        self.grpc_url = f"http://127.0.0.1:{self.grpc_port}"
        wait_until("nginx answers", self.answers)

    def kill(self):
        """Sends SIGTERM first, since the workers of a killed nginx survive it."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                pass
        super().kill()

    def answers(self):
        if self.child.poll() is not None:
            raise Failed(f"nginx ended:\n{self.errors()}")
        return get(f"{self.url}/healthz")[0] == 200

    def size(self):
        """Returns the size of the log, in bytes."""
        return self.attempts.stat().st_size

    def lines(self, since):
        with open(self.attempts, "rb") as log:
            log.seek(since)
            return log.read().decode().splitlines()

    def has_answers_of(self, port, since):
        """Returns true if REST and gRPC calls to a process succeeded since an offset of the log."""
        good = [line for line in self.lines(since) if re.search(rf"\|127.0.0.1:{port}\|200\|", line)]
        return any(" /keyward." in line for line in good) and any(" /key " in line for line in good)

    def tried_again(self, since):
        """Returns requests with more than one attempt: after a refused connection, and after a connection
        that broke."""
        refused, broken = [], []
        for line in self.lines(since):
            if line.count("|") != 3:
                continue
            _, addresses, _, sent = line.split("|")
            if ", " in addresses:
                before = sent.split(", ")[:-1]
                (refused if all(count == "0" for count in before) else broken).append(line)
        return refused, broken
