import { writeSync } from "node:fs";
import { openAuditSpool } from "@hms/audit-spool";
import { eventOf } from "./audit-scene.ts";

// Records events one after the other, says of each when it is kept, and never ends by itself.
const [directory = ""] = process.argv.slice(2);
const spool = openAuditSpool({ directory, segmentBytes: 4096, heartbeatMs: 0 });
for (let n = 1; ; n += 1) {
  spool.record(eventOf({ resource: `kept-${n}` }));
  await spool.kept();
  writeSync(1, `${n}\n`);
}
