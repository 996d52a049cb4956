import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Configuration, Provider } from "oidc-provider";

/** A whole provider of OpenID Connect of somebody else's, on this machine. */
export interface OutsideProvider extends AsyncDisposable {
  readonly issuer: string;
  readonly origin: string;
  /** Who is signed in there now. */
  subject: string;
  /** What it says of them, beside their subject. */
  claims: Readonly<Record<string, unknown>>;
}

/** What this installation is there. */
export const OUTSIDE_CLIENT = { client_id: "hms", client_secret: "a secret of theirs and ours" } as const;

/** Starts one; whoever comes is signed in there as `subject`, without a page. */
export async function openOutsideProvider(redirectUris: string[]): Promise<OutsideProvider> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`;
  const own = {
    issuer: `${origin}/there`,
    origin,
    subject: "somebody",
    claims: { email: "anna@example.org" } as OutsideProvider["claims"],
  };
  const configuration: Configuration = {
    clients: [
      { ...OUTSIDE_CLIENT, redirect_uris: redirectUris, grant_types: ["authorization_code"], response_types: ["code"] },
    ],
    cookies: { keys: ["of this test"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ ...own.claims, sub: id }) }),
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, { uid }) => `/there/interaction/${uid}` },
  };
  const provider = new Provider(own.issuer, configuration);
  provider.silent = true;
  const callback = provider.callback();
  const answer = async (request: Parameters<typeof callback>[0], response: Parameters<typeof callback>[1]) => {
    if (!request.url?.startsWith("/there/interaction/")) {
      Object.assign(request, { originalUrl: request.url });
      request.url = request.url?.replace("/there", "") ?? "/";
      return callback(request, response);
    }
    const { prompt, params } = await provider.interactionDetails(request, response);
    if (prompt.name === "login") {
      return provider.interactionFinished(request, response, { login: { accountId: own.subject, remember: false } });
    }
    const grant = new provider.Grant({ accountId: own.subject, clientId: String(params.client_id) });
    grant.addOIDCScope(String(params.scope));
    return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
  };
  server.on("request", (request, response) => void answer(request, response).catch(() => response.destroy()));
  return Object.assign(own, {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  });
}
