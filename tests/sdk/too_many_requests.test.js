import assert from "node:assert/strict";
import { before, it } from "node:test";
import { setTimeout } from "node:timers/promises";

import {
  NotFoundResponseError,
  TooManyRequestsResponseError,
} from "@openrouter/sdk/models/errors";

import { MOUNTS, OPERATIONS, UNKNOWN_HASH, raises, suite } from "./support.js";

/** More calls than a machine can be too slow for. */
const MANY = 100;

suite("too many requests", (keyward) => {
  before(async () => {
    await keyward.stop();
    await keyward.serve("[limits]\ncaller_requests_per_second = 1\ncaller_burst = 1");
  });

  for (const mount of MOUNTS) {
    // The SDK knows no 429 of the current key's metadata.
    for (const name of ["list", "create", "get", "update", "delete"]) {
      it(`are rejected to ${name} at "…${mount}"`, async () => {
        const keys = keyward.manager(mount);
        await rejected(() => OPERATIONS[name](keys, UNKNOWN_HASH));
      });
    }

    it(`are let through after the time that Retry-After says, at "…${mount}"`, async () => {
      const keys = keyward.manager(mount);
      const { headers } = await rejected(() => keys.list());
      assert.equal(headers.get("retry-after"), "1");
      await setTimeout(1000);
      await keys.list();
    });
  }
});

/** Calls until a call is rejected: the second, unless a second passes between them. */
async function rejected(call) {
  const exhaust = async () => {
    for (let calls = 0; calls < MANY; calls++) {
      await call().catch((error) => {
        if (!(error instanceof NotFoundResponseError)) throw error;
      });
    }
  };
  return raises(exhaust, TooManyRequestsResponseError, 429, "Too many requests");
}
