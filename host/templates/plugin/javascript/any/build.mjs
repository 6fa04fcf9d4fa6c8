// Makes dist/my-plugin.wasm of plugin.js and what it imports.
import { mkdir, readFile, writeFile } from "node:fs/promises";

import { componentize } from "@bytecodealliance/componentize-js";

const { name, ennio } = JSON.parse(await readFile("package.json", "utf8"));
const { component } = await componentize({
  sourcePath: "plugin.js",
  witPath: "wit",
  worldName: ennio.world,
  // A plugin has neither.
  disableFeatures: ["http", "fetch-event"],
});
await mkdir("dist", { recursive: true });
await writeFile(`dist/${name}.wasm`, component);
