// The border to the host: hands events over, and answers in the contract's words.
import { getAll } from "wasi:config/store@0.2.0-rc.1";

import { patchOf, readConfig } from "./logic.js";

let config;

export const guest = {
  describe() {
    return {
      version: "0.1.0",
      summary: "adds the team that owns a project",
      subscribe: [],
      minPriority: "info",
    };
  },

  // What is thrown says what is wrong with the configuration.
  configure() {
    config = readConfig(getAll());
  },
};

export const enricher = {
  // One result an event, in the same order: `ok` without a value leaves the event as it is.
  enrich(events) {
    return events.map((event) => {
      const data = patchOf({ ...event, data: JSON.parse(event.data) }, config);
      return { tag: "ok", val: data && { data: JSON.stringify(data) } };
    });
  },
};
