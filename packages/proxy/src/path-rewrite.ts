import type { PathRewrite } from "./route-rules.ts";

/** The target as the service gets it: without its beginning, behind another one. Never begins with two slashes. */
export function rewrittenTarget(target: string, { strip, add }: PathRewrite): string {
  const rest = strip !== "" && isBeginning(strip, target) ? target.slice(strip.length) : target;
  const path = rest.startsWith("/") ? rest.replace(/^\/+/, "/") : `/${rest}`;
  return add === "" ? path : add + (path === "/" && rest === "" ? "" : path);
}

function isBeginning(prefix: string, target: string): boolean {
  if (!target.startsWith(prefix)) return false;
  const next = target.charAt(prefix.length);
  return next === "" || next === "/" || next === "?";
}
