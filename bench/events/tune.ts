// scratch
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { openServiceDatabase } from "@hms/postgres";
import { createEvent, openEventLog, openOutbox, outboxTables } from "@hms/events";
import { mkdtempSync } from "node:fs";
import { pathToFileURL } from "node:url";
const settings = process.argv[2] === "fast" ? undefined : { settings: "" };
await using instance = tempInstance();
await using pg = await startTestPostgres(instance.paths, settings);
const folder = mkdtempSync("/tmp/bench-m-");
await using log = await openEventLog({ source: pg.source, onFailure: (f) => console.log(f) });
await using database = await openServiceDatabase({ source: pg.source, service: "shop", migrations: pathToFileURL(`${folder}/`), components: [outboxTables] });
await using outbox = await openOutbox({ log, database });
let count = 0;
const sub = await log.subscribe({ topics: ["bench.**"], group: "g", ordering: (process.argv[3] ?? "key") as "key", concurrency: 200 }, () => { count += 1; });
const payload = { text: "x".repeat(160) };
const inFlight = 2000;
const end = performance.now() + 8000;
let published = 0;
const worker = async (n: number) => { while (performance.now() < end) { await outbox.publish([createEvent({ type: "bench.event", source: "/bench", partitionkey: `k${n % 500}`, data: payload })]); published += 1; } };
const start = performance.now();
const { treeCpuSeconds } = await import("../support/process-cpu.ts"); const pg0 = treeCpuSeconds(pg.pid);
const cpu0 = process.cpuUsage();
let last = 0; const timer = setInterval(() => { process.stderr.write(`${count - last}/s lag ${published - count}\n`); last = count; }, 1000);
await Promise.all(Array.from({ length: inFlight }, (_, n) => worker(n)));
const pubDone = performance.now();
while (count < published) await new Promise((r) => setTimeout(r, 5));
clearInterval(timer);
const ms = performance.now() - start;
const cpu = process.cpuUsage(cpu0);
console.log({ published, publish_per_s: published / (pubDone - start) * 1000, consumed_per_s: count / ms * 1000, pgCpuUsPerEvent: (treeCpuSeconds(pg.pid) - pg0) / count * 1e6, nodeCpuUsPerEvent: (cpu.user + cpu.system) / count });
// latency
const lat: number[] = [];
let sentAt = 0; let done: () => void = () => {};
await using sub2 = await log.subscribe({ topics: ["lat"], group: "lat" }, () => { lat.push(performance.now() - sentAt); done(); });
for (let i = 0; i < 200; i++) { const p = new Promise<void>((r) => { done = r; }); sentAt = performance.now(); await outbox.publish([createEvent({ type: "lat", source: "/b", data: payload })]); await p; await new Promise((r) => setTimeout(r, 5)); }
lat.sort((a, b) => a - b);
console.log({ p50: lat[100], p99: lat[197] });
await sub[Symbol.asyncDispose]();
