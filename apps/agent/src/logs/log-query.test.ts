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
