import { chmodSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { outgoingTo } from "@hms/kernel";
import { tempFolder } from "@hms/testkit";
import { expect, test, vi } from "vitest";
import { openOutgoingFile } from "./index.ts";

const mayReach = (host: string) => {
  try {
    outgoingTo(host);
    return true;
  } catch {
    return false;
  }
};

test("the file narrows while it is there, follows its changes, and ends with who opened it", async () => {
  using folder = tempFolder();
  const path = `${folder.path}/outgoing.json`;
  const put = (text: string) => {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  };
  const failures: string[] = [];
  const open = () => openOutgoingFile({ path, onFailure: ({ message }) => failures.push(message) });
  const first = open();
  expect(mayReach("203.0.113.7")).toBe(true);
  put('{"hosts": ["203.0.113.0/28"]}');
  await vi.waitFor(() => expect(mayReach("203.0.113.77")).toBe(false), 6000);
  expect([mayReach("203.0.113.7"), mayReach("127.0.0.1")]).toEqual([true, true]);
  // What was good goes on; a process that begins now reaches nothing rather than everything.
  put('{"hosts": ["https://hooks.example.org", "10.0.0.0/99"], "host": []}');
  await vi.waitFor(() => expect(failures).toHaveLength(1), 6000);
  expect(failures[0]).toMatch(/is no host.*is no host.*host.*hosts/s);
  expect([mayReach("203.0.113.7"), mayReach("203.0.113.77")]).toEqual([true, false]);
  first[Symbol.dispose]();
  expect(mayReach("203.0.113.77")).toBe(true);
  using second = open();
  expect([mayReach("203.0.113.7"), mayReach("127.0.0.1")]).toEqual([false, true]);
  put('{"hosts": []}');
  await vi.waitFor(() => expect(mayReach("203.0.113.7")).toBe(false), 6000);
  put('{"hosts": ["203.0.113.7"]}');
  await vi.waitFor(() => expect(mayReach("203.0.113.7")).toBe(true), 6000);
  chmodSync(path, 0o666);
  rmSync(path);
  await vi.waitFor(() => expect(mayReach("203.0.113.77")).toBe(true), 6000);
  expect(second).toBeDefined();
});
