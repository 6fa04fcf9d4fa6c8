// The border to the host.
import { getAll } from "wasi:config/store@0.2.0-rc.1";

import { patchOf, readConfig } from "./logic.js";

let config;

export const guest = {
  describe() {
    return {
      version: "0.1.0",
      summary: "adds the addresses of the tickets that an event names",
      subscribe: [],
      minPriority: "info",
    };
  },

  configure() {
    config = readConfig(getAll());
  },
};

export const enricher = {
  enrich(events) {
    return events.map(({ message, data }) => {
      const patch = patchOf(message, JSON.parse(data), config);
      return { tag: "ok", val: patch && { data: JSON.stringify(patch) } };
    });
  },
};
