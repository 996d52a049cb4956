import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

const PROGRAM = `
import { registerHooks } from "node:module";
const loaded = new Set();
registerHooks({ resolve(name, context, next) { loaded.add(name); return next(name, context); } });
await import(process.argv[1]);
console.log(JSON.stringify([...loaded]));
`;

test("the protocol, password hashing, signatures and word lists are not loaded before somebody needs them", () => {
  const entry = new URL("./index.ts", import.meta.url).href;
  const loaded = execFileSync(process.execPath, ["--input-type=module", "--eval", PROGRAM, entry], {
    encoding: "utf8",
  });
  const names = JSON.parse(loaded) as string[];
  expect(names).toContain("kysely");
  for (const library of [
    "oidc-provider",
    "jose",
    "@simplewebauthn/server",
    "uqr",
    "openid-client",
    "@node-rs/argon2",
    "@zxcvbn-ts/language-common",
  ]) {
    expect(names).not.toContain(library);
  }
});
