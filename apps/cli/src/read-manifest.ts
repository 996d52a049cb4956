import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { hostVariable } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { type Manifest, parseManifest } from "@hms/manifest";

/** A manifest as a command sends it: its text, where it lies, and what ${env.NAME} in it stands for. */
export interface LocalManifest {
  manifest: string;
  manifestPath: string;
  variables: Record<string, string>;
  parsed: Manifest;
}

/** Larger files are no manifests; the parser's own limit is lower and says so. */
const READ_LIMIT = 16 * 1024 * 1024;
const TARGETS = ["forge", "aws", "k8s", "local", "docker"];

/**
 * Reads and checks a manifest where it lies, so that its problems show with line and column before anything is sent.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readManifest(file: string): LocalManifest {
  if (TARGETS.includes(file)) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `Deploying to the target "${file}" is not in this version. Deploy a manifest: hms-sys deploy FILE.hms.yml`,
    );
  }
  const manifestPath = resolve(file);
  const manifest = readText(file, manifestPath);
  const variables: Record<string, string> = {};
  const resolveEnv = (name: string) => {
    const value = hostVariable(name);
    if (value !== undefined) variables[name] = value;
    return value;
  };
  return { manifest, manifestPath, variables, parsed: parseManifest(manifest, { fileName: file, resolveEnv }) };
}

function readText(file: string, path: string): string {
  try {
    const { size } = statSync(path);
    if (size > READ_LIMIT)
      throw new HmsError(
        "INVALID_ARGUMENT",
        `${file} is ${size} bytes; a manifest is a small text. Is it the right file?`,
      );
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (cause) {
    if (cause instanceof HmsError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const reason = { ENOENT: "does not exist", EISDIR: "is a directory", EACCES: "may not be read by you" }[code ?? ""];
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${file} ${reason ?? "is not readable UTF-8 text"}. Name a manifest, such as receipt.hms.yml.`,
      { cause },
    );
  }
}
