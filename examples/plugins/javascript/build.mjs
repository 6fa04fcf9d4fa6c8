// node build.mjs SOURCE WIT WORLD COMPONENT
import { writeFile } from "node:fs/promises";

import { componentize } from "@bytecodealliance/componentize-js";

const [sourcePath, witPath, worldName, file] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath,
  worldName,
  // A plugin has neither.
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(file, component);
