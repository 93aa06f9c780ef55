// Starts the real program for the tests that need Node.js.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const PROGRAM = process.env.KEYWARD_BIN || build();

/** The program as a child process. */
export class Running {
  stdout = "";
  stderr = "";
  /** Its exit code, or the signal that ended it. */
  ended;
  #child;
  #hasEnded = false;
  #news = new EventEmitter();

  /** Starts the program with these arguments, and with these settings alone in its environment. */
  constructor(args, settings = {}) {
    // No variable of the tests' own environment configures the program or a proxy.
    const foreign = /^(KEYWARD|OTEL)_|_PROXY$/i;
    const env = Object.entries(process.env).filter(([name]) => !foreign.test(name));
    const stdio = ["ignore", "pipe", "pipe"];
    this.#child = spawn(PROGRAM, args, { env: { ...Object.fromEntries(env), ...settings }, stdio });
    for (const stream of ["stdout", "stderr"]) {
      this.#child[stream].setEncoding("utf8").on("data", (text) => {
        this[stream] += text;
        this.#news.emit("news");
      });
    }
    this.ended = once(this.#child, "close").then(([code, signal]) => {
      this.#hasEnded = true;
      this.#news.emit("news");
      return code ?? signal;
    });
    // The program does not outlive the tests, even if they fail.
    process.once("exit", () => this.#child.kill("SIGKILL"));
  }

  /** Returns the result of `find`, which searches the output, as soon as there is one. */
  async waitFor(find) {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      assert.ok(!this.#hasEnded, `it did not start:\n${this.stdout}${this.stderr}`);
      await once(this.#news, "news");
    }
  }

  terminate() {
    this.#child.kill("SIGTERM");
  }
}

/** Starts `keyward dev` on a data directory; returns its address and the variables of dev.env. */
export async function dev(directory, settings) {
  const args = ["dev", "--listen", "127.0.0.1:0", "--data-dir", directory];
  const running = new Running(args, settings);
  const says = /^Keyward listens on (\S+)$/m;
  const url = await running.waitFor(() => says.exec(running.stdout)?.[1]);
  const lines = (await readFile(join(directory, "dev.env"), "utf8")).trimEnd().split("\n");
  return { running, url, env: Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2))) };
}

/** What Cargo builds. */
function build() {
  const args = ["build", "--locked", "--bin=keyward", "--message-format=json-render-diagnostics"];
  const messages = run("cargo", args).trim().split("\n").map((line) => JSON.parse(line));
  return messages.findLast((message) => message.executable).executable;
}

/** Runs another program to its end, in the repository, and returns its output. */
export function run(program, args) {
  const stdio = ["ignore", "pipe", "inherit"];
  const options = { cwd: REPOSITORY, encoding: "utf8", maxBuffer: 2 ** 30, stdio };
  const { error, status, stdout } = spawnSync(program, args, options);
  assert.equal(error ?? status, 0, `${program} failed`);
  return stdout;
}
