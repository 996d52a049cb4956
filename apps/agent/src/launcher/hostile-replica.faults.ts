import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { asRoot, identities, TestMachine, until } from "../../test/support/test-machine.ts";

/** Each line is an attempt: a success prints ESCAPED and what was reached. */
const ATTACK = `
try() { name=$1; shift; if "$@" >/tmp/got 2>/dev/null; then echo "ESCAPED $name: $(head -c 300 /tmp/got | tr '\\n' ' ')"; fi; }
finds() { name=$1; shift; found=$("$@" 2>/dev/null | head -c 300 | tr '\\n' ' '); [ -z "$found" ] || echo "ESCAPED $name: $found"; }
finds "the operator's home" cat "$OPERATOR_HOME/secret.txt"
finds "keys" cat "$OPERATOR_HOME/.config/hms-sys/default/operator.token"
finds "what is in the data directory" sh -c 'ls "$DATA" | grep -v -e "^releases$" -e "^ffi$"'
finds "specs of other replicas" sh -c 'cat "$DATA"/agent/replicas/*'
finds "sockets" ls "$DATA/run"
finds "logs" ls "$DATA/logs"
finds "other releases" sh -c 'ls "$DATA"/releases/test/ | grep -v "^demo$"; ls "$DATA"/releases/test/demo | grep -v "$RELEASE"'
finds "other programs' environment" sh -c 'cat /proc/[0-9]*/environ | tr "\\0" "\\n" | grep VICTIM_SECRET'
finds "any file of a known name" find / -xdev -name 'hms-secret-*' -not -path '/proc/*'
finds "other programs in /proc" sh -c 'for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; done | grep -e "[s]leep 98765" -e "[k]eeper-host"'
finds "terminals" sh -c 'ls /dev/pts | grep -v "^ptmx$"'
finds "the init's root" ls /proc/1/root/
finds "the init's files" sh -c 'for f in /proc/1/fd/*; do readlink $f; head -c 1 $f; done'
finds "inherited files" sh -c 'ls /proc/self/fd | grep -v "^[0123]$"'
try "signal to another program" kill -0 "$VICTIM_PID"
try "writing into the release" touch "$PWD/planted"
try "a file beside the platform's socket" touch "$DATA/ffi/planted"
try "removing the platform's socket" rm "$DATA/ffi/kernel.sock"
try "opening the platform's socket to nobody" chmod 0 "$DATA/ffi/kernel.sock"
if [ "$(stat -c %u "$DATA/ffi/services")" != "$(id -u)" ]; then
  finds "names of neighbours' sockets" ls "$DATA/ffi/services"
  try "removing a neighbour's socket" rm "$DATA/ffi/services/neighbour.sock"
  try "taking a neighbour's socket's name" mv "$DATA/ffi/services/neighbour.sock" "$DATA/ffi/services/mine"
fi
touch "$DATA/ffi/services/own.sock" && rm "$DATA/ffi/services/own.sock" || echo "MISSED a socket of its own"
try "umount of the home" umount "$OPERATOR_HOME"
try "umount of the data" umount "$DATA"
try "lazy umount" umount -l /tmp
try "remount of the release" mount -o remount,rw,bind "$PWD"
try "umount in a namespace of its own" unshare -rm umount "$HIDDEN"
try "recursive umount in a namespace of its own" unshare -rm umount -lR "$HIDDEN"
try "remount in a namespace of its own" unshare -rm mount -o remount,rw,bind "$PWD"
try "the init's user namespace" nsenter -t 1 -U true
try "the init's mount namespace" nsenter -t 1 -m true
try "mount" mount -t tmpfs none /mnt
try "chroot" chroot / true
try "another identity" setpriv --reuid=0 true
try "the status file" sh -c 'echo "exit 0" > /proc/1/fd/4'
for g in $(cut -d: -f3 /proc/self/cgroup | sort -u); do
  for c in /sys/fs/cgroup /sys/fs/cgroup/memory /sys/fs/cgroup/pids /sys/fs/cgroup/cpu; do
    try "leaving the control group" sh -c "echo 0 > $c/cgroup.procs"
    try "raising its own limits" sh -c "echo -1 > $c$g/memory.limit_in_bytes"
  done
done
grep -q '^NoNewPrivs:.1' /proc/self/status || echo "ESCAPED may gain privileges"
grep -q '^CapEff:.0000000000000000' /proc/self/status || echo "ESCAPED has capabilities"
kill -9 -1 2>/dev/null
echo attack over
exec sleep 98766
`;

describe.each(identities)("a hostile replica kept by %s", (identity) => {
  test("reaches nothing of the operator's, the platform's and its neighbours'", { timeout: 60_000 }, async () => {
    await using machine = await TestMachine.open(identity);
    // Never let the attack loose on the machine itself.
    expect(machine.keeper.report.isolation).not.toBe(agent.Isolation.NONE);
    writeFileSync(`${machine.home}/secret.txt`, "the operator's secret");
    writeFileSync(`${machine.home}/hms-secret-1`, "x");
    mkdirSync(`${machine.home}/.config/hms-sys/default`, { recursive: true });
    writeFileSync(`${machine.home}/.config/hms-sys/default/operator.token`, "token");
    writeFileSync(`${machine.data}/hms-secret-2`, "x");
    writeFileSync(`${machine.data}/ffi/kernel.sock`, "", { mode: 0o666 });
    writeFileSync(`${machine.data}/ffi/services/neighbour.sock`, "");
    machine.own(machine.home);
    machine.own(`${machine.data}/ffi`);
    const victim = await machine.run("exec sleep 98765", { service: "victim", env: { VICTIM_SECRET: "s3cret" } });
    const release = await machine.release({ "attack.sh": ATTACK });
    const hidden = asRoot ? machine.home : "/tmp";
    const env = {
      OPERATOR_HOME: machine.home,
      DATA: machine.data,
      HIDDEN: hidden,
      VICTIM_PID: String(victim.pid),
      RELEASE: release.slice("sha256:".length),
    };
    const attacker = await machine.startReplica(machine.spec(release, "exec sh attack.sh", { env }));
    const replicaId = attacker.spec?.replicaId ?? "";
    const lines = await until(
      async () => {
        const found = await machine.output(replicaId);
        return found.includes("attack over") && found;
      },
      "the end of the attack",
      40_000,
    );
    expect(lines.filter((line) => line !== "attack over")).toEqual([]);
    expect((await machine.replica(victim.spec?.replicaId ?? ""))?.pid).toBe(victim.pid);
    expect(existsSync(`${machine.data}/releases/test/demo/${env.RELEASE}/planted`)).toBe(false);
  });

  test("cannot see a neighbour that was given the same command", async () => {
    await using machine = await TestMachine.open(identity);
    const command = "ps -e -o pid= | wc -l; exec sleep 1000";
    const digest = await machine.release({ note: "n" });
    const replicas = await Promise.all([1, 2].map(() => machine.startReplica(machine.spec(digest, command))));
    for (const replica of replicas) {
      const [count] = await until(async () => {
        const lines = await machine.output(replica.spec?.replicaId ?? "");
        return lines.length > 0 && lines;
      }, "the count of processes");
      expect(Number(count)).toBeLessThanOrEqual(5);
    }
    const uids = replicas.map(({ pid }) => /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    if (identity === "root") expect(new Set(uids).size).toBe(2);
    expect(readdirSync(`${machine.data}/run/replicas`)).toHaveLength(2);
  });
});
