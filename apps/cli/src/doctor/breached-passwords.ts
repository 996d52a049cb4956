import type { InstancePaths } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { checkBreachedPasswords } from "@hms/provider-pwned-passwords";
import { humanBytes } from "../output/human.ts";
import type { Finding } from "./finding.ts";

/** Whether the list of breached passwords can be used, as the server looks at it; none is fine. */
export async function breachedPasswords({ passwordFile }: Pick<InstancePaths, "passwordFile">): Promise<Finding> {
  const check = "breached passwords";
  try {
    const list = await checkBreachedPasswords(passwordFile);
    if (list === undefined) return { check, level: "ok", finding: "no list; common passwords are refused" };
    const size = list.size === undefined ? "" : `, ${humanBytes(list.size)}`;
    return { check, level: "ok", finding: `${list.path}, a ${list.form}${size}` };
  } catch (error) {
    const remedy = `repair it or ${passwordFile}; until then no new password is taken; people come in as before`;
    return { check, level: "problem", finding: HmsError.from(error).message, remedy };
  }
}
