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
const { registration } = createRegistryService({ database, foreignServers: grpcForeignServers });
await serveSocket(kernelFor(registration), { path });
process.stdout.write("ready\n");
