import proxy from "@fastify/http-proxy";
import fastify from "fastify";

/** Serves @fastify/http-proxy: `node fastify-host.ts PORT UPSTREAM_PORT`. */
const [port, upstreamPort] = process.argv.slice(2).map(Number) as [number, number];
const server = fastify({ logger: false });
await server.register(proxy, { upstream: `http://127.0.0.1:${upstreamPort}` });
await server.listen({ port, host: "127.0.0.1" });
