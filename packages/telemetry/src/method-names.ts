import type { MethodEntry } from "@hms/kernel";

/** The names of an entry's service and method; a mounted path is a service by itself. */
export function methodNames({ name }: MethodEntry): { service: string; name: string } {
  const at = name.startsWith("edge:") ? -1 : name.indexOf("/");
  return at < 0 ? { service: name, name: "" } : { service: name.slice(0, at), name: name.slice(at + 1) };
}
