// A browser, pages of two origins, and a Keyward that allows one of them.

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { chromium } from "playwright-core";

import { dev } from "../node/program.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The page's script, with the code that buf makes of the proto files. */
async function script() {
  const buf = join(HERE, "../buf/node_modules/.bin/buf");
  const { status, stderr } = spawnSync(buf, ["generate"], { cwd: HERE, encoding: "utf8" });
  if (status !== 0) throw new Error(`buf generate failed: ${stderr}`);
  const bundle = await build({
    entryPoints: [join(HERE, "page.js")],
    bundle: true,
    format: "esm",
    write: false,
  });
  return bundle.outputFiles[0].text;
}

/** Serves the page at an origin of its own. */
async function serve(text) {
  const server = createServer((request, response) => {
    const [type, body] =
      request.url === "/page.js"
        ? ["text/javascript", text]
        : ["text/html", '<!doctype html><title>A page</title><script type="module" src="/page.js"></script>'];
    response.writeHead(200, { "content-type": `${type}; charset=utf-8` }).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

function executable() {
  if (process.env.CHROMIUM_BIN) return process.env.CHROMIUM_BIN;
  const found = BROWSERS.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error("Chromium is not installed (Debian: apt-get install chromium)");
  return found;
}

/** All of it, and its end. */
export class Stage {
  #open = [];
  #marks = 0;

  async start() {
    try {
      const text = await script();
      const [home, elsewhere] = [await this.#serve(text), await this.#serve(text)];
      await this.#keyward(home);
      const browser = await chromium.launch({
        executablePath: executable(),
        // Chromium has no sandbox for root. The test serves the only page.
        args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
      });
      this.#open.push(() => browser.close());
      this.page = await this.#visit(browser, home);
      this.otherPage = await this.#visit(browser, elsewhere);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #serve(text) {
    const { server, origin } = await serve(text);
    this.#open.push(() => {
      server.closeAllConnections?.();
      server.close();
    });
    return origin;
  }

  async #keyward(origin) {
    const directory = await mkdtemp(join(tmpdir(), "keyward-browser-"));
    this.#open.push(() => rm(directory, { recursive: true, force: true }));
    const { running, url, env } = await dev(directory, {
      KEYWARD_CORS__ALLOWED_ORIGINS: JSON.stringify([origin]),
      // A line for each call.
      KEYWARD_LOG__FILTER: "keyward=info",
      KEYWARD_LOG__FORMAT: "json",
    });
    this.#open.push(async () => {
      running.terminate();
      await running.ended;
    });
    Object.assign(this, { running, url, env });
  }

  async #visit(browser, origin) {
    const page = await browser.newPage();
    await page.goto(origin);
    await page.waitForFunction(() => globalThis.keyward);
    return page;
  }

  /** Has a page do something that page.js knows; by default that of the allowed origin. */
  act(what, parameters = {}, page = this.page) {
    return page.evaluate(([what, parameters]) => globalThis.keyward[what](parameters), [
      what,
      { url: this.url, ...parameters },
    ]);
  }

  /** How many calls of an HTTP method Keyward has answered. */
  async logged(method) {
    // Earlier log lines have arrived when the line of this call has.
    const id = `mark-${(this.#marks += 1)}`;
    await fetch(`${this.url}/healthz`, { headers: { "x-request-id": id } });
    const whole = new RegExp(`"request_id":"${id}".*\n`);
    await this.running.waitFor(() => whole.exec(this.running.stderr) ?? undefined);
    const lines = this.running.stderr.split("\n").filter((line) => line.includes('"keyward::access"'));
    return lines.filter((line) => line.includes(`"method":"${method}"`)).length;
  }

  async close() {
    while (this.#open.length > 0) await this.#open.pop()();
  }
}
