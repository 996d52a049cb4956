import { posix } from "node:path";
import type { TextReading } from "./schema-node.ts";

/** Reads the program's directory: relative to the manifest's, at or below it, with "." and ".." resolved. */
export function readProgramDirectory(text: string): TextReading {
  if (text.startsWith("/") || /^[a-zA-Z]:[\\/]/.test(text)) {
    return { problem: "is an absolute path. Write it relative to the manifest, such as ./server" };
  }
  if (text.startsWith("~")) {
    return {
      problem: "starts with ~, which only a shell resolves. Write a path relative to the manifest, such as ./server",
    };
  }
  if (text.includes("\\")) return { problem: "contains a backslash. Write / between directories" };
  const normal = posix.normalize(text).replace(/\/$/, "");
  if (normal === ".." || normal.startsWith("../")) {
    return {
      problem:
        "leads out of the manifest's directory, and only what is below it goes into a release. Move the manifest up, beside or above the program",
    };
  }
  return { value: normal };
}
