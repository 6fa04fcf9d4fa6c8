// The border to the host: hands events over, and answers in the contract's words.
import { getAll } from "wasi:config/store@0.2.0-rc.1";

import { readConfig, reasonToDrop } from "./logic.js";

let config;

export const guest = {
  describe() {
    return {
      version: "0.1.0",
      summary: "drops events by their beginning",
      subscribe: [],
      minPriority: "info",
    };
  },

  // What is thrown says what is wrong with the configuration.
  configure() {
    config = readConfig(getAll());
  },
};

export const filter = {
  // One verdict an event, in the same order.
  filter(events) {
    return events.map((event) => {
      const reason = reasonToDrop(event, config);
      return reason === undefined ? { tag: "keep" } : { tag: "drop", val: reason };
    });
  },
};
