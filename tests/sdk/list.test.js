import assert from "node:assert/strict";
import { before, describe, it } from "node:test";

import { MOUNTS, suite } from "./support.js";

const PAGE = 100;
const AT_ONCE = 11;
/** More than two pages and a half. */
const MANY = 23 * AT_ONCE;

suite("lists of keys", (keyward) => {
  let many;
  let few;

  before(async () => {
    const keys = keyward.manager("");
    const create = async (name, workspaceId) =>
      (await keys.create({ requestBody: { name, workspaceId } })).data;
    few = [await create("a"), await create("b"), await create("c")].reverse();
    const { hash } = few[1];
    few[1] = (await keys.update({ hash, requestBody: { disabled: true } })).data;

    many = [];
    while (many.length < MANY) {
      const names = Array.from({ length: AT_ONCE }, (_, i) => `key ${many.length + i}`);
      many.push(...(await Promise.all(names.map((n) => create(n, keyward.env.WORKSPACE_B)))));
    }
  });

  for (const mount of MOUNTS) {
    describe(`at the server URL "…${mount}"`, () => {
      const list = async (filter) => (await keyward.manager(mount).list(filter)).data;
      const inB = (filter) => list({ workspaceId: keyward.env.WORKSPACE_B, ...filter });
      const enabled = () => few.filter((key) => !key.disabled);

      it("have the default workspace's enabled keys, newest first", async () => {
        assert.deepEqual(await list(), enabled());
        assert.deepEqual(await list({}), enabled());
        assert.deepEqual(await list({ includeDisabled: false }), enabled());
      });

      it("have disabled keys too where that is asked", async () => {
        assert.deepEqual(await list({ includeDisabled: true }), few);
      });

      it("have the named workspace's keys", async () => {
        assert.deepEqual(await list({ workspaceId: keyward.env.WORKSPACE_A }), enabled());
        const hashes = new Set(many.map(({ hash }) => hash));
        assert.ok((await inB()).every(({ hash }) => hashes.has(hash)));
      });

      it("begin at the offset", async () => {
        assert.deepEqual(await list({ offset: 0 }), enabled());
        assert.deepEqual(await list({ offset: null }), enabled());
        assert.deepEqual(await list({ offset: 1 }), enabled().slice(1));
        assert.deepEqual(await list({ offset: 2, includeDisabled: true }), few.slice(2));
      });

      it("have each of many keys once, page by page", async () => {
        const listed = [];
        const sizes = [];
        for (let size = PAGE; size === PAGE; ) {
          const page = await inB({ offset: listed.length });
          listed.push(...page);
          sizes.push((size = page.length));
        }
        assert.deepEqual(sizes, [PAGE, PAGE, MANY - 2 * PAGE]);
        assert.deepEqual(await inB({ offset: MANY }), []);

        const byHash = (keys) => [...keys].sort((a, b) => (a.hash < b.hash ? -1 : 1));
        assert.deepEqual(byHash(listed), byHash(many));
        const created = listed.map(({ createdAt }) => createdAt);
        assert.deepEqual(created, [...created].sort().reverse());
      });
    });
  }
});
