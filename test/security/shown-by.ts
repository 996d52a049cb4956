import { existsSync, readFileSync } from "node:fs";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

/** What is wrong with a state; undefined if nothing is. */
export function problemOf(state: string): string | undefined {
  const [, kind, rest = ""] = /^(shown by |written in |does not apply: |open: )(.+)$/.exec(state) ?? [];
  switch (kind) {
    case "shown by ":
      return rest.split(" · ").map(testProblem).find(Boolean);
    case "written in ":
      return existsSync(new URL(rest, root)) ? undefined : `there is no page ${rest}`;
    case undefined:
      return "is no state";
    default:
      return undefined;
  }
}

const sources = new Map<string, string>();

function testProblem(shown: string): string | undefined {
  const [, file = "", name = ""] = /^(\S+\.(?:test|itest|faults|foreign|soak)\.ts): (.+)$/.exec(shown) ?? [];
  if (!existsSync(new URL(file || "?", root))) return `there is no test file "${file}" (${shown})`;
  const source = sources.get(file) ?? read(file);
  sources.set(file, source);
  return ['"', "'", "`"].some((quote) => source.includes(quote + name + quote))
    ? undefined
    : `${file} has no test "${name}"`;
}
