import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Lock files of every language that this repository may come to hold. */
const LOCK_FILE =
  /(?:^|\/)(?:package-lock\.json|npm-shrinkwrap\.json|[^/]+\.lock|pnpm-lock\.yaml|go\.sum|Pipfile\.lock)$/;
/** An address, but for the name of the public index that some formats demand: it is no place of anybody's own. */
const ADDRESS =
  /\b(?:https?|git|ssh|git\+\w+|registry\+https?):\/\/(?!(?:github\.com\/rust-lang\/crates\.io-index|rubygems\.org\/))/;

const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" })
  .split("\n")
  .filter((file) => LOCK_FILE.test(file));

test("lock files are found", () => {
  expect(files).toContain("package-lock.json");
});

test.each(files)("%s says what is installed, not from which address: .npmrc leaves them out", (file) => {
  const found = readFileSync(file, "utf8")
    .split("\n")
    // Who may be sent money is no download address.
    .filter((line) => ADDRESS.test(line) && !/"url":|sponsors|opencollective|ko-fi|tidelift|patreon/.test(line));
  expect(found).toEqual([]);
});
