import fc from "fast-check";
import { expect, test } from "vitest";
import { SecretMask } from "./index.ts";

/** What is shown of chunks. */
function shown(values: string[], chunks: readonly (string | Buffer)[]): string {
  const stream = new SecretMask(values).stream();
  return Buffer.concat([...chunks.map((chunk) => stream.push(Buffer.from(chunk))), stream.end()]).toString();
}

test("values are hidden wherever they stand, and however they come in", () => {
  expect(shown(["correct-horse"], ["a correct-horse, co", "rrect-ho", "rse correct-hors", "es"])).toBe(
    "a ***, *** ***s",
  );
  expect(shown(["größer-als"], ["x größer-als y"])).toBe("x *** y");
  expect(shown(["a.b*c(d)[e]"], ["a.b*c(d)[e]a-b*c(d)[e]"])).toBe("***a-b*c(d)[e]");
});

test("of values that begin alike the longer one is hidden whole", () => {
  expect(shown(["12345678", "12345678ABCD"], ["12345678", "ABCD 12345678 ", "12345678A"])).toBe("*** *** ***A");
});

test("lines of a value are hidden each, and what is too short to tell from other words is not", () => {
  expect(shown(["first-line\r\nshort\nsecond-line"], ["first-line\nshort\nsecond-line\n"])).toBe("***\nshort\n***\n");
  expect(shown(["abc", ""], ["abc"])).toBe("abc");
});

test("what cannot be a secret any more is not held back", () => {
  const stream = new SecretMask(["correct-horse"]).stream();
  expect(stream.push(Buffer.from("ready corr")).toString()).toBe("ready ");
  expect(stream.push(Buffer.from("ections\n")).toString()).toBe("corrections\n");
});

test("bytes that are no text stay as they are", () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const stream = new SecretMask(["correct-horse"]).stream();
  expect(Buffer.concat([stream.push(bytes), stream.end()])).toEqual(bytes);
});

test("no way of cutting a text into chunks shows more, or less", () => {
  const letters = { unit: fc.constantFrom("a", "b") } as const;
  const values = fc.array(fc.string({ ...letters, minLength: 8, maxLength: 11 }), { minLength: 1, maxLength: 3 });
  const chunks = fc.array(fc.string({ ...letters, maxLength: 12 }), { maxLength: 8 });
  fc.assert(
    fc.property(values, chunks, (secrets, parts) => {
      const once = shown(secrets, [parts.join("")]);
      expect(shown(secrets, parts)).toBe(once);
      for (const secret of secrets) expect(once).not.toContain(secret);
    }),
  );
});
