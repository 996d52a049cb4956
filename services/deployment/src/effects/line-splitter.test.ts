import { expect, test } from "vitest";
import { LineSplitter, LONGEST_LINE } from "./line-splitter.ts";

function linesOf(chunks: readonly Uint8Array[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.add(chunk);
  splitter.end();
  return lines;
}

const bytes = (text: string) => new TextEncoder().encode(text);

test("lines are passed on as they are, wherever they were cut on their way", () => {
  const text = bytes("one\r\n\ntwo: ü🙂\nthree");
  expect(linesOf([text])).toEqual(["one", "", "two: ü🙂", "three"]);
  expect(linesOf(Array.from(text, (byte) => Uint8Array.of(byte)))).toEqual(linesOf([text]));
});

test("a line without an end comes in pieces as it is said, and no character is torn", () => {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  splitter.add(bytes(`x${"🙂".repeat(LONGEST_LINE)}`));
  expect(lines.map(({ length }) => length)).toEqual([LONGEST_LINE - 1, LONGEST_LINE]);
  expect(lines.every((line) => line.isWellFormed())).toBe(true);
  splitter.end();
  expect(lines.join("")).toBe(`x${"🙂".repeat(LONGEST_LINE)}`);
});

test("hundreds of megabytes without a newline take no longer than as many with them", () => {
  const chunk = bytes("x".repeat(64 * 1024));
  let said = 0;
  const splitter = new LineSplitter((line) => {
    said += line.length;
  });
  for (let index = 0; index < 4096; index += 1) splitter.add(chunk);
  splitter.end();
  expect(said).toBe(4096 * 64 * 1024);
});
