import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A version of the test program. */
export interface ProgramVersion {
  version: string;
  /** JavaScript run before it listens. */
  before?: string;
  /** JavaScript run for each request, before the answer. */
  each?: string;
  replicas?: number;
  /** Further manifest lines. */
  manifest?: string;
  name?: string;
}

/** A directory with a manifest and a small HTTP server that answers with its version. */
export class TestProgram implements Disposable {
  readonly directory = mkdtempSync("/tmp/hms-test-program-");

  /** Writes a version down; answers with the request that deploys it. */
  write({ version, before = "", each = "", replicas = 2, manifest = "", name = "echo" }: ProgramVersion) {
    const folder = join(this.directory, name);
    mkdirSync(folder, { recursive: true });
    const text = `name: ${name}
version: "${version}"
run:
  command: exec node server.js
routes: [{path: /${name}}]
scaling: {min: ${replicas}}
health: {http: /healthz, interval: 100ms, min_healthy_time: 50ms, start_timeout: 4s}
stop_grace: 3s
${manifest}`;
    writeFileSync(
      join(folder, "server.js"),
      `const http = require("node:http");
${before}
const server = http.createServer((request, response) => {
  if (request.url === "/healthz") return response.end("ok");
  ${each}
  response.end(${JSON.stringify(version)} + (process.env.SUFFIX ?? ""));
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
`,
    );
    return { manifest: text, manifestPath: join(folder, "app.hms.yml"), environment: "" };
  }

  /** Puts a file of this name beside the programs, for those that look. */
  mark(name: string): void {
    writeFileSync(join(this.directory, name), "");
  }

  /** Takes it away. */
  unmark(name: string): void {
    rmSync(join(this.directory, name), { force: true });
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
