import assert from "node:assert/strict";
import { test } from "node:test";

import { pageFor, readConfig } from "./logic.js";

const config = readConfig([["to", "on-call"]]);

test("an urgent event becomes one page", () => {
  const event = { eventType: "node_disconnected", message: "build-01 is gone" };
  const page = pageFor({ event, seq: 7n }, config);
  assert.equal(page.message, "on-call: node_disconnected: build-01 is gone");
  assert.deepEqual(page.data, { to: "on-call", seq: 7 });
});

test("a page is not paged about", () => {
  const event = { eventType: "custom.page", message: "" };
  assert.equal(pageFor({ event, seq: 8n }, config), undefined);
});

test("a configuration that makes no sense is refused", () => {
  for (const entries of [[], [["too", "on-call"]]]) {
    assert.throws(() => readConfig(entries));
  }
});
