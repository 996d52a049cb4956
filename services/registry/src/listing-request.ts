import type { registry } from "@hms/contracts";
import type { FieldViolation } from "@hms/kernel";
import { invalid } from "./errors.ts";
import { patternViolations } from "./id-pattern.ts";
import { readPageToken } from "./page-token.ts";
import { environmentOf, environmentViolations } from "./service-key.ts";
import type { ListingQuery } from "./store.ts";

const DEFAULT_PAGE = 100;
const LARGEST_PAGE = 1000;
const ALL = "*";

/** Which services a listing or a watch is about. */
export interface Selection {
  environment: string;
  pattern: string;
}

/**
 * Reads environment and pattern, with their defaults.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readSelection(
  request: { environment: string; pattern: string },
  others: FieldViolation[] = [],
): Selection {
  const environment = environmentOf(request);
  const pattern = request.pattern || ALL;
  const violations = [...environmentViolations(environment), ...patternViolations(pattern), ...others];
  if (violations.length > 0) throw invalid("The selection", violations);
  return { environment, pattern };
}

/**
 * Reads a request for a page.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readListing(request: registry.ListRequest): ListingQuery {
  const { pageSize, pageToken } = request;
  const violations: FieldViolation[] = [];
  if (pageSize < 0 || pageSize > LARGEST_PAGE) {
    violations.push({
      field: "page_size",
      description: `${pageSize} is no page; use 1 to ${LARGEST_PAGE}, or 0 for ${DEFAULT_PAGE}.`,
    });
  }
  const question = { ...readSelection(request, violations), metadata: { ...request.metadata } };
  return { ...question, after: readPageToken(question, pageToken), limit: pageSize || DEFAULT_PAGE };
}
