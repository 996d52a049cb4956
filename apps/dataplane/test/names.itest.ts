import { execFileSync, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, get } from "node:http";
import { connect } from "node:net";
import { ListenerKeeper } from "@hms/handover";
import { isThorough, tempFolder, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DataPlaneProcess, startDataPlane } from "./support/data-plane-process.ts";
import { askByTcp, askByUdp, startResolver } from "./support/dns-client.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { ResolvingPrograms } from "./support/resolving-program.ts";
import { startSnapshotServer } from "./support/snapshot-server.ts";
import { snapshotOf } from "./support/snapshots.ts";
import { startUpstream, type Upstream } from "./support/upstream.ts";

/** Ports 53 and 80 need root, or "hms-sys setup" done once. */
const isRoot = process.getuid?.() === 0;
const hasGo = spawnSync("go", ["version"]).error === undefined;

let installation: Installation;
let upstream: Upstream;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  installation = stack.use(await openInstallation());
  upstream = stack.use(await startUpstream("receipt"));
  save(1);
});
afterEach(() => stack.disposeAsync());

function picture(version: number, ports: number[] = []) {
  const [first, second] = installation.dns;
  return snapshotOf(
    version,
    [
      { name: "receipt-svc", vip: installation.vip(1), ports, upstreams: [upstream.port] },
      { name: "receipt-svc", environment: "staging", vip: installation.vip(2), upstreams: [] },
    ],
    [
      { name: "default", dnsAddress: first },
      { name: "staging", dnsAddress: second },
    ],
  );
}
const save = (version: number, ports: number[] = []) => installation.store.save(picture(version, ports));
const start = async (): Promise<DataPlaneProcess> => stack.use(await startDataPlane(installation));
const call = (host: string, port = 80) =>
  new Promise<string>((resolve) => {
    get({ host, port, agent: false }, (response) => response.setEncoding("utf8").on("data", resolve)).on(
      "error",
      (error: NodeJS.ErrnoException) => resolve(error.code ?? ""),
    );
  });

describe.runIf(isRoot)("names", () => {
  test("mean the service of the asker's environment, in upper and lower case, by UDP and TCP", async () => {
    await start();
    const [first, second] = installation.dns;
    const answers = [askByUdp(first, "receipt-svc.mesh"), askByTcp(first, "RECEIPT-svc.Mesh")];
    for (const answer of await Promise.all(answers)) {
      expect(answer).toMatchObject({ rcode: "NOERROR", answers: [{ type: "A", ttl: 1, data: installation.vip(1) }] });
    }
    expect(await askByUdp(second, "receipt-svc.mesh")).toMatchObject({ answers: [{ data: installation.vip(2) }] });
  });

  test("that exist have no other records; those that do not are said not to exist", async () => {
    await start();
    const [server] = installation.dns;
    for (const type of ["AAAA", "TXT", "MX", "SRV", "UNKNOWN_65"] as const) {
      expect(await askByUdp(server, "receipt-svc.mesh", type as "AAAA")).toMatchObject({
        rcode: "NOERROR",
        answers: [],
      });
    }
    for (const name of ["other-svc.mesh", "a.receipt-svc.mesh", "receipt-svc.mesh.mesh"]) {
      expect(await askByUdp(server, name)).toMatchObject({ rcode: "NXDOMAIN", authorities: [{ type: "SOA" }] });
    }
    expect(await askByUdp(server, "mesh", "SOA")).toMatchObject({ rcode: "NOERROR", answers: [{ type: "SOA" }] });
  });

  test("of others are answered by the machine's own resolvers, and SERVFAIL says that none of them answers", async () => {
    using folder = tempFolder({
      "resolv.conf": `nameserver ${installation.dns[0]}\nnameserver ${installation.vip(9)}\n`,
    });
    const others = `127.${Number(installation.network.vipPrefix.split(".")[1]) - 50}.0.1`;
    const resolvConf = `${folder.path}/resolv.conf`;
    stack.use(await startDataPlane(installation, { resolvConf }));
    const [server] = installation.dns;
    expect(await askByUdp(server, "example.org")).toMatchObject({ rcode: "SERVFAIL" });
    stack.use(await startResolver(others, "192.0.2.7"));
    writeFileSync(resolvConf, `nameserver ${installation.dns[0]}\nnameserver ${others}\n`);
    await waitFor(async () => (await askByUdp(server, "example.org")).answers?.length === 1, {
      describe: "the new resolver",
    });
    for (const ask of [askByUdp, askByTcp]) {
      expect(await ask(server, "example.org")).toMatchObject({ answers: [{ name: "example.org", data: "192.0.2.7" }] });
    }
  });

  test("survive hostile packets by the thousand", async () => {
    const plane = await start();
    const [server] = installation.dns;
    const socket = createSocket("udp4");
    const header = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    const hostile = [
      Buffer.alloc(1),
      header,
      Buffer.concat([header, Buffer.from([192, 12])]),
      Buffer.concat([header, Buffer.from([63])]),
      Buffer.from([0, 1, 1, 0, 255, 255, 0, 0, 0, 0, 0, 0]),
      Buffer.alloc(1400, 192),
      Buffer.alloc(1400, 255),
    ];
    for (let turn = 0; turn < 2000; turn += 1) socket.send(hostile[turn % hostile.length] as Buffer, 53, server);
    const half = connect(53, server).on("error", () => {});
    half.write(Buffer.from([255, 255, 0, 0]));
    await waitFor(async () => (await askByUdp(server, "receipt-svc.mesh")).answers?.length === 1, {
      describe: "answers",
    });
    socket.close();
    half.destroy();
    expect(plane.child.exitCode).toBeNull();
  });

  test("are found by unmodified programs: getent, curl, python and node", async () => {
    await start();
    using programs = new ResolvingPrograms();
    const [server] = installation.dns;
    const node = process.execPath;
    const url = "http://receipt-svc.mesh/";
    expect(await programs.run(server, "getent ahostsv4 receipt-svc.mesh")).toContain(installation.vip(1));
    expect(await programs.run(server, 'curl -sS --max-time 5 "$1"', [url])).toBe("receipt");
    const python = "import urllib.request,sys; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    expect(await programs.run(server, 'python3 -c "$1" "$2"', [python, url])).toBe("receipt");
    const fetching = "fetch(process.argv[1]).then(r => r.text()).then(console.log)";
    expect(await programs.run(server, '"$1" -e "$2" "$3"', [node, fetching, url])).toBe("receipt");
    expect(await programs.run(server, 'curl -sS --max-time 5 "$1" 2>&1 || true', ["http://no-svc.mesh/"])).toMatch(
      /could not resolve/i,
    );
  });

  test.skipIf(!hasGo || !isThorough)(
    "are found by unmodified Go programs, where Go is installed to build one",
    async () => {
      await start();
      using programs = new ResolvingPrograms();
      using folder = tempFolder();
      const [server] = installation.dns;
      writeFileSync(`${folder.path}/main.go`, GO_PROGRAM);
      execFileSync("go", ["build", "-o", `${folder.path}/program`, `${folder.path}/main.go`], {
        env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod", GO111MODULE: "off" },
      });
      expect(await programs.run(server, `GODEBUG=netdns=go ${folder.path}/program receipt-svc.mesh:80`)).toMatch(
        /200 OK[\s\S]*receipt$/,
      );
    },
  );
});

describe.runIf(isRoot)("addresses", () => {
  test("are opened when their name is first asked for, before the answer, and again at the next start", async () => {
    save(2, [18_081]);
    const plane = await start();
    expect(await call(installation.vip(1))).toBe("ECONNREFUSED");
    await askByUdp(installation.dns[0], "receipt-svc.mesh");
    expect(await call(installation.vip(1))).toBe("receipt");
    expect(await call(installation.vip(1), 18_081)).toBe("receipt");
    plane.child.kill("SIGKILL");
    await plane.ended;
    await start();
    expect([await call(installation.vip(1)), await call(installation.vip(1), 18_081)]).toEqual(["receipt", "receipt"]);
    expect(await call(installation.vip(2))).toBe("ECONNREFUSED");
  });

  test("follow the ports that a service declares, also where a parent keeps the sockets", async () => {
    const keeper = stack.adopt(new ListenerKeeper(), (kept) => kept.close());
    const server = stack.use(await startSnapshotServer(installation.paths, picture(2, [18_082])));
    stack.use(await startDataPlane(installation, { keeper }));
    await waitFor(() => server.reports.some(({ appliedVersion }) => appliedVersion === 2n), { describe: "version 2" });
    await askByUdp(installation.dns[0], "receipt-svc.mesh");
    expect(await call(installation.vip(1), 18_082)).toBe("receipt");
    server.send(picture(3, [18_083]));
    await waitFor(async () => (await call(installation.vip(1), 18_083)) === "receipt", { describe: "the new port" });
    await waitFor(async () => (await call(installation.vip(1), 18_082)) === "ECONNREFUSED", {
      describe: "the old one",
    });
  });

  test("are those of another environment when theirs is no more, and closed when there is none", async () => {
    const keeper = stack.adopt(new ListenerKeeper(), (kept) => kept.close());
    const other = stack.use(await startUpstream("other"));
    const [first, second] = installation.dns;
    const given = (version: number, environment?: string) =>
      snapshotOf(
        version,
        environment ? [{ name: environment, environment, vip: installation.vip(2), upstreams: [other.port] }] : [],
        [{ name: "default", dnsAddress: first }, ...(environment ? [{ name: environment, dnsAddress: second }] : [])],
      );
    const server = stack.use(await startSnapshotServer(installation.paths, given(2, "pr-1")));
    stack.use(await startDataPlane(installation, { keeper }));
    const applied = (version: bigint) =>
      waitFor(() => server.reports.some(({ appliedVersion }) => appliedVersion === version), {
        describe: () => `version ${version}`,
      });
    await applied(2n);
    await askByUdp(second, "pr-1.mesh");
    expect(await call(installation.vip(2))).toBe("other");
    server.send(given(3, "pr-2"));
    await applied(3n);
    expect(await askByUdp(second, "pr-1.mesh")).toMatchObject({ rcode: "NXDOMAIN" });
    expect(await askByTcp(second, "pr-2.mesh")).toMatchObject({ answers: [{ data: installation.vip(2) }] });
    expect(await call(installation.vip(2))).toBe("other");
    server.send(given(4));
    await applied(4n);
    await waitFor(async () => (await call(installation.vip(2))) === "ECONNREFUSED", { describe: "the address closed" });
    await expect(askByTcp(second, "pr-2.mesh")).rejects.toThrow(/ECONNREFUSED/);
  });

  test("that somebody else has are not answered for, and it says who has them", async () => {
    const squatter = createServer((_, response) => response.end("not yours"));
    squatter.listen(80, installation.vip(1));
    await once(squatter, "listening");
    stack.defer(() => void squatter.close());
    const plane = await start();
    expect(await askByUdp(installation.dns[0], "receipt-svc.mesh")).toMatchObject({ rcode: "SERVFAIL", answers: [] });
    expect((await plane.health()).problems.join()).toContain(`${installation.vip(1)}:80 (tcp) is taken by node`);
  });

  test("of two installations stand beside each other", async () => {
    const other = stack.use(await openInstallation());
    const otherUpstream = stack.use(await startUpstream("other"));
    other.store.save(
      snapshotOf(
        1,
        [{ name: "receipt-svc", vip: other.vip(1), upstreams: [otherUpstream.port] }],
        [{ name: "default", dnsAddress: other.dns[0] }],
      ),
    );
    await start();
    stack.use(await startDataPlane(other));
    using programs = new ResolvingPrograms();
    const asked = (server: string) => programs.run(server, "curl -sS --max-time 5 http://receipt-svc.mesh/");
    expect(await asked(installation.dns[0])).toBe("receipt");
    expect(await asked(other.dns[0])).toBe("other");
  });
});

const GO_PROGRAM = `package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	connection, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprint(connection, "GET / HTTP/1.0\\r\\n\\r\\n")
	answer, _ := io.ReadAll(connection)
	fmt.Println(string(answer))
}
`;
