import assert from "node:assert/strict";
import { test } from "node:test";

import { readConfig, reasonToDrop } from "./logic.js";

const at = (time, config, priority = "info") =>
  reasonToDrop({ priority, timestamp: `2026-08-03T${time}:00.000000Z` }, readConfig(config));

test("the night is quiet, over midnight, and its end is not part of it", () => {
  assert.equal(at("22:00", []), "quiet hours 22:00 to 07:00");
  assert.equal(at("03:15", []), "quiet hours 22:00 to 07:00");
  assert.equal(at("06:59", []), "quiet hours 22:00 to 07:00");
  assert.equal(at("07:00", []), undefined);
  assert.equal(at("21:59", []), undefined);
});

test("a span within a day is one too", () => {
  const lunch = [["from", "12:00"], ["to", "13:00"]];
  assert.equal(at("12:30", lunch), "quiet hours 12:00 to 13:00");
  assert.equal(at("13:00", lunch), undefined);
  assert.equal(at("23:00", lunch), undefined);
});

test("what matters is never quiet", () => {
  assert.equal(at("03:00", [], "action"), undefined);
  assert.equal(at("03:00", [["keep", "critical"]], "urgent"), "quiet hours 22:00 to 07:00");
});

test("local time is what counts", () => {
  assert.equal(at("20:30", [["utc_offset", "+02:00"]]), "quiet hours 22:00 to 07:00");
  assert.equal(at("22:30", [["utc_offset", "-05:00"]]), undefined);
});

test("whole days can be quiet", () => {
  // 3 August 2026 is a Monday; six hours on, it is still that or already Tuesday.
  assert.equal(at("12:00", [["quiet_days", '["mon"]']]), "quiet day mon");
  const later = [["quiet_days", '["tue"]'], ["utc_offset", "+06:00"]];
  assert.equal(at("12:00", later), undefined);
  assert.equal(at("18:00", later), "quiet day tue");
});

test("a configuration that makes no sense is refused", () => {
  for (const entry of [
    ["form", "22:00"],
    ["from", "10 pm"],
    ["to", "24:00"],
    ["utc_offset", "2"],
    ["keep", "loud"],
    ["quiet_days", '["sunday"]'],
  ]) {
    assert.throws(() => readConfig([entry]), `${entry}`);
  }
});
