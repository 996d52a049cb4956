import { readFileSync } from "node:fs";
import { createAccessPolicy, PolicyBook } from "@hms/authorization";
import { componentPrincipal } from "@hms/kernel";

/** What a process pays for its first decision: milliseconds of CPU, and megabytes of its own (PSS). */
const pssMb = () => Number(/^Pss:\s+(\d+)/m.exec(readFileSync("/proc/self/smaps_rollup", "utf8"))?.[1]) / 1024;
const book = new PolicyBook({ components: { dataplane: ["mesh:read"] } });
const policy = createAccessPolicy(book);
globalThis.gc?.();
const before = { cpu: process.cpuUsage(), mb: pssMb() };
const method = { rule: { permission: "mesh:read" } } as never;
void policy.decide({ principal: componentPrincipal("dataplane"), permission: "mesh:read", resource: "", method });
const { user, system } = process.cpuUsage(before.cpu);
globalThis.gc?.();
process.stdout.write(JSON.stringify({ cpuMs: (user + system) / 1000, mb: pssMb() - before.mb }));
