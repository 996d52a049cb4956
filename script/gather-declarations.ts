import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";

const SPECIFIER = /(from |import\()"([^"]+)"/g;

/**
 * Copies a declaration file and all that it needs of this repository into a folder, imports of our packages turned into
 * relative ones; answers with the module's path in there.
 */
export function gatherDeclarations(from: string, entry: string, to: string): string {
  const waiting = [entry];
  const seen = new Set(waiting);
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const here = file;
    const text = readFileSync(join(from, here), "utf8").replace(SPECIFIER, (whole, head: string, specifier: string) => {
      const target = targetOf(specifier, here);
      if (target === undefined) return whole;
      if (!seen.has(target)) waiting.push(target);
      seen.add(target);
      const relative = posix.relative(posix.dirname(here), target);
      return `${head}"${moduleOf(relative.startsWith(".") ? relative : `./${relative}`)}"`;
    });
    mkdirSync(dirname(join(to, here)), { recursive: true });
    writeFileSync(join(to, here), text);
  }
  return moduleOf(entry);
}

const moduleOf = (path: string) => path.replace(/\.d\.ts$/, ".js");

/** The declaration file that an import means; undefined for packages of others. */
function targetOf(specifier: string, here: string): string | undefined {
  if (specifier.startsWith(".")) {
    return posix.join(posix.dirname(here), specifier.replace(/\.[tj]s$/, ".d.ts"));
  }
  const [, name = "", below] = /^@hms\/([\w-]+)(?:\/(.+))?$/.exec(specifier) ?? [];
  if (name === "") return undefined;
  const folder = join("packages", name);
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    exports: Record<string, string>;
  };
  const source = exports[below === undefined ? "." : `./${below}`];
  if (source === undefined) throw new Error(`${here} imports ${specifier}, which ${folder} does not export.`);
  return posix.join(folder, source.replace(/\.ts$/, ".d.ts"));
}
