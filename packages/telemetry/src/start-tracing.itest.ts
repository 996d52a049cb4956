import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { registry } from "@hms/contracts";
import { anonymous, componentPrincipal, implement, Kernel } from "@hms/kernel";
import { expositionProblems } from "@hms/testkit";
import { afterEach, expect, test } from "vitest";
import { createCallMetrics, createCallTracer, startTracing } from "./index.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Collected {
  path: string;
  key: string | undefined;
  names: string[];
  service: string;
}

/** A collector that speaks OTLP over HTTP with JSON, as the OpenTelemetry protocol says. */
async function startCollector() {
  const collected: Collected[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (text) => {
      body += text;
    });
    request.on("end", () => {
      const { resourceSpans } = JSON.parse(body);
      collected.push({
        path: request.url ?? "",
        key: request.headers["x-key"] as string | undefined,
        names: resourceSpans.flatMap((one: { scopeSpans: { spans: { name: string }[] }[] }) =>
          one.scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
        ),
        service: resourceSpans[0].resource.attributes.find(({ key }: { key: string }) => key === "service.name").value
          .stringValue,
      });
      response.setHeader("content-type", "application/json");
      response.end("{}");
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  ends.push(() => server.close());
  return { collected, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

function callableKernel(options: Partial<ConstructorParameters<typeof Kernel>[0]>) {
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
    ...options,
  });
  const { RegistryService } = registry;
  const all = Object.fromEntries(RegistryService.methods.map(({ localName }) => [localName, () => ({})]));
  kernel.register(implement(RegistryService, all as never));
  return kernel.client(RegistryService, componentPrincipal("test"));
}

test("the spans of calls reach a collector, the last ones before the process ends", async () => {
  const { collected, endpoint } = await startCollector();
  const tracing = await startTracing({ serviceName: "hms-test", endpoint, headers: { "x-key": "k" } });
  const client = callableKernel({ tracer: createCallTracer({ ratio: 1 }) });
  await client.lookup({ serviceId: "hms.a" });
  await client.list({});
  await tracing[Symbol.asyncDispose]();
  expect(collected).toMatchObject([{ path: "/v1/traces", key: "k", service: "hms-test" }]);
  expect(collected[0]?.names).toEqual(["hms.ffi.v1.RegistryService/Lookup", "hms.ffi.v1.RegistryService/List"]);
});

const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;

async function metricsOfACall(): Promise<string> {
  const metrics = createCallMetrics();
  const client = callableKernel({ observer: metrics });
  await client.lookup({ serviceId: "hms.a" });
  return metrics.expose();
}

test("the metrics of calls are well formed", async () => {
  expect(expositionProblems(await metricsOfACall())).toEqual([]);
});

test.skipIf(!hasPromtool)(
  "promtool, where it is installed, has nothing to say against the metrics of calls",
  async () => {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: await metricsOfACall() });
    expect({ status, said: `${stdout}${stderr}` }).toEqual({ status: 0, said: "" });
  },
);
