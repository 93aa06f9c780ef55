import assert from "node:assert/strict";
import { it } from "node:test";

import { MOUNTS, UNUSED, suite } from "./support.js";

/** Members that are equal for all keys without usage. */
const constant = (keyward) => ({
  ...UNUSED,
  allowedDataRegions: [],
  freeModelDailyRequests: { limit: 0, remaining: 0, used: 0 },
  isFreeTier: false,
  organizationId: keyward.env.ORGANIZATION_ID,
  rateLimit: {
    interval: "10s",
    note: "This field is deprecated and safe to ignore.",
    requests: -1,
  },
});
/** Members of a key that was created with a name alone. */
const unlimited = (keyward) => ({
  creatorUserId: null,
  expiresAt: null,
  includeByokInLimit: false,
  limit: null,
  limitRemaining: null,
  limitReset: null,
  workspaceId: keyward.env.WORKSPACE_A,
});

suite("the current key's metadata", (keyward) => {
  for (const mount of MOUNTS) {
    it(`describes an issued key at "…${mount}"`, async () => {
      const options = {
        creatorUserId: "user-1",
        expiresAt: new Date(Date.UTC(2100, 0, 1)),
        includeByokInLimit: true,
        limit: 4.25,
        limitReset: "monthly",
        workspaceId: keyward.env.WORKSPACE_B,
      };
      const requestBody = { name: "current", ...options };
      const { data, key } = await keyward.manager(mount).create({ requestBody });
      const current = await keyward.client(mount, key).getCurrentKeyMetadata();
      const is = { isManagementKey: false, isProvisioningKey: false, label: data.label };
      const expected = { ...constant(keyward), ...options, ...is, limitRemaining: 4.25 };
      assert.deepEqual(current, { data: expected });
    });

    it(`describes an issued key without options at "…${mount}"`, async () => {
      const requestBody = { name: "plain" };
      const { data, key } = await keyward.manager(mount).create({ requestBody });
      const current = await keyward.client(mount, key).getCurrentKeyMetadata();
      const is = { isManagementKey: false, isProvisioningKey: false, label: data.label };
      assert.deepEqual(current, { data: { ...constant(keyward), ...unlimited(keyward), ...is } });
    });

    it(`describes a management key at "…${mount}"`, async () => {
      const key = keyward.env.MANAGEMENT_KEY;
      const current = await keyward.manager(mount).getCurrentKeyMetadata();
      const label = `${key.slice(0, 12)}...${key.slice(-4)}`;
      const is = { isManagementKey: true, isProvisioningKey: true, label };
      assert.deepEqual(current, { data: { ...constant(keyward), ...unlimited(keyward), ...is } });
    });
  }
});
