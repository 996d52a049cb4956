import { monitorEventLoopDelay } from "node:perf_hooks";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { type IdentityTables, identityMigrations } from "@hms/service-identity";
import { serveIdentity } from "../../services/identity/src/testing/serve-identity.ts";

/** What a measured identity service is started with. */
export interface LoginHostTerms {
  readonly paths: Parameters<typeof connectionSource>[0];
  readonly keyFile: string;
}

// The identity service with its event loop watched: login-host.ts TERMS. Each message is answered with the p99.9 of the
// time between two turns of a timer of one millisecond since the last one, in milliseconds.
const { paths, keyFile } = JSON.parse(process.argv[2] ?? "{}") as LoginHostTerms;
const options = { source: connectionSource(paths), service: "identity", migrations: identityMigrations };
const database = await openServiceDatabase<IdentityTables>(options);
const served = { database, keyFile, record: () => {}, onFailure: (error: unknown) => console.error(error) };
const { origin } = await serveIdentity(served);
const loop = monitorEventLoopDelay({ resolution: 1 });
loop.enable();
process.on("message", () => {
  process.send?.(loop.percentile(99.9) / 1e6);
  loop.reset();
});
process.send?.(origin);
