import { execFileSync, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmodSync, readFileSync } from "node:fs";
import { startTestPostgres, tempFolder, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import { expect, test } from "vitest";
import { connectionSource, openAdmin, openServiceDatabase } from "./index.ts";

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

test.runIf(hasOpenssl)("DATABASE_URL reaches a server over TCP, with TLS as its parameters say", async () => {
  // A loopback address of our own, because the port is always 5432.
  const address = `127.${randomInt(90, 250)}.${randomInt(1, 250)}.${randomInt(1, 250)}`;
  using files = tempFolder({ "hba.conf": "local all all scram-sha-256\nhostssl all all 127.0.0.0/8 scram-sha-256\n" });
  const [certificate, key] = [`${files.path}/server.pem`, `${files.path}/server.key`];
  const subject = ["-subj", "/CN=db.test", "-addext", `subjectAltName=IP:${address}`];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject];
  execFileSync("openssl", [...request, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  chmodSync(key, 0o600);
  await using instance = tempInstance();
  const settings = [
    "fsync = off",
    `listen_addresses = '${address}'`,
    `hba_file = '${files.path}/hba.conf'`,
    "ssl = on",
    `ssl_cert_file = '${certificate}'`,
    `ssl_key_file = '${key}'`,
  ];
  await using _server = await startTestPostgres(instance.paths, { settings: settings.join("\n") });
  const password = readFileSync(`${instance.paths.config}/postgres.password`, "utf8").trim();
  await using elsewhere = tempInstance();
  const source = (query: string) =>
    connectionSource(elsewhere.paths, `postgres://hms:${password}@${address}/postgres?${query}`);

  using migrations = tempFolder({ "0001_notes.sql": "create table notes (id int);" });
  const trusted = source(`sslmode=verify-full&sslrootcert=${certificate}`);
  await using notes = await openServiceDatabase({ source: trusted, service: "notes", migrations: migrations.url });
  const secured = sql<{ ssl: boolean }>`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
  expect((await secured.execute(notes.db)).rows).toEqual([{ ssl: true }]);
  expect(notes.isolation).toEqual({ kind: "own-role", role: "hms_notes" });

  await using _trusting = await openAdmin(source("sslmode=no-verify"));
  const distrustful = openAdmin(source("sslmode=verify-full"));
  await expect(distrustful).rejects.toMatchObject({ details: { reason: "DATABASE_CERTIFICATE" } });
  await expect(openAdmin(source("sslmode=disable"))).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
});
