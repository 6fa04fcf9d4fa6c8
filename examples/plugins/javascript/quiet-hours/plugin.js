// The border to the host.
import { getAll } from "wasi:config/store@0.2.0-rc.1";

import { readConfig, reasonToDrop } from "./logic.js";

let config;

export const guest = {
  describe() {
    return {
      version: "0.1.0",
      summary: "hides what nobody needs to know at night",
      subscribe: [],
      minPriority: "info",
    };
  },

  configure() {
    config = readConfig(getAll());
  },
};

export const filter = {
  filter(events) {
    return events.map((event) => {
      const reason = reasonToDrop(event, config);
      return reason === undefined ? { tag: "keep" } : { tag: "drop", val: reason };
    });
  },
};
