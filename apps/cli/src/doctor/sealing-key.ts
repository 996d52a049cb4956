import { existsSync } from "node:fs";
import type { InstancePaths } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { openExistingSealingKey } from "@hms/secrets";
import type { Finding } from "./finding.ts";

/** Whether the key that seals secrets can be had from where it is kept. */
export function sealingKey({ sealingKey: file }: Pick<InstancePaths, "sealingKey">): Finding {
  const check = "sealing key";
  if (!existsSync(file)) return { check, level: "ok", finding: "none yet; the first start makes one" };
  try {
    const key = openExistingSealingKey(file);
    const old = key.oldIds.length === 0 ? "" : `, and ${key.oldIds.length} that only opens: hms-sys sealing-key forget`;
    const where = key.isKeptElsewhere ? `kept where ${file} says` : `${file}; keep a copy of it apart from the data`;
    return { check, level: "ok", finding: `${key.id}, ${where}${old}` };
  } catch (error) {
    const remedy = "repair that; what runs goes on, but neither the server nor replicas with secrets start without it";
    return { check, level: "problem", finding: HmsError.from(error).message, remedy };
  }
}
