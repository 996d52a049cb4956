import { expect, test } from "vitest";
import { addressLines, nextCommands } from "./welcome.ts";

const examples = [
  { name: "payment-svc", urls: ["http://payment-svc.mesh/pay"] },
  { name: "receipt-svc", urls: ["http://receipt-svc.mesh/receipt"] },
];
const ready = (services: typeof examples, instance?: string) => ({ gatewayPort: 3000, instance, services });

test("the gateway and every service are named with their addresses", () => {
  expect(addressLines(ready(examples))).toEqual([
    "Gateway: http://localhost:3000",
    "payment-svc: http://payment-svc.mesh/pay",
    "receipt-svc: http://receipt-svc.mesh/receipt",
  ]);
});

test("where the examples run, one is called, both are listed, and the other's log is followed", () => {
  expect(nextCommands(ready(examples))).toEqual([
    `curl -X POST localhost:3000/pay -H 'content-type: application/json' -d '{"email":"a@b.c","amount":12}'`,
    "./hms-sys services",
    "./hms-sys logs receipt-svc -f",
  ]);
});

test("elsewhere the three commands are those that any work begins with, for the same instance", () => {
  expect(nextCommands(ready([], "two"))).toEqual([
    "hms-sys --instance two deploy FILE.hms.yml",
    "hms-sys --instance two services",
    "hms-sys --instance two doctor",
  ]);
});
