import { expect, test } from "vitest";
import { Client, metricsText, NotFoundError, serve } from "./index.ts";

/** The value of a sample, 0 if there is none. */
function sample(family: string, labels: string): number {
  const line = metricsText()
    .split("\n")
    .find((each) => each.startsWith(`${family}{service="hms.metrics.v1.MetricsService",${labels}}`));
  return Number(line?.split(" ").at(-1) ?? 0);
}

test("a program counts the calls that it answers and those that it makes, by method and outcome", async () => {
  await using stack = new AsyncDisposableStack();
  const heard: string[] = [];
  const service = await serve({
    serviceId: "hms.metrics",
    register: false,
    observer: { finished: (method, code) => heard.push(`${method.desc.name} ${code}`) },
    methods: {
      Get: ({ id }: { id?: string }) => {
        if (id !== "a") throw new NotFoundError("There is none.");
        return { id };
      },
      async *Follow() {
        yield { n: 1 };
        yield { n: 2 };
        await new Promise((resolve) => setTimeout(resolve, 10_000).unref());
      },
    },
  });
  stack.use(service);
  const client = stack.use(new Client("hms.metrics", { address: service.address }));
  await client.call("Get", { id: "a" });
  await client.call("Get", { id: "a" });
  await expect(client.call("Get", { id: "b" })).rejects.toThrow(NotFoundError);
  for await (const { n } of client.stream<{ n: number }>("Follow")) if (n === 2) break;
  await expect.poll(() => sample("hms_ffi_calls_total", 'method="Follow",code="CANCELLED"')).toBe(1);
  for (const family of ["hms_ffi_calls_total", "hms_ffi_client_calls_total"]) {
    expect(sample(family, 'method="Get",code="OK"')).toBe(2);
    expect(sample(family, 'method="Get",code="NOT_FOUND"')).toBe(1);
    expect(sample(family, 'method="Follow",code="CANCELLED"')).toBe(1);
  }
  for (const family of ["hms_ffi_call_duration_seconds", "hms_ffi_client_call_duration_seconds"]) {
    expect(sample(`${family}_count`, 'method="Get"')).toBe(3);
    expect(sample(`${family}_bucket`, 'method="Get",le="+Inf"')).toBe(3);
  }
  expect(heard.toSorted()).toEqual(["Follow CANCELLED", "Get NOT_FOUND", "Get OK", "Get OK"]);
});
