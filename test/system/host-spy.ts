import { readdirSync, readFileSync } from "node:fs";
import { type RequestOptions, request } from "node:http";

/** Where a replica looks for the platform's own host. */
export interface Surroundings {
  readonly gatewayPort: string;
  /** The installation's config directory. */
  readonly config: string;
  /** The socket for services, and the token for it. */
  readonly socket: string;
  readonly token: string;
}

const PATHS = [
  "/",
  "/sign-in",
  "/sign-in/set-up",
  "/oidc/auth",
  "/oidc/.well-known/openid-configuration",
  "/oidc/jwks",
  "/docs/",
  "/openapi.json",
  "/v1/whoami",
  "/v1/hms.sys.deployment/ListServices",
  "/console",
  "/metrics",
];

function tried(look: () => string): string {
  try {
    return look();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

function ask(where: string, options: RequestOptions & { body?: string }): Promise<string> {
  return new Promise((resolve) => {
    request(options, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        body += piece;
      });
      response.on("end", () =>
        resolve(`${where} ${response.statusCode} ${options.path} ${JSON.stringify(response.headers)} ${body}`),
      );
    })
      .on("error", (error: NodeJS.ErrnoException) => resolve(`${where} ${error.code} ${options.path}`))
      .end(options.body);
  });
}

/** Looks wherever a service can look, and answers with everything that it was told, a line for each look. */
export async function spyOutHost({ gatewayPort: port, config, socket, token }: Surroundings): Promise<string[]> {
  const told = [`surroundings ${JSON.stringify(process.env)}`];
  for (const file of ["platform.host", "set-up.link", "login.json"].map((name) => `${config}/${name}`)) {
    told.push(`${file} ${tried(() => readFileSync(file, "latin1"))}`);
  }
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const what of ["cmdline", "environ"]) {
      told.push(`${pid} ${tried(() => readFileSync(`/proc/${pid}/${what}`, "latin1"))}`);
    }
  }
  const bearer = { authorization: `Bearer ${token}` };
  for (const path of PATHS) {
    for (const host of ["localhost", "hms.localhost", "x.hms.localhost", "127.0.0.1"]) {
      for (const shown of [{}, bearer]) told.push(await ask(host, { port, path, headers: { host, ...shown } }));
    }
    told.push(await ask("mesh", { host: "caller-svc.mesh", path, headers: bearer }));
    told.push(await ask("socket", { socketPath: socket, path, headers: { host: "localhost", ...bearer } }));
  }
  const headers = {
    host: "localhost",
    authorization: `Basic ${btoa("x:y")}`,
    "content-type": "application/x-www-form-urlencoded",
  };
  const body = "grant_type=client_credentials";
  told.push(await ask("token", { port, method: "POST", path: "/oidc/token", headers, body }));
  return told;
}
