import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

const rows = read("docs/security/limits.md")
  .split("\n")
  .flatMap((line) => {
    const cells = line.slice(2, -2).split(/ ?\| ?/);
    const [, file, name, value] = /^`(\S+\.ts)`: `(\w+)(?:: | = )(.+)`$/.exec(cells.at(-1) ?? "") ?? [];
    if (file === undefined || name === undefined || value === undefined) return [];
    return [{ what: cells[0] ?? "", said: cells.slice(1, -1).join(" "), file, name, value }];
  });

test("limits are listed", () => {
  expect(rows.length).toBeGreaterThan(40);
  expect(new Set(rows.map(({ file, name }) => `${file} ${name}`)).size).toBe(rows.length);
});

test.each(rows)("$what: the page says what the source does", ({ said, file, name, value }) => {
  expect(existsSync(new URL(file, root)), file).toBe(true);
  const isThere = read(file)
    .split("\n")
    .some((line) => line.includes(`const ${name} = ${value};`) || line.includes(`${name}: ${value}`));
  expect(isThere, `${name} = ${value} in ${file}`).toBe(true);
  // The number stands on the page as people read it.
  const factors = value.replaceAll(/[_"a-z ]/g, "").split(/\*|<</);
  const numbers = value.includes("<<")
    ? [String(Number(factors[0]) * 2 ** (Number(factors[1]) - 20))]
    : [factors[0] ?? "", String(factors.map(Number).reduce((a, b) => a * b) / 1000)];
  const digits = said.replaceAll(",", "").match(/\d+/g) ?? [];
  expect(
    numbers.some((number) => (digits as string[]).includes(number)),
    `${value} in "${said}"`,
  ).toBe(true);
});
