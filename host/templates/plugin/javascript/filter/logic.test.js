import assert from "node:assert/strict";
import { test } from "node:test";

import { readConfig, reasonToDrop } from "./logic.js";

test("only what begins with the prefix is dropped", () => {
  const config = readConfig([["prefix", "debug:"]]);
  const judge = (message) => reasonToDrop({ message }, config);
  assert.equal(judge("debug: tick"), "begins with debug:");
  assert.equal(judge("deployed"), undefined);
  assert.equal(judge("not debug: this"), undefined);
});

test("a configuration that makes no sense is refused", () => {
  for (const entries of [[], [["prefix", ""]], [["prefx", "debug:"]]]) {
    assert.throws(() => readConfig(entries));
  }
});
