import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { before, it } from "node:test";

import { MOUNTS, UNUSED, suite } from "./support.js";

const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

for (const mount of MOUNTS) {
  suite(`keys at the server URL "…${mount}"`, (keyward) => {
    let keys;
    before(() => (keys = keyward.manager(mount)));

    const create = (requestBody) => keys.create({ requestBody });
    const update = async (hash, requestBody) => (await keys.update({ hash, requestBody })).data;

    it("creates a key with every option", async () => {
      const expiresAt = new Date(Date.UTC(2100, 0, 2, 3, 4, 5, 678));
      const { data, key } = await keys.create({
        appCategories: "tests",
        appTitle: "Keyward's tests",
        httpReferer: "https://keyward.example",
        requestBody: {
          creatorUserId: "user-1",
          expiresAt,
          external: { apiKey: "their name for the key", user: "their user" },
          includeByokInLimit: true,
          limit: 12.345678901,
          limitReset: "weekly",
          name: "with every option",
          workspaceId: keyward.env.WORKSPACE_B,
        },
      });
      assert.match(key, /^sk-kw-v1-/);
      assert.match(data.createdAt, TIMESTAMP);
      assert.deepEqual(data, {
        ...UNUSED,
        createdAt: data.createdAt,
        creatorUserId: "user-1",
        disabled: false,
        expiresAt,
        externalUser: "their user",
        hash: createHash("sha256").update(key).digest("hex"),
        includeByokInLimit: true,
        label: `${key.slice(0, 12)}...${key.slice(-4)}`,
        limit: 12.345678901,
        limitRemaining: 12.345678901,
        limitReset: "weekly",
        name: "with every option",
        updatedAt: null,
        workspaceId: keyward.env.WORKSPACE_B,
      });
      assert.deepEqual(await keys.get({ hash: data.hash }), { data });
    });

    it("creates a key with a name alone", async () => {
      const { data, key } = await create({ name: "plain" });
      assert.deepEqual(data, {
        ...UNUSED,
        createdAt: data.createdAt,
        creatorUserId: null,
        disabled: false,
        expiresAt: null,
        externalUser: null,
        hash: createHash("sha256").update(key).digest("hex"),
        includeByokInLimit: false,
        label: data.label,
        limit: null,
        limitRemaining: null,
        limitReset: null,
        name: "plain",
        updatedAt: null,
        workspaceId: keyward.env.WORKSPACE_A,
      });
      assert.deepEqual(await keys.get({ hash: data.hash }), { data });
    });

    it("takes null for what may be unset", async () => {
      const unset = { creatorUserId: null, expiresAt: null, limit: null, limitReset: null };
      const { data } = await create({ name: "nulls", ...unset });
      for (const [member, value] of Object.entries(unset)) assert.equal(data[member], value, member);
    });

    it("takes every limit and every reset that the SDK knows", async () => {
      // JavaScript writes the second as 1e-9.
      for (const limit of [0, 0.000000001, 0.1, 1, 1e6]) {
        const { data } = await create({ name: "limited", limit });
        assert.deepEqual([data.limit, data.limitRemaining], [limit, limit]);
      }
      for (const limitReset of ["daily", "weekly", "monthly"]) {
        const { data } = await create({ name: "reset", limit: 1, limitReset });
        assert.equal(data.limitReset, limitReset);
      }
    });

    it("keeps what an update does not name, and removes what it sets to null", async () => {
      const limits = { limit: 7.5, limitReset: "daily" };
      const { data } = await create({ name: "before", ...limits });
      const { hash } = data;

      const renamed = await update(hash, { name: "after" });
      assert.match(renamed.updatedAt, TIMESTAMP);
      assert.deepEqual(renamed, { ...data, name: "after", updatedAt: renamed.updatedAt });

      const free = await update(hash, { limit: null });
      const unlimited = { limit: null, limitRemaining: null };
      assert.deepEqual(free, { ...renamed, ...unlimited, updatedAt: free.updatedAt });

      const steady = await update(hash, { limitReset: null });
      assert.deepEqual(steady, { ...free, limitReset: null, updatedAt: steady.updatedAt });

      const again = await update(hash, { ...limits, limit: 3 });
      const limited = { limit: 3, limitRemaining: 3, limitReset: "daily" };
      assert.deepEqual(again, { ...steady, ...limited, updatedAt: again.updatedAt });

      const nothing = await update(hash, {});
      assert.deepEqual(nothing, again);
      assert.deepEqual(await keys.get({ hash }), { data: again });
    });

    it("changes everything at once", async () => {
      const { data } = await create({ name: "before" });
      const changes = {
        disabled: true,
        includeByokInLimit: true,
        limit: 2,
        limitReset: "monthly",
        name: "all changed",
      };
      const changed = await update(data.hash, changes);
      const { updatedAt } = changed;
      assert.deepEqual(changed, { ...data, ...changes, limitRemaining: 2, updatedAt });
    });

    it("disables a key and enables it again", async () => {
      const { data } = await create({ name: "on and off" });
      for (const disabled of [true, false]) {
        assert.equal((await update(data.hash, { disabled })).disabled, disabled);
        assert.equal((await keys.get({ hash: data.hash })).data.disabled, disabled);
      }
    });

    it("deletes a key", async () => {
      const { data } = await create({ name: "to go" });
      const listed = async () => (await keys.list()).data.some(({ hash }) => hash === data.hash);
      assert.equal(await listed(), true);
      assert.deepEqual(await keys.delete({ hash: data.hash }), { deleted: true });
      assert.equal(await listed(), false);
    });
  });
}
