import assert from "node:assert/strict";
import { before, it } from "node:test";

import { InternalServerResponseError } from "@openrouter/sdk/models/errors";

import { MOUNTS, OPERATIONS, raises, suite } from "./support.js";

/** Without it the SDK tries again for an hour. */
const ONCE = { retries: { strategy: "none" } };

suite("internal errors", (keyward) => {
  let target;
  let key;
  before(async () => {
    const requestBody = { name: "target" };
    ({ data: target, key } = await keyward.manager("").create({ requestBody }));
  });

  /** Has the named operations fail on a damaged database, which is then repaired. */
  async function fail(names, damage, repair, client) {
    keyward.tamper(damage);
    try {
      for (const name of names) {
        const call = () => OPERATIONS[name](client, target.hash, ONCE);
        await raises(call, InternalServerResponseError, 500, "Internal server error");
      }
    } finally {
      keyward.tamper(repair);
    }
    // That it was the damage, and that no call left anything.
    const { data } = await keyward.manager("").list();
    assert.deepEqual(data, [target]);
  }

  for (const mount of MOUNTS) {
    it(`are raised for a row that cannot be read, at "…${mount}"`, async () => {
      const damage = "UPDATE issued_keys SET limit_reset = 'never'";
      const repair = "UPDATE issued_keys SET limit_reset = NULL";
      await fail(["list", "get", "update"], damage, repair, keyward.manager(mount));
      await fail(["getCurrentKeyMetadata"], damage, repair, keyward.client(mount, key));
    });

    it(`are raised for a change that cannot be audited, at "…${mount}"`, async () => {
      const damage = "ALTER TABLE audit_events RENAME TO lost";
      const repair = "ALTER TABLE lost RENAME TO audit_events";
      await fail(["create", "update", "delete"], damage, repair, keyward.manager(mount));
    });
  }
});
