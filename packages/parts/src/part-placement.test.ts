import { describe, expect, test } from "vitest";
import { placeParts } from "./part-placement.ts";

const paths = { parts: "/run/parts", partKey: "/config/part.key" };
const place = (options: Parameters<typeof placeParts>[0]) => placeParts(options, paths);

describe("what runs where", () => {
  test("without options everything is in the server, and nobody else calls it", () => {
    expect(place({})).toMatchObject({ process: "server", isServer: true, listeners: [], tls: undefined });
    expect(place({}).here).toHaveLength(6);
    expect(place({}).elsewhere.size).toBe(0);
  });

  test("the server without some parts calls them at their sockets, and answers for its own at theirs", () => {
    const { isServer, here, elsewhere, listeners } = place({ apart: "deployment,registry" });
    expect({ isServer, here }).toEqual({
      isServer: true,
      here: ["mesh", "integration", "communication", "automation"],
    });
    expect([...elsewhere]).toEqual([
      ["registry", "unix:/run/parts/registry.sock"],
      ["deployment", "unix:/run/parts/deployment.sock"],
    ]);
    expect(listeners.map(({ address, parts }) => [address, ...parts])).toEqual([
      ["unix:/run/parts/mesh.sock", "mesh"],
      ["unix:/run/parts/integration.sock", "integration"],
      ["unix:/run/parts/communication.sock", "communication"],
      ["unix:/run/parts/automation.sock", "automation"],
    ]);
  });

  test("a process with a few parts is named by them, and is called where it says", () => {
    const tls = { tlsCert: "c", tlsKey: "k", tlsCa: "ca" };
    const listen = "unix:/tmp/x.sock,tls://127.0.0.1:7443";
    const placed = place({ only: "mesh,registry", listen, at: "deployment=tls://10.0.0.2:7443", ...tls });
    expect(placed).toMatchObject({ process: "registry+mesh", isServer: false, keyFile: "/config/part.key" });
    expect(placed.listeners.map(({ address, parts }) => [address, ...parts])).toEqual([
      ["unix:/tmp/x.sock", "registry", "mesh"],
      ["tls://127.0.0.1:7443", "registry", "mesh"],
    ]);
    expect(placed.elsewhere.get("deployment")).toBe("tls://10.0.0.2:7443");
    expect(placed.elsewhere.get("integration")).toBe("unix:/run/parts/integration.sock");
    expect(placed.tls).toEqual({ cert: "c", key: "k", ca: "ca" });
  });

  test("everything that is wrong with the options is said at once", () => {
    const wrong = { only: "registy", listen: "here", at: "mesh,deployment=tcp://10.0.0.1:1", tlsCert: "c" };
    expect(() => place(wrong)).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        details: expect.objectContaining({
          fieldViolations: [
            expect.objectContaining({ field: "only", description: expect.stringContaining('"registy"') }),
            expect.objectContaining({
              field: "at",
              description: expect.stringMatching(/PART=ADDRESS.*\n.*unencrypted/),
            }),
            expect.objectContaining({ field: "listen" }),
            expect.objectContaining({ field: "tls", description: expect.stringContaining("--tls-key") }),
          ],
        }),
      }),
    );
    expect(() => place({ only: "none" })).toThrow("--only names no part");
    expect(() => place({ only: "mesh", apart: "mesh" })).toThrow("exclude each other");
    expect(() => place({ only: "mesh", at: "registry=tls://h:1" })).toThrow("--tls-cert");
  });
});
