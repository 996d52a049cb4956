import { appendFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import type { AuditEvent } from "@hms/kernel";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { serveSocket } from "@hms/wire";
import { createRegistryService, type RegistryTables, registryMigrations } from "../index.ts";
import { grpcForeignServers } from "./grpc-foreign-servers.ts";
import { kernelFor } from "./registry-scene.ts";

// A registry in a process of its own, for tests that kill it: registry-host.ts SOCKET PATHS DATABASE [URL].
const [path = "", paths = "{}", name = "", url = ""] = process.argv.slice(2);
const source = connectionSource(JSON.parse(paths), url || undefined).withDatabase(name);
const database = await openServiceDatabase<RegistryTables>({
  source,
  service: "registry",
  migrations: registryMigrations,
});
// What it has recorded must be there after it was killed, too.
const record = ({ requestId }: AuditEvent) => appendFileSync(`${path}.audit`, `${requestId}\n`);
const audit = { accepts: true, record };
const { registration, policies } = createRegistryService({ database, foreignServers: grpcForeignServers, audit });
const kernel = kernelFor(registration);
kernel.register(policies);
await serveSocket(kernel, { path });
// Who is killed cannot leave it behind at its end.
flushCompileCache();
process.stdout.write("ready\n");
