import { type RowsAsThings, visibleRows } from "@hms/authorization";
import type { CallContext } from "@hms/kernel";
import { sql } from "kysely";
import type { ServiceKey } from "../service-key.ts";
import type { Listed } from "../service-listing.ts";

const THINGS: RowsAsThings<Listed> = {
  columns: { name: sql.ref("service_id"), environment: sql.ref("environment") },
  thingOf: ({ key }) => ({ name: key.serviceId, environment: key.environment }),
};

/** The services of the registry that a caller may see: each as its look-up would be decided. */
export const visibleServices = (context: CallContext) => visibleRows(context.filter("registry:read"), THINGS);

/** Whether a caller may see a service. */
export function isVisible(context: CallContext): (key: Pick<ServiceKey, "serviceId" | "environment">) => boolean {
  const filter = context.filter("registry:read");
  return ({ serviceId: name, environment }) => filter.allows({ name, environment });
}
