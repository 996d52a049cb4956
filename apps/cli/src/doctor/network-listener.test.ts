import { writeFileSync } from "node:fs";
import { writeNetworkAddress } from "@hms/config";
import { tempFolder, testAuthority } from "@hms/testkit";
import { expect, test } from "vitest";
import { networkListener } from "./network-listener.ts";

const HOUR_MS = 3_600_000;

test("the port for other machines is told with its certificate, which is good, late, or over", () => {
  using folder = tempFolder();
  const paths = { data: folder.path, tls: folder.path };
  expect(networkListener(paths)).toEqual([]);
  writeNetworkAddress(paths, "tls://0.0.0.0:7443");
  expect(networkListener(paths)).toMatchObject([{ level: "problem", remedy: expect.stringContaining(folder.path) }]);
  const authority = testAuthority();
  const { cert, key } = authority.issue("URI:spiffe://test/part/server");
  for (const [name, text] of [
    ["cert", cert],
    ["key", key],
    ["ca", authority.ca],
  ]) {
    writeFileSync(`${folder.path}/${name}.pem`, text ?? "");
  }
  const levelIn = (hours: number) => networkListener(paths, Date.now() + hours * HOUR_MS).map(({ level }) => level);
  expect([levelIn(0), levelIn(23), levelIn(25)]).toEqual([["ok"], ["warning"], ["problem"]]);
  expect(networkListener(paths)[0]?.finding).toMatch(
    /^tls:\/\/0\.0\.0\.0:7443, certificate until \d{4}-\d\d-\d\d \d\d:\d\d UTC$/,
  );
  writeFileSync(`${folder.path}/key.pem`, authority.issue("URI:spiffe://test/part/other").key);
  expect(networkListener(paths)).toMatchObject([{ level: "problem", finding: expect.stringContaining("together") }]);
  writeNetworkAddress(paths, undefined);
  expect(networkListener(paths)).toEqual([]);
});
