import { cpSync, globSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { rolldown } from "rolldown";
import { buildTypescriptSdk } from "./build-typescript-sdk.ts";

/** Compiles every process of the platform to JavaScript in dist/, file by file, with the data files they read. */
const entries = globSync("apps/{agent,server,dataplane,cli}/src/main.ts");
const data = ["services/*/migrations", "packages/events/{migrations,outbox}", "packages/manifest/*.schema.json"];

const isExternal = (id: string) => builtinModules.includes(id) || id.startsWith("node:") || !/^(@hms\/|\.|\/)/.test(id);

rmSync("dist", { recursive: true, force: true });
const build = await rolldown({ input: entries, external: isExternal, platform: "node" });
await build.write({
  dir: "dist",
  format: "esm",
  preserveModules: true,
  preserveModulesRoot: ".",
  entryFileNames: "[name].js",
  sourcemap: false,
});
await build.close();
// The reference page's viewer is a file that browsers load, not a module: it comes along as it is, with its licence.
const viewer = ["swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"];
for (const file of viewer) cpSync(`node_modules/swagger-ui-dist/${file}`, `dist/packages/http-edge/viewer/${file}`);
for (const path of data.flatMap((pattern) => globSync(pattern))) cpSync(path, `dist/${path}`, { recursive: true });
// The archive of the platform does not hold the SDK, which is published by itself.
if (!process.argv.includes("--platform-only")) await buildTypescriptSdk();
