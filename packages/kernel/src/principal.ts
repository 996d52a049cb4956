/** Who makes a call. */
export interface Principal {
  /** What it is: a person at the operator's socket, a part of the platform, or nobody known. */
  readonly kind: "operator" | "component" | "anonymous";
  /** Unique within its kind: "operator", "hms.sys.deployment", "dataplane". */
  readonly id: string;
}

/** Nobody known; allowed nothing. */
export const anonymous: Principal = Object.freeze({ kind: "anonymous", id: "anonymous" });

/** A part of the platform, by the id of its service or process. */
export function componentPrincipal(id: string): Principal {
  return Object.freeze({ kind: "component", id });
}
