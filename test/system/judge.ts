import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** What programs of a test ask the test itself over HTTP, and what it answers. */
export interface Judge extends AsyncDisposable {
  /** Where it answers any path. */
  readonly url: string;
  /** The paths asked for so far, the oldest first. */
  readonly questions: readonly string[];
}

/** Starts a judge on loopback; `decide` gives the status for a path, as soon as it wants to. */
export async function openJudge(decide: (path: string) => number | Promise<number>): Promise<Judge> {
  const questions: string[] = [];
  const server = createServer(async ({ url = "" }, response) => {
    questions.push(url);
    response.statusCode = await decide(url);
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    questions,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
