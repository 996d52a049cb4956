import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { platform } from "node:os";

let known: string | undefined;

/** Names this run of the machine: the same until it reboots, different afterwards. */
export function bootId(): string {
  known ??= readBootId();
  return known;
}

function readBootId(): string {
  if (platform() === "linux") return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return execFileSync("/usr/sbin/sysctl", ["-n", "kern.bootsessionuuid"], { encoding: "utf8" }).trim();
}
