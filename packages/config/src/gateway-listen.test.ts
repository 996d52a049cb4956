import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  changedGatewayListen,
  formatGatewayAddress,
  parseGatewayAddresses,
  readGatewayListen,
  writeGatewayListen,
} from "./gateway-listen.ts";

const parsed = (text: string) => parseGatewayAddresses("--http-listen", text).map(formatGatewayAddress);

function folder(): { data: string } {
  const data = mkdtempSync(join(tmpdir(), "hms-config-"));
  onTestFinished(() => rmSync(data, { recursive: true }));
  return { data };
}

test("addresses are read with commas between, each once; none is nowhere", () => {
  expect(parsed("0.0.0.0:80, [::]:80,192.0.2.1:8080,0.0.0.0:80")).toEqual(["0.0.0.0:80", "[::]:80", "192.0.2.1:8080"]);
  expect(parsed("none")).toEqual([]);
});

test.each([
  "",
  "80",
  ":80",
  "localhost:80",
  "example.org:80",
  "0.0.0.0",
  "0.0.0.0:0",
  "0.0.0.0:65536",
  "[::1.2:80",
  "::1:80",
])("%j is no address to listen at, and is told so", (text) =>
  expect(() => parsed(text)).toThrow(`not ${JSON.stringify(text)}`),
);

test("everything that is wrong is told together", () => {
  expect(() => parsed("a:1,0.0.0.0:80,999.0.0.1:2")).toThrow('not "a:1", "999.0.0.1:2".');
});

test("what is kept is found again; without anything kept it is nowhere", () => {
  const paths = folder();
  expect(readGatewayListen(paths)).toEqual({ http: [], https: [] });
  const listen = { http: [{ host: "0.0.0.0", port: 80 }], https: [{ host: "::", port: 443 }] };
  writeGatewayListen(paths, listen);
  expect(readGatewayListen(paths)).toEqual(listen);
});

test.each(["{", '{"http":["x"]}', '{"http":3}'])("a file that holds %s is told with what to do", (text) => {
  const paths = folder();
  writeFileSync(`${paths.data}/gateway-listen.json`, text);
  expect(() => readGatewayListen(paths)).toThrow("hms-sys up --http-listen");
});

test("what is told changes, the rest stays; one address is with TLS or without", () => {
  const before = { http: [{ host: "0.0.0.0", port: 80 }], https: [{ host: "0.0.0.0", port: 443 }] };
  expect(changedGatewayListen(before, { http: "none", https: undefined })).toEqual({ ...before, http: [] });
  const both = () => changedGatewayListen(before, { http: "0.0.0.0:443,[::]:80", https: undefined });
  expect(both).toThrow("0.0.0.0:443 would be with and without TLS");
});
