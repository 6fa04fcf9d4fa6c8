// The border to the host: hands events over, and answers in the contract's words.
import { getAll } from "wasi:config/store@0.2.0-rc.1";

import { pageFor, readConfig } from "./logic.js";

let config;

export const guest = {
  describe() {
    return {
      version: "0.1.0",
      summary: "pages somebody about urgent events",
      subscribe: [],
      minPriority: "urgent",
    };
  },

  // What is thrown says what is wrong with the configuration.
  configure() {
    config = readConfig(getAll());
  },
};

export const reaction = {
  // What is to be done. To have the event delivered again, throw { tag: "retry", val: "why" }.
  react(delivery) {
    const page = pageFor(delivery, config);
    if (page === undefined) return [];
    return [{ tag: "emit", val: { ...page, data: JSON.stringify(page.data) } }];
  },
};
