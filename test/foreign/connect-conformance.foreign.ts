import { join } from "node:path";
import { tempFolder } from "@hms/testkit";
import { rolldown } from "rolldown";
import { describe, expect, test } from "vitest";
import { conformance, missing, output } from "./foreign-tools.ts";

const why = missing("go");
const here = (file: string) => join(import.meta.dirname, file);

describe.skipIf(why)(`Connect's conformance suite${why ? `: skipped, ${why}` : ""}`, () => {
  // The suite gives a server only seconds to start: a busy machine may need a second go.
  test("passes against our edge in all protocols, versions, codecs and kinds of streams", { retry: 1 }, async () => {
    using folder = tempFolder();
    const { runner, contracts } = await conformance();
    const descriptors = join(folder.path, "conformance.binpb");
    await output("buf", ["build", contracts, "-o", descriptors]);
    // One file: the suite starts many of it, and on a busy machine does not wait until hundreds of modules are loaded.
    const build = await rolldown({ input: here("conformance-server.ts"), platform: "node", logLevel: "silent" });
    const compiled = join(folder.path, "server.mjs");
    await build.write({ file: compiled, format: "esm", codeSplitting: false });
    await build.close();
    const server = [process.execPath, compiled, descriptors];
    const known = here("conformance-known-failing.txt");
    const args = [
      "--mode",
      "server",
      "--conf",
      here("conformance.yaml"),
      // On a busy machine four servers that start at once take longer than the suite waits for one.
      "--max-servers",
      "2",
      "--known-failing",
      `@${known}`,
      "--",
      ...server,
    ];
    const text = await output(runner, args, folder.path).catch((error) => `${error.stdout}${error.stderr}`);
    console.log(text.trim());
    const [, total = 0, failed = 1] = /Total cases: (\d+)[\s\S]* (\d+) failed/.exec(text) ?? [];
    expect(Number(total)).toBeGreaterThan(2_000);
    expect(Number(failed)).toBe(0);
  });
});
