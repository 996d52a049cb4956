import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { rolldown } from "rolldown";
import { gatherDeclarations } from "./gather-declarations.ts";

const FOLDER = "sdks/typescript";

const isExternal = (id: string) =>
  builtinModules.includes(id) || id.startsWith("node:") || /^(@bufbuild\/|@opentelemetry\/api$|yaml$)/.test(id);

interface SdkManifest {
  version: string;
  license?: string;
  dependencies: Record<string, string>;
}

/**
 * Makes of the TypeScript SDK what can be published: one module for Node 20 and newer and its declarations, without any
 * package of ours, in a folder that `npm pack` takes as it is.
 */
export async function buildTypescriptSdk(dist = `${FOLDER}/dist`): Promise<void> {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist, { recursive: true });
  const imports = await bundle(dist);
  const manifest = JSON.parse(readFileSync(`${FOLDER}/package.json`, "utf8")) as SdkManifest;
  writeFileSync(`${dist}/package.json`, `${JSON.stringify(published(manifest, imports), null, 2)}\n`);
  writeDeclarations(dist);
  cpSync("LICENSE", `${dist}/LICENSE`);
  cpSync(`${FOLDER}/README.md`, `${dist}/README.md`);
}

async function bundle(dist: string): Promise<string[]> {
  const shim = (name: string, exported: string): [string, string] => [resolve(FOLDER, "shims", name), exported];
  const build = await rolldown({
    input: `${FOLDER}/src/index.ts`,
    external: isExternal,
    platform: "node",
    // None of our modules does anything by being loaded: what the SDK does not use stays away.
    treeshake: { moduleSideEffects: false },
    transform: {
      target: "node20",
      inject: {
        AsyncDisposableStack: shim("async-disposable-stack.ts", "asyncDisposableStack"),
        "Map.groupBy": shim("group-by.ts", "groupBy"),
        "Promise.withResolvers": shim("with-resolvers.ts", "withResolvers"),
      },
    },
  });
  const { output } = await build.write({ dir: dist, format: "esm", entryFileNames: "index.js", codeSplitting: false });
  await build.close();
  return output.flatMap((chunk) => ("imports" in chunk ? chunk.imports : []));
}

/** What `npm publish` needs; whoever bundles an import that the SDK does not declare is told. */
function published({ version, dependencies }: SdkManifest, imports: readonly string[]): object {
  const foreign = imports.filter((id) => !builtinModules.includes(id) && !id.startsWith("node:"));
  const packages = [...new Set(foreign.map((id) => id.split("/", id.startsWith("@") ? 2 : 1).join("/")))].sort();
  const unknown = packages.filter((name) => dependencies[name] === undefined);
  if (unknown.length > 0)
    throw new Error(`${FOLDER}/package.json lacks ${unknown.join(", ")}, which its modules import.`);
  return {
    name: "@hms/ffi",
    version,
    description: "Call services of any language, and offer your own, by HMS-FFI.",
    license: "MIT",
    type: "module",
    engines: { node: ">=20" },
    exports: { ".": { types: "./index.d.ts", default: "./index.js" } },
    dependencies: Object.fromEntries(packages.map((name) => [name, dependencies[name]])),
  };
}

function writeDeclarations(dist: string): void {
  const work = mkdtempSync(join(tmpdir(), "hms-dts-"));
  try {
    const root = process.cwd();
    const compilerOptions = {
      ...{ noEmit: false, declaration: true, emitDeclarationOnly: true, incremental: false },
      ...{ rootDir: root, outDir: join(work, "out"), typeRoots: [join(root, "node_modules/@types")] },
    };
    // What is only found by way of node_modules is not written, so every module that may be needed is named.
    const include = [FOLDER, "packages/*"].map((folder) => join(root, folder, "src"));
    const exclude = [join(root, "**/*.test.ts"), join(root, "**/*.itest.ts"), join(root, "**/*.faults.ts")];
    const config = { extends: join(root, "tsconfig.json"), compilerOptions, include, exclude };
    writeFileSync(join(work, "tsconfig.json"), JSON.stringify(config));
    execFileSync("tsc", ["-p", join(work, "tsconfig.json")], { stdio: "inherit" });
    const entry = gatherDeclarations(join(work, "out"), `${FOLDER}/src/index.d.ts`, `${dist}/types`);
    writeFileSync(`${dist}/index.d.ts`, `export * from "./types/${entry}";\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
