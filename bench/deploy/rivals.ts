import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort, versionOf } from "../support/contender.ts";
import type { LoadTerms } from "./load-host.ts";
import { lost, startMixedLoad } from "./mixed-load.ts";
import { PROGRAM } from "./program.ts";

const NGINX = "/usr/sbin/nginx";
const REPLICAS = 3;

/** A replica of the program, run by hand. */
interface Replica {
  port: number;
  child: ChildProcess;
}

/**
 * The same program, load and number of replicas behind nginx, deployed as scripts do it: new processes, healthy, `nginx -s
 * reload`, then SIGTERM for the old ones; and stop-first, which ends the old ones before the new ones start.
 */
export async function rivalFigures(terms: Omit<LoadTerms, "url">, deploys: number) {
  const version = await versionOf(NGINX, ["-v"]);
  if (version === null) return { figures: {}, versions: { nginx: "not installed" } };
  const reload = await measure(terms, { deploys, stopFirst: false });
  const stopFirst = await measure(terms, { deploys, stopFirst: true });
  return {
    figures: {
      rival_deploys: deploys,
      nginx_reload_requests_lost: reload,
      stop_first_requests_lost: stopFirst,
    },
    versions: { nginx: version },
  };
}

async function measure(
  terms: Omit<LoadTerms, "url">,
  { deploys, stopFirst }: { deploys: number; stopFirst: boolean },
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "hms-bench-nginx-"));
  writeFileSync(join(folder, "server.js"), PROGRAM);
  const port = await freePort();
  let replicas = await startReplicas(folder, "0");
  const nginx = startNginx({ folder, port, replicas });
  try {
    await answers(port, "/app");
    await using load = await startMixedLoad({ url: `http://127.0.0.1:${port}/app`, ...terms });
    for (let turn = 1; turn <= deploys; turn += 1) {
      const old = replicas;
      if (stopFirst) await endReplicas(old);
      replicas = await startReplicas(folder, String(turn));
      writeConfig({ folder, port, replicas });
      nginx.kill("SIGHUP");
      // Until the old workers take nothing new any more.
      await delay(1000);
      if (!stopFirst) await endReplicas(old);
    }
    return lost(await load.stop());
  } finally {
    nginx.kill("SIGTERM");
    await once(nginx, "exit");
    await endReplicas(replicas);
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeConfig({
  folder,
  port,
  replicas,
}: {
  folder: string;
  port: number;
  replicas: readonly Replica[];
}): string {
  const file = join(folder, "nginx.conf");
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    file,
    `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 8192; }
http { access_log off; ${paths.join(" ")} keepalive_requests 1000000;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream app { ${replicas.map((replica) => `server 127.0.0.1:${replica.port};`).join(" ")} keepalive 64; }
  server { listen 127.0.0.1:${port} backlog=1024; location / { proxy_pass http://app; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; } } }
`,
  );
  return file;
}

function startNginx(place: Parameters<typeof writeConfig>[0]): ChildProcess {
  const config = writeConfig(place);
  return spawn(NGINX, ["-p", place.folder, "-c", config], { stdio: "ignore" });
}

async function startReplicas(folder: string, version: string): Promise<Replica[]> {
  const ports = await Promise.all(Array.from({ length: REPLICAS }, freePort));
  const replicas = ports.map((port) => {
    const env = { ...process.env, PORT: String(port), APP_VERSION: version };
    return { port, child: spawn(process.execPath, [join(folder, "server.js")], { stdio: "ignore", env }) };
  });
  await Promise.all(ports.map((port) => answers(port, "/healthz")));
  return replicas;
}

async function endReplicas(replicas: readonly Replica[]): Promise<void> {
  await Promise.all(
    replicas.map(async ({ child }) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), 20_000);
      await ended;
      clearTimeout(hard);
    }),
  );
}

async function answers(port: number, path: string): Promise<void> {
  for (let turn = 0; turn < 600; turn += 1) {
    const ok = await new Promise((resolve) => {
      get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      }).once("error", () => resolve(false));
    });
    if (ok) return;
    await delay(50);
  }
  throw new Error(`nothing answers at ${port}`);
}
