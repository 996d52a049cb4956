import type { mesh } from "@hms/contracts";

/**
 * What a data plane has to know to serve a route as it is meant: everything that keeps somebody out, or something in.
 * What it may do without (answers kept, notes of deprecation, a shorter time) is not among it.
 */
export function requirementsOf(route: mesh.Route): string[] {
  const fields = [route.requestFields, route.responseFields].filter((changes) => changes !== undefined);
  const has = (changes: mesh.FieldChanges, names: "add" | "absent") => Object.keys(changes[names]).length > 0;
  const isTemplated = fields.some(({ set, add, absent }) =>
    [set, add, absent].some((values) => Object.values(values).some((value) => value.includes("${"))),
  );
  const needed: Record<string, boolean> = {
    auth: route.auth !== undefined,
    body: route.requestBody !== undefined || route.responseBody !== undefined,
    "field-additions": fields.some((changes) => has(changes, "add") || has(changes, "absent")),
    "field-templates": isTemplated,
    fields: fields.length > 0,
    limits: route.limits.length > 0,
    "max-body": route.maxBodyBytes > 0n,
    rewrite: route.stripPrefix !== "" || route.addPrefix !== "",
    "security-fields": route.securityFields,
  };
  return Object.keys(needed).filter((name) => needed[name]);
}

/** A service as snapshots show it: each route with what it requires. */
export function withRequirements(picture: mesh.MeshServiceEntry): mesh.MeshServiceEntry {
  return { ...picture, routes: picture.routes.map((route) => ({ ...route, requires: requirementsOf(route) })) };
}
