// Shows that the check fails when it must, whichever commit is checked out: in a repository of its own with
// the real proto files, which has the real main as its first commit.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const PROTO = "proto/keyward/v1/api_key.proto";
/** A field of ApiKey. */
const FIELD = "optional string region = 4;";
const directory = mkdtempSync(join(tmpdir(), "keyward-buf-"));
after(() => rmSync(directory, { recursive: true, force: true }));

let number = 0;

/** A repository whose main has two commits: the API as it is, and one beside it. */
class Repository {
  path = join(directory, `${(number += 1)}`);

  constructor() {
    mkdirSync(join(this.path, "tests"), { recursive: true });
    for (const name of ["proto", "buf.yaml"]) this.#copy(name);
    mkdirSync(join(this.path, "tests/buf"));
    for (const name of ["breaking", "promised.binpb"]) this.#copy(`tests/buf/${name}`);
    this.#link(this.path);
    this.git("init", "--quiet", "--initial-branch=main");
    this.write(".gitignore", "node_modules\n");
    this.commit("The API");
    this.write("README", "beside it\n");
    this.commit("Beside the API");
  }

  #copy(name) {
    cpSync(join(REPOSITORY, name), join(this.path, name), { recursive: true });
  }

  #link(path) {
    const modules = join(REPOSITORY, "tests/buf/node_modules");
    symlinkSync(modules, join(path, "tests/buf/node_modules"));
  }

  git(...args) {
    const who = ["-c", "user.name=test", "-c", "user.email=test@keyward.test"];
    return run("git", [...who, "-c", "commit.gpgsign=false", ...args], this.path);
  }

  write(name, text) {
    writeFileSync(join(this.path, name), text);
  }

  commit(subject) {
    this.git("add", "--all");
    this.git("commit", "--quiet", "--allow-empty", "--message", subject);
  }

  /** Replaces a text that occurs once. */
  edit(before, after) {
    const text = readFileSync(join(this.path, PROTO), "utf8");
    assert.equal(text.split(before).length, 2, String(before));
    this.write(PROTO, text.replace(before, after));
  }

  removeField() {
    this.edit(/(?: *\/\/.*\n)+ *optional string region = 4;.*\n/, "");
  }

  addField() {
    this.edit(FIELD, `${FIELD}\n  // New.\n  bool new = 999;`);
  }

  removeNewField() {
    this.edit("\n  // New.\n  bool new = 999;", "");
  }

  clone(...options) {
    const path = `${this.path}-clone`;
    run("git", ["clone", "--quiet", ...options, `file://${this.path}`, path], directory);
    this.#link(path);
    return path;
  }
}

function run(program, args, cwd) {
  // Nothing of the surrounding repository or its hooks.
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_"));
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    env: Object.fromEntries(env),
  });
  assert.equal(error ?? status, 0, `${program} ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

function check(path, ...args) {
  const options = { cwd: path, encoding: "utf8" };
  const { status, stdout, stderr } = spawnSync("tests/buf/breaking", args, options);
  return { status, printed: stdout + stderr };
}

function passes(path, ...args) {
  const { status, printed } = check(path, ...args);
  assert.equal(status, 0, printed);
  return printed;
}

/** Fails, and names the field at its place in the files as they are. */
function fails(path, field, ...args) {
  const { status, printed } = check(path, ...args);
  assert.notEqual(status, 0, printed);
  assert.match(printed, new RegExp(`^${PROTO}:.*field.*"${field}".*deleted`, "m"));
  return printed;
}

describe("the check for broken promises", () => {
  it("passes what is as it was", () => {
    const repository = new Repository();
    assert.match(passes(repository.path), /no commit before the change/);
    repository.git("switch", "--quiet", "--create", "change");
    repository.write("README", "more beside it\n");
    repository.commit("Change");
    assert.match(passes(repository.path), /Beside the API/);
  });

  it("passes what is added, and fails what is removed, on a branch of several commits", () => {
    const repository = new Repository();
    repository.git("switch", "--quiet", "--create", "change");
    repository.addField();
    repository.commit("Add");
    passes(repository.path);
    repository.removeNewField();
    repository.commit("Take back what this branch brought");
    passes(repository.path);
    repository.removeField();
    repository.commit("Remove");
    repository.write("README", "more beside it\n");
    repository.commit("Something else");
    assert.match(fails(repository.path, "region"), /compared with .*Beside the API/);
  });

  it("fails what is removed on main and not yet committed", () => {
    const repository = new Repository();
    repository.removeField();
    assert.match(fails(repository.path, "region"), /compared with .*Beside the API/);
  });

  it("fails what was removed by the last change of the API in a clone of main alone", () => {
    const repository = new Repository();
    repository.removeField();
    repository.commit("Remove");
    repository.write("README", "more beside it\n");
    repository.commit("Something else");
    assert.match(fails(repository.clone(), "region"), /compared with .*Beside the API/);
  });

  it("fails what was removed in a clone without history", () => {
    const repository = new Repository();
    repository.removeField();
    repository.commit("Remove");
    const printed = fails(repository.clone("--depth=1"), "region");
    assert.match(printed, /no commit before the change/);
  });

  it("fails what was removed where there is no repository", () => {
    const repository = new Repository();
    rmSync(join(repository.path, ".git"), { recursive: true });
    repository.removeField();
    fails(repository.path, "region");
  });

  it("knows from main what was never promised by a release", () => {
    const repository = new Repository();
    repository.addField();
    repository.commit("Add");
    repository.git("switch", "--quiet", "--create", "change");
    repository.removeNewField();
    repository.commit("Remove");
    fails(repository.path, "new");
    passes(repository.path, "main~1");
    fails(repository.path, "new", "main");
  });

  it("fails a number, a type or a name that changes", () => {
    for (const changed of [
      "optional string region = 40;",
      "optional bytes region = 4;",
      "repeated string region = 4;",
      "optional string area = 4;",
    ]) {
      const repository = new Repository();
      repository.edit(FIELD, changed);
      const { status, printed } = check(repository.path);
      assert.notEqual(status, 0, `${changed} ${printed}`);
    }
  });
});

describe("the lint", () => {
  it("fails what is not named or described as the rest", () => {
    for (const [before, after] of [
      [FIELD, "optional string Region = 4;"],
      [/(?: *\/\/.*\n)+(?= *optional string region = 4;)/, ""],
    ]) {
      const repository = new Repository();
      const lint = () => spawnSync("tests/buf/node_modules/.bin/buf", ["lint"], { cwd: repository.path });
      assert.equal(lint().status, 0);
      repository.edit(before, after);
      assert.notEqual(lint().status, 0, after);
    }
  });
});
