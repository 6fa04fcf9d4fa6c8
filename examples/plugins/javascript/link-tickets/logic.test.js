import assert from "node:assert/strict";
import { test } from "node:test";

import { patchOf, readConfig } from "./logic.js";

const config = readConfig([["url", "https://t.example/{id}"], ["prefixes", '["OPS","WEB2"]']]);
const ids = (message, data = null) => patchOf(message, data, config)?.tickets.map(({ id }) => id);

test("tickets are found in the message and in what people write into data, each once", () => {
  const data = { branch: "fix/ops-7-retry", title: "WEB2-10: retry", commit: "ops-99" };
  assert.deepEqual(ids("closes OPS-7, see (WEB2-11)", data), ["OPS-7", "WEB2-11", "WEB2-10"]);
  assert.deepEqual(patchOf("OPS-7", null, config), {
    tickets: [{ id: "OPS-7", url: "https://t.example/OPS-7" }],
  });
});

test("what only looks like one is none", () => {
  for (const text of ["UTF-8", "XOPS-1", "OPS-1x", "OPS-12345678", "ops 7", "OPS-"]) {
    assert.equal(ids(text), undefined, text);
  }
});

test("data of another shape, and tickets that are there already, stay as they are", () => {
  assert.equal(ids("OPS-7", [1]), undefined);
  assert.equal(ids("OPS-7", "text"), undefined);
  assert.equal(ids("OPS-7", { tickets: [] }), undefined);
});

test("a release with a hundred tickets gets ten links", () => {
  const release = Array.from({ length: 100 }, (_, n) => `OPS-${n}`).join(" ");
  assert.equal(ids(release).length, 10);
});

test("a configuration that makes no sense is refused", () => {
  const url = ["url", "https://t.example/{id}"];
  for (const entries of [
    [],
    [url],
    [["url", "https://t.example/"], ["prefixes", '["OPS"]']],
    [url, ["prefixes", '["ops|x"]']],
    [url, ["prefixes", '["OPS"]'], ["prefix", "OPS"]],
  ]) {
    assert.throws(() => readConfig(entries), JSON.stringify(entries));
  }
});
