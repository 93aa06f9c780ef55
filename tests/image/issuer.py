"""Serves an issuer's keys over HTTPS, with its own authority, under a name that only the DNS server of this
script resolves.

    issuer.py FOLDER JWKS

It writes ca.pem to the folder, and prints the resolver's address and its own port.
"""

import errno
import pathlib
import socketserver
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "issuer.keyward.test"


def resolver():
    """Listens on port 53, the only one that resolv.conf supports, of an unused address."""
    for last in range(1, 255):
        try:
            return socketserver.ThreadingUDPServer((f"127.77.0.{last}", 53), Resolver)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise SystemExit("every address of 127.77.0.0/24 has a resolver")


class Resolver(socketserver.BaseRequestHandler):
    """Responds to A for NAME with 127.0.0.1, to AAAA with no record, and to all others with NXDOMAIN."""

    def handle(self):
        query, socket = self.request
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += query[at] + 1
        end = at + 5
        kind = int.from_bytes(query[at + 1:at + 3], "big")
        name = ".".join(labels).lower()
        print(f"asked for {name}", flush=True)
        known = name == NAME
        answers = 1 if known and kind == 1 else 0
        flags = b"\x81\x80" if known else b"\x81\x83"
        reply = query[:2] + flags + b"\x00\x01" + answers.to_bytes(2, "big") + bytes(4) + query[12:end]
        if answers:
            reply += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
        socket.sendto(reply, self.client_address)


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificates(folder):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
            "-subj", "/CN=Test authority", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={NAME}",
            "-keyout", folder / "issuer.key", "-out", folder / "issuer.csr")
    (folder / "extensions").write_text(f"subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", folder / "issuer.csr", "-CA", folder / "ca.pem", "-CAkey",
            folder / "ca.key", "-CAcreateserial", "-days", 2, "-extfile", folder / "extensions",
            "-out", folder / "issuer.pem")


def main():
    folder, keys = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(keys)))
            self.end_headers()
            self.wfile.write(keys)

        def log_message(self, *_):
            pass

    certificates(folder)
    names = resolver()
    threading.Thread(target=names.serve_forever, daemon=True).start()
    print(f"resolver {names.server_address[0]}", flush=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "issuer.pem", folder / "issuer.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
