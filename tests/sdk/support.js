// Starts the real program, and makes the SDK's clients for it. Nothing of the SDK is changed but its
// server URL and its key.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import { OpenRouter } from "@openrouter/sdk";
import { OpenRouterDefaultError } from "@openrouter/sdk/models/errors";

import { Running, dev, run } from "../node/program.mjs";

/** After this time a suite, or its start, fails instead of waiting for ever. */
const PATIENCE = { timeout: 120_000 };
/** Where a server URL may end: Keyward has the SDK's paths at both. */
export const MOUNTS = ["", "/api/v1"];
/** No key has this hash. */
export const UNKNOWN_HASH = "0".repeat(64);
/** The usage of a key that has spent nothing. */
export const UNUSED = {
  usage: 0,
  usageDaily: 0,
  usageWeekly: 0,
  usageMonthly: 0,
  byokUsage: 0,
  byokUsageDaily: 0,
  byokUsageWeekly: 0,
  byokUsageMonthly: 0,
};

const OTHER_ORGANIZATION = "other";

// The SDK would take its key from the environment where a test gives none.
for (const name of Object.keys(process.env)) {
  if (name.startsWith("OPENROUTER_")) delete process.env[name];
}

/** Tests of one started Keyward. */
export function suite(name, tests) {
  describe(name, PATIENCE, () => {
    const keyward = new Deployment();
    before(() => keyward.dev(), PATIENCE);
    tests(keyward);
    // No hook, since some versions of Node.js pass a suite whose last hook fails.
    it("end in order", () => keyward.stop());
    after(() => keyward.close());
  });
}

/** A data directory, and the Keyward that runs on it. */
class Deployment {
  #directory;
  #running;
  /** What `keyward dev` wrote into dev.env. */
  env;
  /** Where Keyward listens. */
  url;

  /** Starts `keyward dev` on a new data directory. */
  async dev() {
    this.#directory = await mkdtemp(join(tmpdir(), "keyward-sdk-"));
    const { running, url, env } = await dev(this.#directory);
    this.#running = running;
    this.url = url;
    this.env = env;
  }

  /** Starts `keyward serve` where `dev` was, with further lines of configuration. */
  async serve(more) {
    this.#running = new Running(["serve", "--config", await this.#configure(more)]);
    const listens = () => {
      const lines = this.#running.stderr.split("\n").slice(0, -1);
      const log = lines.filter((line) => line.startsWith("{"));
      return log.map((line) => JSON.parse(line)).find((line) => line.message === "listening");
    };
    this.url = `http://${(await this.#running.waitFor(listens)).address}`;
  }

  /** A management key of an organization beside that of dev.env. */
  async otherManagementKey() {
    const config = await this.#configure("");
    const create = ["admin", "create-management-key", "--organization", OTHER_ORGANIZATION];
    const running = new Running([...create, "--config", config]);
    assert.equal(await running.ended, 0, running.stderr);
    return running.stdout.trim();
  }

  /** A client whose server URL ends with the mount; without a key it calls without one. */
  client(mount, apiKey) {
    return new OpenRouter({ serverURL: this.url + mount, apiKey }).apiKeys;
  }

  /** A client with the management key. */
  manager(mount) {
    return this.client(mount, this.env.MANAGEMENT_KEY);
  }

  /** Runs statements on the database behind Keyward's back. */
  tamper(sql) {
    const script = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).executescript(sys.argv[2])";
    run("python3", ["-c", script, join(this.#directory, "keyward.db"), sql]);
  }

  /** Asks Keyward to end, which it does in order. */
  async stop() {
    const running = this.#running;
    if (!running) return;
    this.#running = undefined;
    running.terminate();
    assert.equal(await running.ended, 0, running.stderr);
  }

  /** Stops, and leaves nothing behind. */
  async close() {
    try {
      await this.stop();
    } finally {
      if (this.#directory) await rm(this.#directory, { recursive: true, force: true });
    }
  }

  async #configure(more) {
    const inside = (name) => join(this.#directory, name);
    // A TOML string, whose escapes are those of JSON.
    const file = (name) => JSON.stringify(inside(name));
    const path = inside("keyward.toml");
    const text = `
[server]
listen = "127.0.0.1:0"
[database]
url = "sqlite://${pathToFileURL(inside("keyward.db")).pathname}"
[vault]
keyring_file = ${file("keyring.json")}
[auth.session]
issuer = "https://keyward.example"
audience = "keyward"
jwks = ${file("jwks.json")}
[log]
format = "json"
${more}`;
    await writeFile(path, text);
    return path;
  }
}

/** Expects the SDK to raise that class and no other, made of a body that says this and no more. */
export async function raises(call, ErrorClass, code, message) {
  const error = await call().then(
    () => assert.fail("it was not rejected"),
    (error) => error,
  );
  assert.equal(error.constructor, ErrorClass, String(error));
  assert.equal(error.statusCode, code);
  assert.equal(error.contentType, "application/json");
  assert.deepEqual(JSON.parse(error.body), { error: { code, message } });
  // An error that the SDK has no class for has only the text of its body.
  if (ErrorClass !== OpenRouterDefaultError) {
    assert.deepEqual(error.error, { code, message });
    assert.equal(error.message, message);
  }
  return error;
}

/** Every operation, as a call that the key's client makes of a key by its hash. */
export const OPERATIONS = {
  getCurrentKeyMetadata: (client, _hash, options) => client.getCurrentKeyMetadata({}, options),
  list: (client, _hash, options) => client.list({}, options),
  create: (client, _hash, options) => client.create({ requestBody: { name: "one more" } }, options),
  get: (client, hash, options) => client.get({ hash }, options),
  update: (client, hash, options) =>
    client.update({ hash, requestBody: { name: "another name" } }, options),
  delete: (client, hash, options) => client.delete({ hash }, options),
};
