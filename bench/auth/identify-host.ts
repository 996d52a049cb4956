import { createServer } from "node:net";
import { identityCredentials } from "@hms/contracts";
import { componentPrincipal, implement, Kernel } from "@hms/kernel";
import { serveSocket } from "@hms/wire";

/** The server's side: knows every token at once. `node identify-host.ts PORT SOCKET`; the port says that it is ready. */
const [port = "", path = ""] = process.argv.slice(2);
const kernel = new Kernel({
  identity: { authenticate: () => componentPrincipal("dataplane") },
  policy: { decide: () => ({ allowed: true }) },
  audit: { accepts: true, record: () => {} },
});
kernel.register(
  implement(identityCredentials.CredentialService, {
    identify: ({ token }) => ({
      known: true,
      kind: "user",
      id: token.slice(-6),
      roles: ["operator"],
      permitted: true,
      callsServices: true,
    }),
    async *watchRevoked(_, { signal }) {
      while (!signal.aborted) {
        yield {};
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    },
  }),
);
await serveSocket(kernel, { path });
createServer().listen(Number(port), "127.0.0.1");
