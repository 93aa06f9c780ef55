import assert from "node:assert/strict";
import { before, it } from "node:test";

import { MOUNTS, UNKNOWN_HASH, suite } from "./support.js";

suite("both mounts", (keyward) => {
  let issued;
  before(async () => {
    const requestBody = { name: "key", limit: 1.5, limitReset: "daily" };
    issued = await keyward.manager("").create({ requestBody });
  });

  /** What both answer to the same request, without and with its headers and body. */
  async function answers(method, path, { key = keyward.env.MANAGEMENT_KEY, json } = {}) {
    const headers = { "content-type": "application/json" };
    if (key) headers.authorization = `Bearer ${key}`;
    const body = json && JSON.stringify(json);
    const answer = async (mount) => {
      const response = await fetch(keyward.url + mount + path, { method, headers, body });
      const { status } = response;
      const type = response.headers.get("content-type");
      return { status, type, body: await response.text() };
    };
    return [await answer(MOUNTS[0]), await answer(MOUNTS[1])];
  }

  it("answer with the same bodies", async () => {
    const one = `/keys/${issued.data.hash}`;
    const requests = [
      [200, "GET", "/key"],
      [200, "GET", "/key", { key: issued.key }],
      [200, "GET", "/keys"],
      [200, "GET", "/keys?include_disabled=true&offset=0"],
      [200, "GET", one],
      [200, "PATCH", one, { json: {} }],
      [400, "POST", "/keys", { json: { name: "" } }],
      [400, "PATCH", one, { json: { limit: "a text" } }],
      [401, "GET", "/keys", { key: null }],
      [403, "GET", "/keys", { key: issued.key }],
      [404, "DELETE", `/keys/${UNKNOWN_HASH}`],
      [405, "PUT", "/keys"],
    ];
    for (const [status, method, path, more] of requests) {
      const [without, with_] = await answers(method, path, more);
      assert.deepEqual(without, with_, `${method} ${path}`);
      assert.equal(without.status, status, `${method} ${path}: ${without.body}`);
    }
  });

  it("issue and delete keys with the same members", async () => {
    const created = await answers("POST", "/keys", { json: { name: "created" } });
    const [a, b] = created.map(({ body }) => JSON.parse(body));
    assert.deepEqual([created[0].status, created[1].status], [201, 201]);
    const members = ({ data, ...beside }) => [Object.keys(data), Object.keys(beside)];
    assert.deepEqual(members(a), members(b));
    for (const { data } of [a, b]) {
      const [first, second] = await answers("DELETE", `/keys/${data.hash}`);
      assert.equal(first.body, '{"deleted":true}');
      // A key that one of them deletes is gone from the other.
      assert.equal(second.status, 404);
    }
  });
});
