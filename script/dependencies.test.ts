import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const DAY_MS = 86_400_000;
const REVIEWED_EVERY_DAYS = 30;

const page = readFileSync("docs/security/dependencies.md", "utf8");
const rows = (cells: RegExp) => page.split("\n").flatMap((line) => [cells.exec(line)?.slice(1) ?? []]);

interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
}

test.each(["package-lock.json", "examples/receipt/package-lock.json"])(
  "%s takes every library from the registry, by its SHA-512, and from nowhere else",
  (file) => {
    const { packages } = JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, LockedPackage> };
    const libraries = Object.entries(packages).filter(([path, { link }]) => path.includes("node_modules/") && !link);
    expect(libraries.length).toBeGreaterThan(0);
    // An address in the lock file, or a version that is one (git, file, http), would be another place.
    const foreign = libraries.filter(
      ([, { version = "", integrity = "", resolved }]) =>
        resolved !== undefined || !/^\d+\.\d+\.\d+/.test(version) || !/^sha512-[\w+/]{86}==$/.test(integrity),
    );
    expect(foreign).toEqual([]);
  },
);

test("the libraries of the platform are those that were reviewed", () => {
  const reviewed = rows(/^\| (\S+) \| (\d\S*) \|$/).filter(([name]) => name !== undefined);
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> };
  expect(Object.fromEntries(reviewed)).toEqual(dependencies);
});

test("no commit is later than a review of the libraries allows", () => {
  const reviews = rows(/^\| (\d{4}-\d{2}-\d{2}) \| .{20,} \|$/).flatMap(([date]) => date ?? []);
  const last = Date.parse(reviews.sort().at(-1) ?? "");
  const committed = execFileSync("git", ["log", "-1", "--format=%cI"], { encoding: "utf8" }).trim();
  expect((Date.parse(committed) - last) / DAY_MS, "days since the last review").toBeLessThan(REVIEWED_EVERY_DAYS + 1);
});
