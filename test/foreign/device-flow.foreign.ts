import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Browser } from "../../services/identity/src/testing/browser.ts";
import { IdentityScene } from "../../services/identity/src/testing/identity-scene.ts";
import { signedIn, somebody } from "../../services/identity/src/testing/people.ts";
import { goOAuth, missing } from "./foreign-tools.ts";

let scene: IdentityScene;
beforeAll(async () => {
  scene = await IdentityScene.open();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

interface Tokens {
  readonly access: string;
  readonly refresh: string;
  readonly type: string;
  /** Seconds. */
  readonly lasts: number;
}

test.skipIf(missing("go"))(
  "golang.org/x/oauth2 signs in by the device flow, refreshes, and is out when it has revoked",
  async () => {
    const { origin, identity } = await scene.start();
    const accountId = await somebody(scene.database, "anna");
    const { browser } = await signedIn(scene.database, new Browser(origin), accountId);
    const program = spawn(await goOAuth(), [`${origin}/oidc`, "hms-cli"], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(program, "exit");
    const said: Record<string, unknown> = {};
    const alive: boolean[] = [];
    for await (const line of createInterface({ input: program.stdout })) {
      const { step, value } = JSON.parse(line) as { step: string; value: unknown };
      said[step] = value;
      if (step === "code") {
        const { code, at } = value as { code: string; at: string };
        expect(at).toBe(`${origin}/oidc/device`);
        const confirm = await browser.submit(await browser.get("/oidc/device"), { user_code: code });
        expect((await browser.submit(confirm, { confirm: "yes" })).body).toContain("The program is in");
      }
      if (step === "tokens" || step === "refreshed") {
        alive.push((await identity.tokens.principalOf((value as Tokens).access))?.id === accountId);
      }
    }
    expect(await ended).toEqual([0, null]);
    const [first, second] = [said.tokens, said.refreshed] as [Tokens, Tokens];
    expect(alive).toEqual([true, true]);
    expect(first).toMatchObject({ type: expect.stringMatching(/^bearer$/i), refresh: expect.stringMatching(/.{20,}/) });
    expect(first.lasts).toBeGreaterThan(60);
    expect(second.access).not.toBe(first.access);
    expect(second.refresh).not.toBe(first.refresh);
    expect(said).toMatchObject({ revoked: 200, refused: "invalid_grant" });
    expect(await identity.tokens.principalOf(second.access)).toBeUndefined();
  },
);
