import { existsSync, globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { billOfMaterials, type LockFile } from "./bill-of-materials.ts";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as LockFile;

interface Component {
  name: string;
  version: string;
  scope: string;
  hashes: { alg: string; content: string }[];
  licenses?: unknown[];
  purl: string;
}
const bill = JSON.parse(billOfMaterials(lock)) as { components: Component[]; metadata: { component: Component } };
const listed = new Set(bill.components.map(({ name, version }) => `${name}@${version}`));

test("the bill of materials has every library that a part of the platform imports, and what those need, as installed", () => {
  const wanted = globSync("{packages,services,providers,apps}/*/package.json")
    .filter((file) => !file.includes("testkit"))
    .flatMap((file) => Object.keys(JSON.parse(readFileSync(file, "utf8")).dependencies ?? {}))
    .filter((name) => !name.startsWith("@hms/"));
  // All that is needed by what is installed, found by asking each of them.
  const open = [...new Set(wanted)];
  const seen = new Set<string>();
  for (const name of open) {
    if (seen.has(name)) continue;
    seen.add(name);
    const file = `node_modules/${name}/package.json`;
    if (!existsSync(file)) continue;
    const { version, dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(file, "utf8"));
    expect(listed, `${name}@${version}`).toContain(`${name}@${version}`);
    open.push(...Object.keys({ ...dependencies, ...optionalDependencies }));
  }
  expect(seen.size).toBeGreaterThan(80);
});

test("each entry of the bill of materials has its version, its SHA-512, its licence and its address among packages", () => {
  for (const { name, version, hashes, licenses, purl } of bill.components) {
    expect(version, name).toMatch(/^\d+\.\d+\.\d+/);
    expect(hashes[0]?.content, name).toMatch(/^[0-9a-f]{128}$/);
    expect(licenses, name).toHaveLength(1);
    expect(purl).toBe(`pkg:npm/${name.replace("@", "%40")}@${version}`);
  }
  expect(bill.metadata.component).toMatchObject({ name: "hms-sys", version: lock.packages[""]?.version });
});

test("what only develops the platform is not on the bill of materials", () => {
  for (const name of ["vitest", "rolldown", "typescript", "knip", "casbin"]) {
    expect(bill.components.map((component) => component.name)).not.toContain(name);
  }
  expect(billOfMaterials(lock)).toBe(billOfMaterials(structuredClone(lock)));
});
