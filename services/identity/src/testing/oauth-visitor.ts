import { identityClients } from "@hms/contracts";
import { calculatePKCECodeChallenge } from "openid-client";
import { expect } from "vitest";
import { Browser, localFetch } from "./browser.ts";
import { type IdentityProcess, type IdentityScene, operator } from "./identity-scene.ts";

/** A registered application of somebody's. */
export interface Application {
  readonly clientId: string;
  readonly secret: string;
}

const PASSWORD = "four words nobody joined";

/** Asks for authorization as applications do, with whatever is wrong about it. */
export class OAuthVisitor {
  readonly password = PASSWORD;
  readonly redirect = "https://wiki.example.org/done";
  readonly verifier = "v".repeat(43);
  readonly running: IdentityProcess;
  readonly wiki: Application;
  readonly other: Application;

  private constructor(running: IdentityProcess, [wiki, other]: readonly [Application, Application]) {
    this.running = running;
    this.wiki = wiki;
    this.other = other;
  }

  /** Makes the first admin, anna, and two applications. */
  static async open(scene: IdentityScene): Promise<OAuthVisitor> {
    const running = await scene.start();
    const setUp = new URL(running.identity.setUpLink ?? "");
    const browser = new Browser(running.origin);
    await browser.submit(await browser.get(setUp.pathname + setUp.search), { login: "anna", password: PASSWORD });
    const clients = running.kernel.client(identityClients.ClientService, operator);
    const application = async (name: string, redirect: string) => {
      const made = await clients.createClient({
        name,
        redirectUris: [redirect],
        confidential: true,
        scopes: ["services:read"],
      });
      return { clientId: made.client?.clientId ?? "", secret: made.clientSecret };
    };
    return new OAuthVisitor(running, [
      await application("Wiki", "https://wiki.example.org/done"),
      await application("Other", "https://other.example.org/done"),
    ]);
  }

  /** A browser that knows nobody yet. */
  browse(): Browser {
    return new Browser(this.running.origin);
  }

  /** Whom a text stands for as an access token. */
  who(token: unknown) {
    return this.running.identity.tokens.principalOf(String(token));
  }

  challenge(): Promise<string> {
    return calculatePKCECodeChallenge(this.verifier);
  }

  /** An authorization request as it should be, with some of it changed; undefined leaves a parameter out. */
  async asked(changes: Record<string, string | undefined> = {}): Promise<URLSearchParams> {
    const right = {
      client_id: this.wiki.clientId,
      redirect_uri: this.redirect,
      response_type: "code",
      scope: "openid offline_access services:read",
      prompt: "consent",
      state: "s1",
      nonce: "n1",
      code_challenge: await this.challenge(),
      code_challenge_method: "S256",
    };
    const all = Object.entries({ ...right, ...changes });
    return new URLSearchParams(all.filter((pair): pair is [string, string] => pair[1] !== undefined));
  }

  /** Goes through sign-in and consent; where the browser was sent in the end. */
  async authorize(query: URLSearchParams): Promise<{ landed: URL; browser: Browser }> {
    const browser = this.browse();
    const page = await browser.get(`/oidc/auth?${query}`);
    const consent = await browser.submit(page, { login: "anna", password: PASSWORD });
    await browser.submit(consent, { answer: "yes" });
    return { landed: new URL(browser.landed ?? "http://nowhere"), browser };
  }

  /** A code that nobody has used. */
  async freshCode(): Promise<string> {
    const { landed } = await this.authorize(await this.asked());
    return landed.searchParams.get("code") ?? expect.unreachable("no code");
  }

  /** The form by which a code is redeemed. */
  withCode(code: string, changes: Record<string, string> = {}): Record<string, string> {
    const right = { grant_type: "authorization_code", code, redirect_uri: this.redirect, code_verifier: this.verifier };
    return { ...right, ...changes };
  }

  /** Sends a form to the protocol as a program. */
  send(path: string, form: Record<string, string>, { clientId, secret }: Application = this.wiki): Promise<Response> {
    return localFetch(`${this.running.origin}/oidc${path}`, {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${clientId}:${secret}`)}`,
        "content-type": "application/x-www-form-urlencoded",
      },
      body: String(new URLSearchParams(form)),
    });
  }

  /** Sends a form to the protocol as the command line does, which has no secret. */
  async ask(path: string, form: Record<string, string> = {}): Promise<Record<string, unknown>> {
    const answer = await localFetch(`${this.running.origin}/oidc${path}`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: String(new URLSearchParams({ client_id: "hms-cli", ...form })),
    });
    return { status: answer.status, ...((await answer.json()) as Record<string, unknown>) };
  }

  /** What the token endpoint says. */
  async redeem(form: Record<string, string>, from: Application = this.wiki): Promise<Record<string, unknown>> {
    const answer = await this.send("/token", form, from);
    return { status: answer.status, ...((await answer.json()) as Record<string, unknown>) };
  }
}
