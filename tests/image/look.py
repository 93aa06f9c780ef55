"""Checks the image: its settings, and every file in it. Prints its size.

    look.py IMAGE.json ROOT LIMIT_MIB
"""

import json
import os
import stat
import sys

# Path: kind, mode, owner.
FILES = {
    "etc": ("d", 0o755, 0),
    "etc/ssl": ("d", 0o755, 0),
    "etc/ssl/certs": ("d", 0o755, 0),
    "etc/ssl/certs/ca-certificates.crt": ("f", 0o444, 0),
    "keyward": ("f", 0o555, 0),
    "var": ("d", 0o755, 0),
    "var/lib": ("d", 0o755, 0),
    "var/lib/keyward": ("d", 0o755, 65532),
}


def found(root):
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            kind = "d" if stat.S_ISDIR(status.st_mode) else "f" if stat.S_ISREG(status.st_mode) else "?"
            yield os.path.relpath(path, root), (kind, stat.S_IMODE(status.st_mode), status.st_uid), status


def main():
    image, root, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
    settings = json.load(open(image))["OCIv1"]["config"]
    wanted = {"User": "65532:65532", "Entrypoint": ["/keyward"], "Cmd": ["serve"],
              "WorkingDir": "/var/lib/keyward", "StopSignal": "SIGTERM"}
    problems = [f"{key} is {settings.get(key)}" for key, value in wanted.items()
                if settings.get(key) != value]
    labels = settings.get("Labels", {})
    for label in ("title", "description", "licenses", "version", "revision"):
        if not labels.get(f"org.opencontainers.image.{label}"):
            problems.append(f"no label {label}")
    if any("=" in one and not one.startswith("PATH=") for one in settings.get("Env", [])):
        problems.append(f"an environment: {settings['Env']}")
    seen, size = {}, 0
    for path, what, status in found(root):
        seen[path] = what
        size += status.st_size if what[0] == "f" else 0
    for path in sorted(set(FILES) | set(seen)):
        if FILES.get(path) != seen.get(path):
            problems.append(f"{path}: {seen.get(path)} instead of {FILES.get(path)}")
    program = os.path.getsize(os.path.join(root, "keyward"))
    print(f"the image has {len(seen)} files and {size / 2**20:.1f} MiB, the program {program / 2**20:.1f} MiB")
    if size > limit * 2**20:
        problems.append(f"larger than {limit} MiB")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
