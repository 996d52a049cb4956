import { mkdirSync, writeFileSync } from "node:fs";
import { writeGatewayListen } from "@hms/config";
import { tempFolder, testAuthority } from "@hms/testkit";
import { expect, test } from "vitest";
import { outsideReach } from "./outside-reach.ts";

const everywhere = (port: number) => ({ host: "0.0.0.0", port });

test("what other machines reach is told, and warned of while it can be read on its way or has no certificate", () => {
  using folder = tempFolder();
  const paths = { data: folder.path, gatewayTls: `${folder.path}/gateway-tls` };
  const told = () => outsideReach(paths).map(({ level, finding }) => `${level}: ${finding}`);
  expect(told()).toEqual(["ok: Other machines reach nothing."]);
  writeGatewayListen(paths, { http: [{ host: "127.0.0.2", port: 80 }], https: [{ host: "::1", port: 443 }] });
  expect(told()).toEqual(["ok: Other machines reach nothing."]);
  writeGatewayListen(paths, { http: [everywhere(80)], https: [] });
  expect(told()).toEqual(["warning: Other machines reach http://0.0.0.0:80 (without TLS)"]);
  writeGatewayListen(paths, { http: [everywhere(80)], https: [everywhere(443)] });
  expect(told()).toEqual([
    "warning: Other machines reach http://0.0.0.0:80 (without TLS), https://0.0.0.0:443 (once there is a certificate)",
  ]);
  mkdirSync(paths.gatewayTls);
  const { cert, key } = testAuthority().issue("DNS:shop.test");
  writeFileSync(`${paths.gatewayTls}/cert.pem`, cert);
  writeFileSync(`${paths.gatewayTls}/key.pem`, key);
  expect(told()).toEqual(["ok: Other machines reach http://0.0.0.0:80 (without TLS), https://0.0.0.0:443"]);
  writeFileSync(`${folder.path}/gateway-listen.json`, "{");
  expect(outsideReach(paths)).toMatchObject([{ level: "problem", remedy: expect.stringContaining("--http-listen") }]);
});
