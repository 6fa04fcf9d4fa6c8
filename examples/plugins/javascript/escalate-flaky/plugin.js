// The border to the host.
import { getAll } from "wasi:config/store@0.2.0-rc.1";

import { Flakes, readConfig } from "./logic.js";

let flakes;

export const guest = {
  describe() {
    return {
      version: "0.1.0",
      summary: "reports jobs that fail and pass on the same commit",
      subscribe: ["ennio.ci.>"],
      minPriority: "info",
    };
  },

  configure() {
    flakes = new Flakes(readConfig(getAll()));
  },
};

export const reaction = {
  react({ event }) {
    const report = flakes.see({ ...event, data: JSON.parse(event.data) });
    if (report === undefined) return [];
    return [{ tag: "emit", val: { ...report, data: JSON.stringify(report.data) } }];
  },
};
