import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:tls";
import { expect, test } from "vitest";
import { issueForServer, makeAuthority } from "./local-authority.ts";

test("a local authority's certificate is believed by who believes the authority, for its names only", async () => {
  const authority = await makeAuthority("HMS-SYS of test");
  const issued = await issueForServer(authority, ["localhost", "*.shop.test", "127.0.0.1", "::1"]);
  const [ca, leaf] = [new X509Certificate(authority.cert), new X509Certificate(issued.cert)];
  expect([ca.ca, leaf.ca, leaf.checkIssued(ca), leaf.verify(ca.publicKey)]).toEqual([true, false, true, true]);
  expect(leaf.subjectAltName).toBe("DNS:localhost, DNS:*.shop.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
  const days = (Date.parse(leaf.validTo) - Date.now()) / 86_400_000;
  expect(days).toBeGreaterThan(396);
  expect(days).toBeLessThan(398);
  const server = createServer(issued, (socket) => socket.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const reach = async (servername: string) => {
    const socket = connect({ port, host: "127.0.0.1", ca: authority.cert, servername });
    const outcome = await Promise.race([
      once(socket, "secureConnect").then(() => "believed"),
      once(socket, "error").then(([error]) => (error as NodeJS.ErrnoException).code),
    ]).catch((error: NodeJS.ErrnoException) => error.code);
    socket.destroy();
    return outcome;
  };
  expect(await reach("localhost")).toBe("believed");
  expect(await reach("a.shop.test")).toBe("believed");
  expect(await reach("other.test")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  server.close();
});
