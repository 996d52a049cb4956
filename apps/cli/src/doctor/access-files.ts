import { existsSync } from "node:fs";
import { openPolicyFile, PolicyBook } from "@hms/authorization";
import type { InstancePaths } from "@hms/config";
import type { HmsError } from "@hms/kernel/errors";
import { openKeyFile } from "@hms/local-access";
import type { Finding } from "./finding.ts";

/** Reads policy and key file as the server does; a file that is not there is fine. */
export function accessFiles({ policyFile, keyFile }: Pick<InstancePaths, "policyFile" | "keyFile">): Finding[] {
  const book = new PolicyBook();
  return [
    reading("policy file", policyFile, (onFailure) =>
      openPolicyFile({ path: policyFile, book, onChange: () => {}, onFailure }),
    ),
    reading("key file", keyFile, (onFailure) => openKeyFile({ path: keyFile, onChange: () => {}, onFailure })),
  ];
}

type Open = (onFailure: (failure: HmsError) => void) => Disposable;

function reading(check: string, path: string, open: Open): Finding {
  const failures: HmsError[] = [];
  open((failure) => failures.push(failure))[Symbol.dispose]();
  const [failure] = failures;
  if (failure === undefined) return { check, level: "ok", finding: existsSync(path) ? path : "none" };
  const remedy = `repair ${path}; until then what was read last stays in force, after a restart nothing of it`;
  return { check, level: "problem", finding: failure.message, remedy };
}
