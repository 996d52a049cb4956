import { existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { type ContenderCommand, versionOf } from "../support/contender.ts";

/** A proxy to compare with: how it is started on a port in front of an upstream, and its version. */
export interface Rival {
  key: string;
  /** null: not installed. */
  version(): Promise<string | null>;
  command(place: RivalPlace): ContenderCommand;
}

/** Where a rival runs. */
export interface RivalPlace {
  /** For its configuration. */
  folder: string;
  port: number;
  upstreamPort: number;
}

const NGINX = "/usr/sbin/nginx";
const HAPROXY = "/usr/sbin/haproxy";
const CADDY = "/usr/bin/caddy";

function writeConfig({ folder }: RivalPlace, name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

function nginxConfig(place: RivalPlace, server: string, name: string): string {
  return writeConfig(
    place,
    `${name}.conf`,
    `worker_processes 1; daemon off; master_process off; pid ${place.folder}/${name}.pid; error_log stderr;
events { worker_connections 4096; }
http {
  access_log off; keepalive_timeout 3600; keepalive_requests 1000000000; default_type text/plain;
  client_body_temp_path ${place.folder}/${name}-body; proxy_temp_path ${place.folder}/${name}-proxy;
  fastcgi_temp_path ${place.folder}/${name}-f; uwsgi_temp_path ${place.folder}/${name}-u; scgi_temp_path ${place.folder}/${name}-s;
  ${server}
}
`,
  );
}

/** The upstream of all: 36 bytes, from nginx's configuration or, where that is missing, from a small program. */
export function upstream(place: RivalPlace): ContenderCommand {
  const { folder, port } = place;
  if (!existsSync(NGINX)) {
    const host = join(import.meta.dirname, "upstream-host.ts");
    return { name: "upstream", port, command: process.execPath, args: [host, String(port)] };
  }
  const server = `server { listen 127.0.0.1:${port} backlog=1024; location / { return 200 "hello world, this is a small answer\\n"; } }`;
  return { name: "upstream", port, command: NGINX, args: ["-p", folder, "-c", nginxConfig(place, server, "upstream")] };
}

const nginx: Rival = {
  key: "nginx",
  version: () => versionOf(NGINX, ["-v"]),
  command(place) {
    const server = `upstream u { server 127.0.0.1:${place.upstreamPort}; keepalive 64; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${place.port} backlog=1024; location / {
    proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } }`;
    return {
      name: "nginx",
      port: place.port,
      command: NGINX,
      args: ["-p", place.folder, "-c", nginxConfig(place, server, "nginx")],
    };
  },
};

const haproxy: Rival = {
  key: "haproxy",
  version: () => versionOf(HAPROXY, ["-v"]),
  command(place) {
    const file = writeConfig(
      place,
      "haproxy.cfg",
      `global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
  timeout http-keep-alive 3600s
  http-reuse always
frontend f
  bind 127.0.0.1:${place.port}
  option forwardfor
  default_backend b
backend b
  server s 127.0.0.1:${place.upstreamPort} pool-max-conn 64
`,
    );
    return { name: "haproxy", port: place.port, command: HAPROXY, args: ["-db", "-f", file] };
  },
};

const caddy: Rival = {
  key: "caddy",
  version: () => versionOf(CADDY, ["version"]),
  command(place) {
    const file = writeConfig(
      place,
      "Caddyfile",
      `{
  admin off
  auto_https off
  storage file_system ${place.folder}/caddy
}
http://127.0.0.1:${place.port} {
  reverse_proxy 127.0.0.1:${place.upstreamPort} {
    transport http {
      keepalive_idle_conns_per_host 64
    }
  }
}
`,
    );
    return {
      name: "caddy",
      port: place.port,
      command: CADDY,
      args: ["run", "--config", file, "--adapter", "caddyfile"],
      env: { GOMAXPROCS: "1", HOME: place.folder, XDG_CONFIG_HOME: place.folder, XDG_DATA_HOME: place.folder },
    };
  },
};

const fastify: Rival = {
  key: "fastify_http_proxy",
  async version() {
    const version = (name: string) =>
      (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
    return `@fastify/http-proxy ${version("@fastify/http-proxy")} on fastify ${version("fastify")}`;
  },
  command(place) {
    const host = join(import.meta.dirname, "fastify-host.ts");
    const args = [host, String(place.port), String(place.upstreamPort)];
    return { name: "@fastify/http-proxy", port: place.port, command: process.execPath, args };
  },
};

/** All rivals: one worker each, connections to the upstream kept open, no access log. */
export const RIVALS: readonly Rival[] = [nginx, haproxy, caddy, fastify];
