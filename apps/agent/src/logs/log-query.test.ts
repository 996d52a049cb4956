import { agent } from "@hms/contracts";
import { tempFolder } from "@hms/testkit";
import { expect, test } from "vitest";
import { queryLogs } from "./log-query.ts";
import { LogStore } from "./log-store.ts";

test("a reader that leaves while new lines are collected ends its query and nothing else", async () => {
  using folder = tempFolder({});
  const store = new LogStore(folder.path);
  const replicaId = "default/a/1/1-x";
  const query = { environment: "default", service: "a", replicaId, tail: 0, sinceMs: 0, contains: "", follow: true };
  const leave = new AbortController();
  const batches = queryLogs(store, query, leave.signal);
  expect((await batches.next()).value).toMatchObject({ caughtUp: true });
  await store.writer(replicaId).note("new");
  const next = batches.next();
  leave.abort(new Error("left"));
  expect((await next).value).toMatchObject({ records: [{ record: { text: Buffer.from("new") } }] });
  await expect(batches.next()).rejects.toThrow("left");
  await store.close(replicaId);
});

test("a tail over replicas is the end of everything, also of what was written in one millisecond", async () => {
  using folder = tempFolder({});
  const store = new LogStore(folder.path);
  const replicaIds = ["default/a/1/1-x", "default/a/1/2-x", "default/a/1/3-x"];
  const line = (text: string, timeMs: number) => ({
    timeMs: 1_700_000_000_000 + timeMs,
    stream: agent.LogStream.STDOUT,
    text: Buffer.from(text),
    continues: false,
  });
  for (const [index, replicaId] of replicaIds.entries()) {
    const lines = [line(`${index} first`, 1), line(`${index} second`, 2 - (index % 2)), line(`${index} third`, 2)];
    await store.writer(replicaId).append(lines);
  }
  const read = async (tail: number) => {
    const query = { environment: "", service: "a", replicaId: "", tail, sinceMs: 0, contains: "", follow: false };
    const texts: string[] = [];
    for await (const { records } of queryLogs(store, query))
      texts.push(...records.map(({ record }) => `${record.text}`));
    return texts;
  };
  const all = await read(0);
  expect(all).toHaveLength(9);
  for (let tail = 1; tail <= 9; tail += 1) expect(await read(tail)).toEqual(all.slice(-tail));
  for (const replicaId of replicaIds) await store.close(replicaId);
});
