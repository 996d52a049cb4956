import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Carrier } from "./rollout-journal.ts";

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

/** When a process was started, in the kernel's ticks; undefined if it does not exist, or only as a zombie. */
function startOf(pid: string): string | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields === undefined || fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}

const bootId = () => read("/proc/sys/kernel/random/boot_id")?.trim();

/**
 * This server as a carrier of rollouts: boot, pid and start time name it, so that the next server sees at once that it
 * is gone and need not wait for its leases to end. Where the machine does not tell (no /proc), leases decide.
 */
export function serverCarrier(): Carrier {
  const boot = bootId();
  const start = startOf(String(process.pid));
  const nonce = randomBytes(4).toString("hex");
  const holder = boot && start ? `${boot}/${process.pid}/${start}/${nonce}` : `unknown/${nonce}`;
  return {
    holder,
    isGone(other) {
      const [itsBoot = "", pid = "", itsStart = ""] = other.split("/");
      if (boot === undefined || itsBoot === "unknown") return false;
      return itsBoot !== boot || startOf(pid) !== itsStart;
    },
  };
}
