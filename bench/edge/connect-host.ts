import { createServer } from "node:http";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { registry } from "@hms/contracts";
import { RESPONSE } from "../call/workload.ts";

/** Serves the same method by connect-node, bare: `node connect-host.ts PORT`. */
const handler = connectNodeAdapter({
  routes: (router) => router.service(registry.RegistryService, { lookup: () => RESPONSE }),
});
createServer(handler).listen(Number(process.argv[2]), "127.0.0.1");
