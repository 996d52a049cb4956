import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface PackageManifest {
  name: string;
  dependencies?: Record<string, string>;
}
const read = (file: string) => JSON.parse(readFileSync(file, "utf8")) as PackageManifest;

test("the published package depends on exactly what its parts depend on, and on their Node", () => {
  const parts = globSync("{packages,services,providers,apps}/*/package.json").map(read);
  const wanted = parts
    .filter(({ name }) => name !== "@hms/testkit")
    .flatMap(({ dependencies }) => Object.entries(dependencies ?? {}))
    .filter(([name]) => !name.startsWith("@hms/"));
  const { node, ...own } = read("package.json").dependencies ?? {};
  expect(own).toEqual(Object.fromEntries(wanted));
  expect(node).toMatch(/^24\./);
});
