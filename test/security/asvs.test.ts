import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { problemOf } from "./shown-by.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

/** The requirements of OWASP ASVS 5.0.0 by level: sections with the numbers in them. */
const REQUIREMENTS: Readonly<Record<string, readonly string[]>> = {
  "1": [
    "1.2:1,2,3,4,5 1.3:1,2 1.5:1 2.1:1 2.2:1,2 2.3:1 3.2:1,2 3.3:1 3.4:1,2 3.5:1,2,3 4.1:1 4.4:1 5.2:1,2 5.3:1,2",
    "6.1:1 6.2:1,2,3,4,5,6,7,8 6.3:1,2 6.4:1,2 7.2:1,2,3,4 7.4:1,2 8.1:1 8.2:1,2 8.3:1 9.1:1,2,3 9.2:1 10.4:1,2,3,4,5",
    "11.3:1,2 11.4:1 12.1:1 12.2:1,2 13.4:1 14.2:1 14.3:1 15.1:1 15.2:1 15.3:1",
  ],
  "2": [
    "1.1:1,2 1.2:6,7,8,9 1.3:3,4,5,6,7,8,9,10,11 1.4:1,2,3 1.5:2 2.1:2,3 2.2:3 2.3:2,3,4 2.4:1 3.3:2,3,4 3.4:3,4,5,6",
    "3.5:4,5 3.7:1,2 4.1:2,3 4.2:1 4.3:1,2 4.4:2,3,4 5.1:1 5.2:3 5.4:1,2,3 6.1:2,3 6.2:9,10,11,12 6.3:3,4 6.4:3,4",
    "6.5:1,2,3,4,5 6.6:1,2,3 6.8:1,2,3,4 7.1:1,2,3 7.3:1,2 7.4:3,4,5 7.5:1,2 7.6:1,2 8.1:2 8.2:3 8.4:1 9.2:2,3,4",
    "10.1:1,2 10.2:1,2 10.3:1,2,3,4 10.4:6,7,8,9,10,11 10.5:1,2,3,4,5 10.6:1,2 10.7:1,2,3 11.1:1,2 11.2:1,2,3 11.3:3",
    "11.4:2,3,4 11.5:1 11.6:1 12.1:2,3 12.3:1,2,3,4 13.1:1 13.2:1,2,3,4,5 13.3:1,2 13.4:2,3,4,5 14.1:1,2 14.2:2,3,4",
    "14.3:2,3 15.1:2,3 15.2:2,3 15.3:2,3,4,5,6,7 16.1:1 16.2:1,2,3,4,5 16.3:1,2,3,4 16.4:1,2,3 16.5:1,2,3 17.1:1",
    "17.2:1,2,3,4 17.3:1,2",
  ],
};

const expected = Object.entries(REQUIREMENTS).flatMap(([level, lines]) =>
  lines.flatMap((line) =>
    line.split(" ").flatMap((section) => {
      const [place = "", numbers = ""] = section.split(":");
      return numbers.split(",").map((number) => `${place}.${number} level ${level}`);
    }),
  ),
);

const [table = "", words = ""] = read("docs/security/asvs.md").split("\n## In more words\n");

const rows = table
  .split("\n")
  .filter((line) => /^\| \d/.test(line))
  .map((line) => {
    const [number = "", level = "", asked = "", state = ""] = line.slice(2, -2).split(" | ");
    return { number, level, asked, state };
  });

test("every requirement of levels 1 and 2 has one line, and there is no other", () => {
  expect(rows.map(({ number, level }) => `${number} level ${level}`).sort()).toEqual(expected.sort());
  expect(expected.length).toBe(253);
});

test("every line says what is asked and how it stands, by tests and pages that are there", () => {
  expect(rows.filter(({ asked }) => asked.length < 8)).toEqual([]);
  const problems = rows.map(({ number, state }) => [number, problemOf(state)]).filter(([, problem]) => problem);
  expect(problems).toEqual([]);
});

test("the numbers at the top are those of the lines", () => {
  const count = (start: string) => rows.filter(({ state }) => state.startsWith(start)).length;
  const [shown, written, absent, open] = ["shown by", "written in", "does not apply", "open"].map(count);
  const line = `${shown} are shown, ${written} written, ${absent} do not apply, ${open} are open.`;
  expect(read("docs/security/asvs.md")).toContain(line);
});

test("what is said in more words is said of a line that is there, in its order", () => {
  const numbers = words.split("\n").flatMap((line) => /^\| (\d[\d.]*) \| .{20,} \|$/.exec(line)?.[1] ?? []);
  expect(numbers.length).toBe(words.split("\n").filter((line) => /^\| \d/.test(line)).length);
  expect(numbers).toEqual(rows.map(({ number }) => number).filter((number) => numbers.includes(number)));
});
