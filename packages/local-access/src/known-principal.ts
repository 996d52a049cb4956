import type { Principal } from "@hms/kernel";
import type { KeyFile } from "./key-file.ts";
import { isWorkload, workloadPrincipal } from "./workload-principal.ts";

/** Knows by name ("user:anna", "service:default/payment-svc") whom keys stand for and what deployed services are. */
export function createKnownPrincipals(keys: Pick<KeyFile, "current">): (name: string) => Principal | undefined {
  return (text) => {
    const at = text.indexOf(":");
    const [kind, id] = [text.slice(0, at), text.slice(at + 1)];
    if (kind !== "user" && kind !== "service") return undefined;
    const [environment, name] = id.split("/");
    if (kind === "user" || name === undefined) return keys.current({ kind, id });
    const workload = { environment, name };
    return isWorkload(workload) ? workloadPrincipal({ environment: environment ?? "", name }) : undefined;
  };
}
