import { HmsError } from "@hms/kernel/errors";
import { describe, expect, test } from "vitest";
import { humanBytes, humanDuration } from "./human.ts";
import { createPainter } from "./painter.ts";
import { printable } from "./printable.ts";
import { renderError } from "./render-error.ts";
import { renderTable } from "./table.ts";

const plain = createPainter(false);

test.each([
  [0, "0 ms"],
  [850, "850 ms"],
  [1234, "1.2 s"],
  [185_000, "3 m 05 s"],
  [7_800_000, "2 h 10 m"],
  [200_000_000, "2 d"],
])("%i ms are shown as %s", (ms, words) => expect(humanDuration(ms)).toBe(words));

test.each([
  [512, "512 B"],
  [9.1 * 1024 ** 2, "9.1 MiB"],
  [27 * 1024 ** 2, "27 MiB"],
])("%d bytes are shown as %s", (bytes, words) => expect(humanBytes(bytes)).toBe(words));

describe("a table", () => {
  test("is as wide as its words, whatever their colour, and has no blanks at line ends", () => {
    const { good } = createPainter(true);
    expect(renderTable(["NAME", "HEALTH", "X"], [["a", good("healthy"), ""]])).toEqual([
      "NAME  HEALTH   X",
      `a     ${good("healthy")}`,
    ]);
  });
});

describe("a text that others have chosen", () => {
  const nasty = "anna\n2026-01-01 ok\u001b]0;title\u0007\u001b[2J\u001b[8m\u009b31m\r\u202egnp.exe\u0000\u2028";

  test("adds no row to a table, and moves, hides and paints nothing", () => {
    const { bad } = createPainter(true);
    const [, row = ""] = renderTable(["WHO", "WHY"], [[nasty, bad("no")]]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be left
    expect(row.replaceAll(bad("no"), "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/);
    expect(row).toContain("anna\\u000a2026-01-01 ok\\u001b]0;title\\u0007\\u001b[2J");
    expect(row.endsWith(bad("no"))).toBe(true);
  });

  test("keeps its lines where there may be several", () => {
    expect(printable("a\n\tb\u001b[2J")).toBe("a\n\tb\\u001b[2J");
    expect(printable("straße 😀 مرحبا")).toBe("straße 😀 مرحبا");
  });
});

describe("an error", () => {
  test("lists every problem with its place and key", () => {
    const error = new HmsError("INVALID_ARGUMENT", "x.hms.yml has 2 problems.", {
      fieldViolations: [
        { field: "scaling.min", description: "Write a number.", line: 4, column: 8 },
        { field: "", description: "This is not YAML.", line: 9, column: 1 },
      ],
    });
    expect(renderError(error, plain)).toBe(
      "✗ x.hms.yml has 2 problems.\n  4:8 scaling.min: Write a number.\n  9:1 This is not YAML.\n",
    );
  });

  test("tells a single problem once", () => {
    const fieldViolations = [{ field: "environment", description: '"x y" cannot be a name.' }];
    const error = new HmsError("INVALID_ARGUMENT", 'environment: "x y" cannot be a name.', { fieldViolations });
    expect(renderError(error, plain)).toBe('✗ environment: "x y" cannot be a name.\n');
  });

  test("tells problems once that its message tells among other words", () => {
    const one = { field: "size", description: "is no number." };
    const other = { field: "", description: "names nothing." };
    const error = (fieldViolations: (typeof one)[], message: string) =>
      new HmsError("INVALID_ARGUMENT", message, { fieldViolations });
    expect(renderError(error([one], "It is wrong. size: is no number. Nothing was sent."), plain)).toBe(
      "✗ It is wrong. size: is no number. Nothing was sent.\n",
    );
    expect(
      renderError(error([one, other], "It is wrong. size: is no number. names nothing. Nothing was sent."), plain),
    ).toBe("✗ It is wrong. Nothing was sent.\n  size: is no number.\n  names nothing.\n");
  });
});
