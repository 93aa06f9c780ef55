// Tests of a page of another origin in a real browser: the calls that it can make, and the responses that it can read.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Stage } from "./support.js";

/** After this time a test fails instead of waiting for ever. */
const PATIENCE = { timeout: 120_000 };
const LINKED = "API key is in use by 1 bucket and 0 AI models";

const stage = new Stage();
const grpc = (service) => (method, request, token, more) =>
  stage.act("call", { service, method, request, token, ...more });
const apiKeys = grpc("ApiKeyService");
const repoAiKeys = grpc("RepoAiKeyService");
const managementKeys = grpc("ManagementKeyService");
const rest = (method, path, token, body, more) =>
  stage.act("rest", { method, path, token, body, ...more });

const hasRequestId = ({ headers }) => assert.match(headers["x-request-id"], /^[0-9a-f-]{36}$/);

/** An error of gRPC with one ErrorInfo, ours. */
function rejects({ error }, code, reason, message) {
  assert.ok(error, "it was not rejected");
  assert.deepEqual([error.code, error.message], [code, message]);
  assert.deepEqual(error.errorInfo, [{ reason, domain: "keyward" }]);
  hasRequestId(error);
}

describe("a page of an allowed origin", PATIENCE, () => {
  before(() => stage.start(), PATIENCE);

  describe("over gRPC-Web", PATIENCE, () => {
    it("creates, lists and deletes provider keys", async () => {
      const { ADMIN_TOKEN, WORKSPACE_A } = stage.env;
      const key = { workspaceId: WORKSPACE_A, provider: "AWS", key: "web", secret: "s", region: "eu" };
      const created = await apiKeys("createApiKey", key, ADMIN_TOKEN);
      assert.equal(created.message.success, true);
      hasRequestId(created);
      const uuid = created.message.apiKeyId;
      const listed = await apiKeys("listApiKeys", { workspaceId: WORKSPACE_A }, ADMIN_TOKEN);
      const [found] = listed.message.apiKeys.filter(({ id }) => id === uuid);
      assert.deepEqual([found.key, found.provider, found.region], ["web", "AWS", "eu"]);
      const deleted = await apiKeys("deleteApiKey", { uuid }, ADMIN_TOKEN);
      assert.equal(deleted.message.success, true);
    });

    it("reads which field is at fault", async () => {
      const key = { provider: "AWS", key: "k", secret: "s" };
      const rejected = await apiKeys("createApiKey", key, stage.env.ADMIN_TOKEN);
      rejects(rejected, "InvalidArgument", "FIELD_REQUIRED", "Workspace ID is required");
      const violations = [{ field: "workspaceId", description: "Workspace ID is required" }];
      assert.deepEqual(rejected.error.badRequest, violations);
    });

    it("reads what blocks a delete", async () => {
      const { ADMIN_TOKEN, SERVICE_TOKEN, WORKSPACE_A } = stage.env;
      const key = { workspaceId: WORKSPACE_A, provider: "AWS", key: "linked", secret: "s" };
      const uuid = (await apiKeys("createApiKey", key, ADMIN_TOKEN)).message.apiKeyId;
      const link = { uuid, resourceKind: 1, resourceId: "photos" };
      assert.ok((await apiKeys("linkApiKey", link, SERVICE_TOKEN)).message);
      const rejected = await apiKeys("deleteApiKey", { uuid }, ADMIN_TOKEN);
      rejects(rejected, "FailedPrecondition", "API_KEY_IN_USE", LINKED);
      const blocking = [{ type: "LINKED", subject: "buckets", description: "1 linked" }];
      assert.deepEqual(rejected.error.preconditions, blocking);
    });

    it("creates, lists and renames repo AI keys", async () => {
      const { ADMIN_TOKEN, REPO_A } = stage.env;
      const create = { repoId: REPO_A, name: "from a page", aiType: 1 };
      const created = await repoAiKeys("createRepoAiKey", create, ADMIN_TOKEN);
      assert.match(created.message.key, /^FB_AI_/);
      hasRequestId(created);
      const rename = { repoId: REPO_A, apikeyId: created.message.id, name: "renamed" };
      assert.equal((await repoAiKeys("updateRepoAiKey", rename, ADMIN_TOKEN)).message.success, true);
      const listed = await repoAiKeys("listRepoAiKeys", { repoId: REPO_A }, ADMIN_TOKEN);
      assert.deepEqual(listed.message.apiKeys.map(({ name }) => name), ["renamed"]);
      const unknown = { repoId: REPO_A, apikeyId: "unknown", name: "n" };
      const rejected = await repoAiKeys("updateRepoAiKey", unknown, ADMIN_TOKEN);
      rejects(rejected, "NotFound", "API_KEY_NOT_FOUND", "API key not found");
    });

    it("issues keys with limits, and reads an issued key's own figures", async () => {
      const { MANAGEMENT_KEY } = stage.env;
      const create = { name: "from a page", limitNanos: "5000000000" };
      const created = await managementKeys("createKey", create, MANAGEMENT_KEY);
      assert.match(created.message.key, /^sk-kw-v1-/);
      const { hash } = created.message.data;
      const got = await managementKeys("getKey", { hash }, MANAGEMENT_KEY);
      assert.equal(got.message.data.limitNanos, "5000000000");
      const current = await managementKeys("getCurrentKey", {}, created.message.key);
      assert.equal(current.message.data.limitRemainingNanos, "5000000000");
      hasRequestId(current);
      const denied = await managementKeys("listKeys", {}, created.message.key);
      assert.equal(denied.error.code, "PermissionDenied");
    });

    it("receives the error for a missing token, in the words of each service", async () => {
      const missing = (answer, message) => rejects(answer, "Unauthenticated", "TOKEN_MISSING", message);
      missing(await apiKeys("listApiKeys", {}), "User not found or not validated");
      missing(await repoAiKeys("listRepoAiKeys", { repoId: "r" }), "User not found or not validated");
      missing(await managementKeys("listKeys", {}), "Missing Authentication header");
    });

    it("sends the headers of tracing, and gets its request id back", async () => {
      const headers = {
        "x-request-id": "page-1",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      };
      const answer = await apiKeys("listApiKeys", {}, stage.env.ADMIN_TOKEN, { headers });
      assert.equal(answer.headers["x-request-id"], "page-1");
    });

    it("watches a stream, and leaves it", async () => {
      const service = "keyward.v1.ApiKeyService";
      const open = await stage.act("watch", { service });
      assert.deepEqual(await stage.act("statuses", { stream: open, count: 1 }), ["SERVING"]);
      const stream = await stage.act("watch", { service, abortAfter: 1 });
      const left = await stage.act("ending", { stream });
      assert.deepEqual([left.statuses, left.error?.code], [["SERVING"], "Canceled"]);
    });

    it("watches a stream until its deadline", async () => {
      const stream = await stage.act("watch", { service: "nothing", timeoutMs: 300 });
      const { statuses, error } = await stage.act("ending", { stream });
      assert.deepEqual([statuses, error.code], [["SERVICE_UNKNOWN"], "DeadlineExceeded"]);
    });
  });

  describe("with fetch", PATIENCE, () => {
    it("creates, lists, changes and deletes over REST", async () => {
      const { ADMIN_TOKEN, WORKSPACE_A } = stage.env;
      const key = { workspaceId: WORKSPACE_A, provider: "GCP", key: "rest", secret: "s" };
      const created = await rest("POST", "/apikeys", ADMIN_TOKEN, key);
      assert.equal(created.status, 201);
      hasRequestId(created);
      const path = `/apikeys/${created.body.apiKeyId}`;
      const changed = await rest("PUT", path, ADMIN_TOKEN, { region: "eu" });
      assert.deepEqual([changed.status, changed.body.success], [200, true]);
      const listed = await rest("GET", `/apikeys?workspaceId=${WORKSPACE_A}`, ADMIN_TOKEN);
      const [found] = listed.body.apiKeys.filter(({ id }) => id === created.body.apiKeyId);
      assert.deepEqual([found.key, found.region], ["rest", "eu"]);
      assert.equal((await rest("DELETE", path, ADMIN_TOKEN)).status, 200);
    });

    it("administers repo AI keys and issued keys over REST", async () => {
      const { ADMIN_TOKEN, MANAGEMENT_KEY, REPO_A } = stage.env;
      const repo = `/repo/${REPO_A}/ai/apikey`;
      const ai = await rest("POST", repo, ADMIN_TOKEN, { name: "rest", aiType: "OPENAI" });
      assert.equal(ai.status, 201);
      assert.equal((await rest("DELETE", `${repo}/${ai.body.id}`, ADMIN_TOKEN)).status, 200);
      const issued = await rest("POST", "/keys", MANAGEMENT_KEY, { name: "rest", limit: 1 });
      assert.equal(issued.status, 201);
      const path = `/api/v1/keys/${issued.body.data.hash}`;
      const patched = await rest("PATCH", path, MANAGEMENT_KEY, { limit: null });
      assert.deepEqual([patched.status, patched.body.data.limit], [200, null]);
    });

    it("reads rejections in the body of the path's family", async () => {
      const { ADMIN_TOKEN } = stage.env;
      const flashback = (message) => ({ success: false, message });
      for (const [answer, status, body] of [
        [await rest("GET", "/apikeys"), 401, flashback("User not found or not validated")],
        [await rest("POST", "/apikeys", ADMIN_TOKEN, {}), 400, flashback("Workspace ID is required")],
        [await rest("DELETE", "/apikeys/unknown", ADMIN_TOKEN), 404, flashback("API key not found")],
        [await rest("DELETE", "/apikeys", ADMIN_TOKEN), 405, flashback("Method not allowed")],
        [
          await rest("GET", "/keys"),
          401,
          { error: { code: 401, message: "Missing Authentication header" } },
        ],
      ]) {
        assert.deepEqual([answer.status, answer.body], [status, body]);
        hasRequestId(answer);
        if (status === 401) assert.equal(answer.headers["www-authenticate"], "Bearer");
        if (status === 405) assert.match(answer.headers.allow, /GET.*POST/);
      }
    });

    it("reads what is open to all", async () => {
      assert.deepEqual((await rest("GET", "/healthz")).body, { status: "ok" });
    });

    it("asks once before many calls of one kind", async () => {
      const before = await stage.logged("OPTIONS");
      const path = "/keys?offset=7";
      for (let turn = 0; turn < 5; turn += 1) {
        assert.equal((await rest("GET", path, stage.env.MANAGEMENT_KEY)).status, 200);
      }
      assert.equal((await stage.logged("OPTIONS")) - before, 1);
    });

    it("may not send cookies", async () => {
      const token = stage.env.ADMIN_TOKEN;
      const answer = await rest("GET", "/apikeys", token, undefined, { credentials: "include" });
      assert.deepEqual(answer, { rejected: "TypeError" });
    });
  });

  describe("beside a page of another origin", PATIENCE, () => {
    it("which the browser lets read nothing", async () => {
      const { ADMIN_TOKEN } = stage.env;
      for (const parameters of [
        { path: "/apikeys", token: ADMIN_TOKEN },
        { path: "/apikeys", method: "POST", token: ADMIN_TOKEN, body: {} },
        { path: "/healthz" },
      ]) {
        const answer = await stage.act("rest", parameters, stage.otherPage);
        assert.deepEqual(answer, { rejected: "TypeError" });
      }
      const posts = await stage.logged("POST");
      const parameters = { service: "ApiKeyService", method: "listApiKeys", token: ADMIN_TOKEN };
      const { error } = await stage.act("call", parameters, stage.otherPage);
      assert.deepEqual([error.code, error.errorInfo, error.headers], ["Unknown", [], {}]);
      // Its preflight was rejected, and so the call itself never came.
      assert.equal(await stage.logged("POST"), posts);
    });
  });

  it("receives the shutdown over its streams", async () => {
    const stream = await stage.act("watch");
    assert.deepEqual(await stage.act("statuses", { stream, count: 1 }), ["SERVING"]);
    stage.running.terminate();
    const { statuses, error } = await stage.act("ending", { stream });
    assert.deepEqual(statuses, ["SERVING", "NOT_SERVING"]);
    assert.deepEqual([error.code, error.message], ["Unavailable", "The server is shutting down"]);
    assert.deepEqual(error.errorInfo, [{ reason: "SHUTTING_DOWN", domain: "keyward" }]);
    assert.equal(await stage.running.ended, 0, stage.running.stderr);
  });

  after(() => stage.close());
});
