import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import type { ControlGroup } from "../launcher/control-groups.ts";
import type { ProcessEntry } from "../launcher/process-table.ts";

/** Turns counters that only grow into use per interval. */
export class UsageMeter {
  #last: { cpuMs: number; at: number } | undefined;

  /** Forgets the counters of a program that has ended. */
  reset(): void {
    this.#last = undefined;
  }

  /** What a program and all it started use; the kernel's own counts where there are some, else the sum over its processes. */
  measure(members: readonly ProcessEntry[], group: ControlGroup): agent.ReplicaUsage {
    const counted = group.usage();
    const sum = (read: (entry: ProcessEntry) => number) => members.reduce((total, entry) => total + read(entry), 0);
    const memoryBytes = counted.memoryBytes ?? sum((entry) => entry.residentBytes);
    const cpuMs = counted.cpuMs ?? sum((entry) => entry.cpuMs);
    const at = performance.now();
    const elapsed = this.#last ? at - this.#last.at : 0;
    const used = this.#last ? Math.max(0, cpuMs - this.#last.cpuMs) : 0;
    this.#last = { cpuMs, at };
    return create(agent.ReplicaUsageSchema, {
      memoryBytes: BigInt(Math.round(memoryBytes)),
      cpuMillicores: elapsed > 0 ? Math.round((used / elapsed) * 1000) : 0,
      processes: members.length,
      measuredAt: timestampNow(),
    });
  }
}
