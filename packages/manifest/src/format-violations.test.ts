import { expect, it } from "vitest";
import { formatViolations } from "./format-violations.ts";

const at = (line: number, column: number) => [{ field: "port", description: "Wrong.", line, column }];

it("shows the place as editors open it, the line, and a caret below the column", () => {
  expect(formatViolations("a.hms.yml", at(2, 7), "name: a\nport: 99999\n")).toBe(
    "a.hms.yml:2:7: port: Wrong.\n  2 | port: 99999\n    |       ^",
  );
});

it("puts the caret right below tabs, a byte order mark and Windows line ends", () => {
  expect(formatViolations("a", at(1, 3), "\ufeff\t\tx: 1\r\n")).toBe("a:1:3: port: Wrong.\n  1 |   x: 1\n    |   ^");
});

it("cuts a long line around the column", () => {
  const text = formatViolations("a", at(1, 501), `${"x".repeat(500)}y${"z".repeat(500)}`);
  const [, line = "", caret = ""] = text.split("\n");
  expect(line.length).toBeLessThan(120);
  expect(line.at(caret.indexOf("^"))).toBe("y");
});

it("lets nothing of the text act on a terminal", () => {
  const text = formatViolations(
    "a",
    [{ field: "\u001b[31m", description: "\u0007", line: 1, column: 2 }],
    "\u001b]0;x\u202e",
  );
  for (const character of "\u0007\u001b\u202e") expect(text).not.toContain(character);
});

it("copes with problems without a place, and with places that the text does not have", () => {
  expect(formatViolations("a", [{ field: "", description: "Wrong." }], "")).toBe("a: Wrong.");
  expect(formatViolations("a", at(9, 9), "one line")).toBe("a:9:9: port: Wrong.");
});
