import { contenders } from "./contenders.ts";

/** Serves one contender: `server.ts NAME PATH`; reports its CPU time whenever it is asked. */
const [name, path] = process.argv.slice(2) as [string, string];
await contenders[name]?.serve(path);
process.on("message", () => process.send?.(process.cpuUsage()));
process.on("disconnect", () => process.exit());
process.send?.("ready");
