import type { Manifest, ParsedManifest } from "@hms/manifest";

const MOST = 10;

const shown = ({ path, methods }: Manifest["routes"][number]) =>
  methods.length === 0 ? path : `${methods.join(",")} ${path}`;

/** What should be known of routes whose manifest does not say who may call them. */
export function routeWarnings({ manifest, routesWithoutAuth }: ParsedManifest): string[] {
  const open = manifest.routes.filter((route, index) => route.auth === "public" && routesWithoutAuth.has(index));
  if (open.length === 0) return [];
  const named = open.slice(0, MOST).map(shown).join(", ");
  const more = open.length > MOST ? ` and ${open.length - MOST} more` : "";
  const where = open.length === 1 ? "the route does not say auth" : "these routes do not say auth";
  return [`Everybody may call ${named}${more}: ${where}. Write auth: required, or auth: public if it is meant so.`];
}
