import assert from "node:assert/strict";
import { test } from "node:test";

import { Flakes, readConfig } from "./logic.js";

const flakes = (...entries) => new Flakes(readConfig(entries));
const ci = (passes, commit, job, hour = 0, projectId = "web") => ({
  eventType: passes ? "ci_passing" : "ci_failing",
  projectId,
  timestamp: `2026-08-03T${String(hour).padStart(2, "0")}:00:00.000000Z`,
  data: { commit, job, branch: "main" },
});
const flake = (plugin, commit, hour, project) => {
  assert.equal(plugin.see(ci(false, commit, "unit", hour, project)), undefined);
  return plugin.see(ci(true, commit, "all", hour, project));
};

test("the third flake of a job is reported, and counting starts again", () => {
  const plugin = flakes();
  assert.equal(flake(plugin, "a"), undefined);
  assert.equal(flake(plugin, "b"), undefined);
  const report = flake(plugin, "c");
  assert.equal(report.eventType, "custom.flaky_job");
  assert.match(report.message, /^unit is flaky: .* 3 times in 24 h$/);
  assert.deepEqual(report.data.commit, "c");
  assert.equal(flake(plugin, "d"), undefined);
});

test("a fix on another commit is no flake", () => {
  const plugin = flakes(["flakes", "1"]);
  assert.equal(plugin.see(ci(false, "a", "unit")), undefined);
  assert.equal(plugin.see(ci(true, "b", "all")), undefined);
});

test("projects and jobs are counted apart, and another job's pass proves nothing", () => {
  const plugin = flakes(["flakes", "2"]);
  assert.equal(flake(plugin, "a", 0, "web"), undefined);
  assert.equal(flake(plugin, "a", 0, "atlas"), undefined);
  assert.equal(plugin.see(ci(false, "b", "unit")), undefined);
  assert.equal(plugin.see(ci(true, "b", "lint")), undefined);
  assert.notEqual(plugin.see(ci(true, "b", "unit")), undefined);
});

test("two jobs that fail at once are not called flaky", () => {
  const plugin = flakes(["flakes", "1"]);
  plugin.see(ci(false, "a", "unit"));
  plugin.see(ci(false, "a", "lint"));
  assert.equal(plugin.see(ci(true, "a", "all")), undefined);
});

test("what is older than the window does not count", () => {
  const plugin = flakes(["flakes", "2"], ["window_hours", "3"]);
  assert.equal(flake(plugin, "a", 1), undefined);
  assert.equal(flake(plugin, "b", 5), undefined);
  assert.notEqual(flake(plugin, "c", 6), undefined);
});

test("events without a commit or a job are passed over", () => {
  const plugin = flakes(["flakes", "1"]);
  assert.equal(plugin.see({ ...ci(false, "a", "unit"), data: null }), undefined);
});

test("a configuration that makes no sense is refused", () => {
  for (const entry of [["flake", "3"], ["flakes", "0"], ["window_hours", "1.5"]]) {
    assert.throws(() => readConfig([entry]), `${entry}`);
  }
});
