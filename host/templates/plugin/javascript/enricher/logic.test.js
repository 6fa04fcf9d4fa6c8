import assert from "node:assert/strict";
import { test } from "node:test";

import { patchOf, readConfig } from "./logic.js";

const config = readConfig([["owners", '{"web":"frontend"}']]);

test("the owner is added", () => {
  const event = { projectId: "web", data: { branch: "main" } };
  assert.deepEqual(patchOf(event, config), { owner: "frontend" });
  assert.deepEqual(patchOf({ projectId: "web", data: null }, config), { owner: "frontend" });
});

test("events of other projects and data that is no object stay as they are", () => {
  assert.equal(patchOf({ projectId: "atlas", data: null }, config), undefined);
  assert.equal(patchOf({ projectId: "web", data: [1, 2] }, config), undefined);
});

test("a configuration that makes no sense is refused", () => {
  for (const entries of [[], [["ownrs", "{}"]]]) {
    assert.throws(() => readConfig(entries));
  }
});
