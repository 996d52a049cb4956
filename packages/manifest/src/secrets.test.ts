import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Manifest, manifestDiff, parseManifest, type SecretPiece, secretNames, secretPieces } from "./index.ts";
import { secretTemplate } from "./secret-reference.ts";
import { SMALLEST } from "./testing.ts";

const env: Record<string, string> = { HOST: "db.mesh", DOLLAR: "$", TRICK: "${secret.OTHER}" };
const read = (lines: string) => parseManifest(`${SMALLEST}${lines}\n`, { resolveEnv: (name) => env[name] });

describe("secrets of a manifest", () => {
  it("become variables of the same name, or of the one that is written", () => {
    expect(read("secrets: [KEY, _b]").secrets).toEqual({ KEY: "${secret.KEY}", _b: "${secret._b}" });
    expect(read("secrets: {KEY: payment-key}").secrets).toEqual({ KEY: "${secret.payment-key}" });
    expect(read("env: {A: b}")).toMatchObject({ env: { A: "b" }, secrets: {} });
  });

  it("stand within values of env, which then stands apart", () => {
    const manifest = read('env: {URL: "postgres://app:${secret.DB-1}@${env.HOST}/${hms.secret.name}", A: b}');
    expect(manifest.env).toEqual({ A: "b" });
    const pieces = [{ text: "postgres://app:" }, { secret: "DB-1" }, { text: "@db.mesh/" }, { secret: "name" }];
    expect(secretPieces(manifest.secrets.URL ?? "")).toEqual(pieces);
    expect(secretNames(manifest)).toEqual(["DB-1", "name"]);
  });

  it("are never made by what a variable holds, nor by characters around them", () => {
    const value = 'env: {A: "${env.TRICK}", B: "${env.DOLLAR}${secret.X}$${secret.Y}${env.TRICK}"}';
    const manifest = read(value);
    expect(manifest.env).toEqual({ A: "${secret.OTHER}" });
    expect(secretPieces(manifest.secrets.B ?? "")).toEqual([
      { text: "$" },
      { secret: "X" },
      { text: "${secret.Y}${secret.OTHER}" },
    ]);
    expect(secretNames(manifest)).toEqual(["X"]);
  });

  it("are shown in differences by name", () => {
    const before = read('env: {A: "${secret.X}"}');
    const after = read('env: {A: "${secret.Y}"}\nsecrets: [B]');
    expect(manifestDiff(before, after)).toEqual([
      { key: "secrets.A", before: "${secret.X}", after: "${secret.Y}" },
      { key: "secrets.B", before: "", after: "${secret.B}" },
    ]);
  });

  it("hide what stands beside them where the variable is called like a secret", () => {
    const after = read('env: {API_TOKEN: "hush:${secret.X}", HOST: "${secret.Y}.example.org"}');
    expect(manifestDiff(undefined, after).filter(({ key }) => key.startsWith("secrets."))).toEqual([
      { key: "secrets.API_TOKEN", before: "", after: "***${secret.X}" },
      { key: "secrets.HOST", before: "", after: "${secret.Y}.example.org" },
    ]);
  });

  it("are none in what a version without them has stored", () => {
    const { secrets: _, ...stored } = read("env: {A: b}");
    expect(secretNames(stored as Manifest)).toEqual([]);
    expect(manifestDiff(stored as Manifest, read("env: {A: b}"))).toEqual([]);
  });
});

it("any text and any secret survive being kept as one text", () => {
  const piece = fc.oneof(
    fc.record({ text: fc.string({ minLength: 1, unit: fc.constantFrom("$", "{", "}", "a", "secret.", "\n") }) }),
    fc.record({ secret: fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_-]{0,9}$/) }),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      expect(secretPieces(secretTemplate(pieces))).toEqual(joined(pieces));
    }),
  );
});

/** The same pieces, neighbouring texts in one. */
function joined(pieces: readonly SecretPiece[]): SecretPiece[] {
  const all: SecretPiece[] = [];
  for (const piece of pieces) {
    const last = all.at(-1);
    if (last && "text" in last && "text" in piece) all[all.length - 1] = { text: last.text + piece.text };
    else all.push(piece);
  }
  return all;
}
