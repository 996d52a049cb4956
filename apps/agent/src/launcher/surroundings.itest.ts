import { createSocket } from "node:dgram";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { asRoot, identities, TestMachine } from "../../test/support/test-machine.ts";

/** Answers every A question with 127.88.1.2 and every other with nothing, as the mesh does for a known name. */
async function nameServer(address: string): Promise<AsyncDisposable> {
  const socket = createSocket("udp4");
  socket.on("message", (question, { port, address: from }) => {
    const end = question.indexOf(0, 12) + 5;
    const isA = question.readUInt16BE(end - 4) === 1;
    const head = Buffer.from(question.subarray(0, end));
    head.writeUInt16BE(0x8180, 2);
    head.writeUInt16BE(isA ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 88, 1, 2]);
    socket.send(isA ? Buffer.concat([head, answer]) : head, port, from);
  });
  await new Promise<void>((resolve, reject) => socket.once("error", reject).bind(53, address, resolve));
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(resolve)) };
}

function program(path: string, text: string): void {
  mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

describe.concurrent.each(identities)("the surroundings of a replica kept by %s", (identity) => {
  test("hold the operator's tool chains, though they lie in a hidden home, and nothing else of it", async () => {
    const machine = new TestMachine(identity);
    const { home } = machine;
    program(`${home}/.chain/bin/tool`, '#!/bin/sh\n. "$(dirname "$0")/../lib/part"');
    program(`${home}/.chain/lib/part`, "echo from the chain");
    program(`${home}/.local/bin/direct`, "#!/bin/sh\necho from local");
    program(`${home}/.local/share/secret`, "secret");
    program(`${home}/.cargo/bin/crate`, "#!/bin/sh\necho from cargo");
    program(`${home}/.cargo/credentials.toml`, "token");
    program(`${home}/bin/mine`, "#!/bin/sh\necho from home");
    program(`${home}/.secret`, "secret");
    machine.own(home);
    const dirs = [".chain/bin", ".local/bin", ".cargo/bin", "bin"].map((dir) => `${home}/${dir}`);
    await machine.start({ path: [...dirs, "/usr/bin", "/bin"].join(":") });
    await using _ = machine;
    const releaseDigest = await machine.release({ note: "n" });
    const { out, err } = await machine.task(
      `tool; direct; crate; mine; node -p 1+1; cd ${home}; find . -type f | sort; touch bin/planted .chain/planted; echo $HOME`,
      { releaseDigest },
    );
    expect(out.split("\n")).toEqual([
      "from the chain",
      "from local",
      "from cargo",
      "from home",
      "2",
      ...["./.cargo/bin/crate", "./.chain/bin/tool", "./.chain/lib/part", "./.local/bin/direct", "./bin/mine"],
      "/tmp",
      "",
    ]);
    expect(err.match(/Read-only file system|Permission denied/g)).toHaveLength(2);
  });

  test("say which hidden program was meant when a command is not found", async () => {
    const machine = new TestMachine(identity);
    program(`${machine.home}/tools/special`, "#!/no/such/interpreter");
    machine.own(machine.home);
    await machine.start({ path: `${machine.home}/tools:/usr/bin:/bin` });
    await using _ = machine;
    const releaseDigest = await machine.release({ note: "n" });
    const { exit } = await machine.task("special --now", { releaseDigest });
    expect(exit?.launchError).toContain("its interpreter /no/such/interpreter is missing");
  });

  test.runIf(asRoot)("resolve mesh names for every program, and leave the machine's resolv.conf alone", async () => {
    const dnsAddress = `127.88.${100 + (process.pid % 100)}.${identity === "root" ? 53 : 54}`;
    await using _ = await nameServer(dnsAddress);
    const report = { meshTier: agent.MeshTier.DNS, meshTierReason: "" };
    await using machine = await TestMachine.open(identity, { options: { report } });
    const before = readFileSync("/etc/resolv.conf", "utf8");
    const releaseDigest = await machine.release({ note: "n" });
    const lookup = "require('dns').lookup('receipt-svc.mesh', (e, a) => console.log(a))";
    const { out } = await machine.task(
      `getent hosts receipt-svc.mesh | tr -s ' '; node -e "${lookup}"; cat /etc/resolv.conf; echo proxy=$HTTP_PROXY`,
      { releaseDigest, mesh: { dnsAddress, proxyUrl: "http://default@127.0.0.1:3002" } },
    );
    expect(out.split("\n")).toEqual([
      "127.88.1.2 receipt-svc.mesh",
      "127.88.1.2",
      `nameserver ${dnsAddress}`,
      "options ndots:1 timeout:2",
      "proxy=",
      "",
    ]);
    expect(readFileSync("/etc/resolv.conf", "utf8")).toBe(before);
  });

  test("name the mesh's proxy where names cannot go by DNS", async () => {
    const report = { meshTier: agent.MeshTier.PROXY };
    await using machine = await TestMachine.open(identity, { options: { report } });
    const releaseDigest = await machine.release({ note: "n" });
    const mesh = { dnsAddress: "127.88.0.53", proxyUrl: "http://default@127.0.0.1:3002" };
    const { out } = await machine.task("env | grep -i proxy | sort; cat /etc/resolv.conf", { releaseDigest, mesh });
    expect(out).toContain("HTTP_PROXY=http://default@127.0.0.1:3002\n");
    expect(out).toContain("http_proxy=http://default@127.0.0.1:3002\n");
    expect(out).toContain("NODE_USE_ENV_PROXY=1\n");
    expect(out).toContain("NO_PROXY=localhost,127.0.0.1,::1\n");
    expect(out).toContain(readFileSync("/etc/resolv.conf", "utf8"));
  });

  test("give each its own /tmp, /dev/shm and processes", async () => {
    await using machine = await TestMachine.open(identity);
    const releaseDigest = await machine.release({ note: "n" });
    // A checkout below /tmp shows its own Node there, and nothing else.
    const toolChain = process.execPath.startsWith("/tmp/") ? process.execPath.split("/")[2] : "hms-agent";
    const command =
      `ls -A /tmp /dev/shm /var/tmp | grep -v -e ^hms-agent- -e '^${toolChain}$'; ` +
      "touch /tmp/a /dev/shm/a /var/tmp/a; df --output=fstype /tmp | tail -1; id -u";
    for (let round = 0; round < 2; round++) {
      const { out } = await machine.task(command, { releaseDigest });
      expect(out).toMatch(/^\/dev\/shm:\n\n\/tmp:\n\n\/var\/tmp:\ntmpfs\n\d+\n$/);
    }
  });
});

test.runIf(asRoot)("the machine's report names what is possible and why not more", async () => {
  await using machine = await TestMachine.open("nobody");
  const { report } = machine.keeper;
  expect(report).toMatchObject({
    isolation: agent.Isolation.USER_NAMESPACE,
    memoryLimits: "measured",
    cpuLimits: false,
  });
  // `sudo hms-sys setup` may have been run on this machine.
  const firstPort = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
  expect(report.meshTierReason).toContain(firstPort > 53 ? "sudo hms-sys setup" : "");
  expect(report.limitsReason).toContain("Delegate=yes");
  await using root = await TestMachine.open("root");
  expect(root.keeper.report).toMatchObject({
    isolation: agent.Isolation.OWN_UID,
    isolationReason: "",
    meshTier: agent.MeshTier.DNS,
    meshTierReason: "",
  });
});
