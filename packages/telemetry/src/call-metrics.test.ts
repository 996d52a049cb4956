import { registry } from "@hms/contracts";
import { type MethodEntry, methodRule } from "@hms/kernel";
import { expect, test } from "vitest";
import { createCallMetrics } from "./index.ts";

const desc = registry.RegistryService.method.lookup;
const entry = (name: string, environment?: string): MethodEntry => ({
  name,
  desc,
  rule: methodRule(desc),
  mutates: false,
  handler: () => undefined,
  ...(environment === undefined ? {} : { environment }),
});

test("calls are counted by method, code and, where they are served elsewhere, environment", () => {
  const metrics = createCallMetrics();
  const lookup = entry("hms.ffi.v1.RegistryService/Lookup");
  metrics.finished(lookup, "OK", 0.2);
  metrics.finished(lookup, "OK", 3);
  metrics.finished(lookup, "NOT_FOUND", 400_000);
  metrics.finished(entry("hms.cdf.debate.v1.DebateService/Create", "staging"), "OK", 1);
  const text = metrics.expose();
  const labels = 'service="hms.ffi.v1.RegistryService",method="Lookup"';
  expect(text).toContain(`hms_ffi_calls_total{${labels},code="OK"} 2\n`);
  expect(text).toContain(`hms_ffi_calls_total{${labels},code="NOT_FOUND"} 1\n`);
  expect(text).toContain(`hms_ffi_call_duration_seconds_bucket{${labels},le="0.00025"} 1\n`);
  expect(text).toContain(`hms_ffi_call_duration_seconds_bucket{${labels},le="300"} 2\n`);
  expect(text).toContain(`hms_ffi_call_duration_seconds_count{${labels}} 3\n`);
  expect(text).toContain('method="Create",environment="staging",code="OK"} 1\n');
});

test("an endless number of method names does not fill the memory", () => {
  const metrics = createCallMetrics();
  for (let name = 0; name < 10_010; name += 1) metrics.finished(entry(`s/M${name}`), "OK", 1);
  expect(metrics.expose()).toContain('hms_ffi_calls_total{service="other",method="other",code="OK"} 10\n');
});
