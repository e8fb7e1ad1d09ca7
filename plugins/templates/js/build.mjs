// Makes plugin.wasm. MODULES: the folder in which `npm install @bytecodealliance/componentize-js@0.23` was said.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { join } from "node:path";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const modules = join(process.env.MODULES ?? here("./"), "node_modules/@bytecodealliance/componentize-js");
const { exports } = JSON.parse(await readFile(join(modules, "package.json"), "utf8"));
const { componentize } = await import(pathToFileURL(join(modules, exports.import)));
const { component } = await componentize(await readFile(here("src/plugin.js"), "utf8"), {
  witPath: here("wit"),
  worldName: "capability",
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(here("plugin.wasm"), component);
