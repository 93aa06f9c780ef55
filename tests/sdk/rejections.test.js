import assert from "node:assert/strict";
import { before, describe, it } from "node:test";

import {
  BadRequestResponseError,
  ForbiddenResponseError,
  NotFoundResponseError,
  OpenRouterDefaultError,
  UnauthorizedResponseError,
} from "@openrouter/sdk/models/errors";

import { MOUNTS, OPERATIONS, UNKNOWN_HASH, raises, suite } from "./support.js";

const UNKNOWN_RESET = "`limit_reset` must be one of daily, weekly, monthly";
const DENIED = "Insufficient permissions";
const LIMIT_RANGE =
  "Limit must be from 0 to 9000000000 US dollars, with at most 9 decimal places";

/** Repeats the call until it fails, ten seconds at most. */
async function untilRejected(call) {
  const end = Date.now() + 10_000;
  while (Date.now() < end) {
    try {
      await call();
    } catch {
      return;
    }
  }
  assert.fail("the call still succeeds");
}

suite("rejections", (keyward) => {
  for (const mount of MOUNTS) {
    describe(`at the server URL "…${mount}"`, () => {
      let keys;
      before(() => (keys = keyward.manager(mount)));
      const create = (requestBody) => keys.create({ requestBody: { name: "a key", ...requestBody } });

      it("are BadRequest where a field does not fit", async () => {
        const { data } = await create();
        const change = (requestBody) => keys.update({ hash: data.hash, requestBody });
        const cases = [
          ["Name is required", () => create({ name: "" })],
          [LIMIT_RANGE, () => create({ limit: -1 })],
          [UNKNOWN_RESET, () => create({ limitReset: "yearly" })],
          ["External user is required", () => create({ external: { user: "" } })],
          ["Name is required", () => change({ name: "" })],
          [LIMIT_RANGE, () => change({ limit: -0.5 })],
          [UNKNOWN_RESET, () => change({ limitReset: "hourly" })],
          ["Offset must not be negative", () => keys.list({ offset: -1 })],
        ];
        for (const [message, call] of cases) {
          await raises(call, BadRequestResponseError, 400, message);
        }
        assert.deepEqual(await keys.get({ hash: data.hash }), { data });
      });

      it("are Unauthorized without a key that works", async () => {
        const { data: target } = await create();
        const expired = await create({ expiresAt: new Date(Date.now() + 1000) });
        const disabled = await create();
        await keys.update({ hash: disabled.data.hash, requestBody: { disabled: true } });
        const deleted = await create();
        await keys.delete({ hash: deleted.data.hash });
        const typo = disabled.key.slice(0, -1) + (disabled.key.endsWith("0") ? "1" : "0");
        const { getCurrentKeyMetadata } = OPERATIONS;
        await untilRejected(() => getCurrentKeyMetadata(keyward.client(mount, expired.key)));
        const callers = [
          [undefined, "Missing Authentication header"],
          ["garbage", "Invalid token"],
          [typo, "Invalid token"],
          [expired.key, "Invalid token"],
          [disabled.key, "Invalid token"],
          [deleted.key, "Invalid token"],
        ];
        for (const [key, message] of callers) {
          const client = keyward.client(mount, key);
          for (const operation of Object.values(OPERATIONS)) {
            const call = () => operation(client, target.hash);
            await raises(call, UnauthorizedResponseError, 401, message);
          }
        }
        assert.deepEqual(await keys.get({ hash: target.hash }), { data: target });
      });

      it("are Forbidden where an ordinary key would issue keys", async () => {
        const { data, key } = await create();
        const ordinary = keyward.client(mount, key);
        const { getCurrentKeyMetadata, create: issue, ...undeclared } = OPERATIONS;
        await getCurrentKeyMetadata(ordinary);
        await raises(() => issue(ordinary), ForbiddenResponseError, 403, DENIED);
        // The SDK knows no 403 of the others.
        for (const operation of Object.values(undeclared)) {
          await raises(() => operation(ordinary, data.hash), OpenRouterDefaultError, 403, DENIED);
        }
      });

      it("are Forbidden for a workspace that is not the organization's or not there", async () => {
        for (const workspaceId of ["other-a", "nowhere"]) {
          await raises(() => create({ workspaceId }), ForbiddenResponseError, 403, DENIED);
          await raises(() => keys.list({ workspaceId }), OpenRouterDefaultError, 403, DENIED);
        }
      });

      it("are NotFound for a key that is not the organization's or not there", async () => {
        const other = keyward.client(mount, await keyward.otherManagementKey());
        const { data: theirs } = await other.create({ requestBody: { name: "theirs" } });
        const { data: deleted } = await create();
        await keys.delete({ hash: deleted.hash });
        for (const hash of [UNKNOWN_HASH, "no hash", theirs.hash, deleted.hash]) {
          for (const name of ["get", "update", "delete"]) {
            const call = () => OPERATIONS[name](keys, hash);
            await raises(call, NotFoundResponseError, 404, "API key not found");
          }
        }
        assert.deepEqual(await other.get({ hash: theirs.hash }), { data: theirs });
      });
    });
  }
});
