import type { RoutesDefaultAuth } from "@hms/config";
import type { mesh } from "@hms/contracts";
import type { Finding } from "./finding.ts";

const MOST = 20;

/** The routes at the gateway that everybody may call, and what becomes of routes that do not say who may. */
export function publicRoutes(content: mesh.SnapshotContent | undefined, defaultAuth: RoutesDefaultAuth): Finding[] {
  const check = "public routes";
  const open = (content?.services ?? []).flatMap(({ environment, name, routes }) =>
    routes
      .filter(({ auth }) => auth === undefined)
      .map(({ path, methods }) => `${environment}/${name} ${[methods.join(","), path].filter(Boolean).join(" ")}`),
  );
  const otherwise =
    defaultAuth === "required"
      ? "manifests that do not say auth ask for it (--routes-default-auth required)"
      : "manifests that do not say auth open their routes (up --routes-default-auth required changes that)";
  const named = open.slice(0, MOST).join(", ");
  const more = open.length > MOST ? ` and ${open.length - MOST} more` : "";
  const finding = open.length === 0 ? `none; ${otherwise}` : `everybody may call ${named}${more}; ${otherwise}`;
  return [{ check, level: "ok", finding }];
}
