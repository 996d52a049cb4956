import { expect, test } from "vitest";
import { explainServerExit } from "./server-exit.ts";

test.each([
  ['FATAL:  could not write lock file "postmaster.pid": No space left on device', "RESOURCE_EXHAUSTED", "DISK_FULL"],
  ['FATAL:  lock file "postmaster.pid" already exists', "FAILED_PRECONDITION", "POSTGRES_ALREADY_RUNNING"],
  ["FATAL:  database files are incompatible with server", "FAILED_PRECONDITION", "POSTGRES_VERSION"],
  ["PANIC:  could not locate a valid checkpoint record at 0/1", "DATA_LOSS", "POSTGRES_DAMAGED"],
  ['FATAL:  data directory "/d" has wrong ownership', "PERMISSION_DENIED", "POSTGRES_PERMISSIONS"],
  ['FATAL:  configuration file "/d/postgresql.local.conf" contains errors', "FAILED_PRECONDITION", "POSTGRES_SETTINGS"],
  [
    "postgres: error while loading shared libraries: libpq.so.5: cannot open",
    "FAILED_PRECONDITION",
    "POSTGRES_LIBRARIES",
  ],
  ["FATAL:  could not map anonymous shared memory: Cannot allocate memory", "RESOURCE_EXHAUSTED", "OUT_OF_MEMORY"],
  ["something nobody has seen", "INTERNAL", "POSTGRES_ENDED"],
])("the end of a server that said “%s” is explained as %s, with its words", (words, code, reason) => {
  const error = explainServerExit(`LOG:  starting\n${words}\n`);
  expect(error).toMatchObject({ code, details: { reason } });
  expect(error.message).toContain(words);
});
