/** Adds to the problems of a request: the field, and what is wrong with it and what to write instead. */
export type FieldReport = (field: string, description: string) => void;

/** Reports what is no TCP port. */
export function checkPort(port: number, report: (description: string) => void): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) report(`${port} is no port; use 1 to 65535.`);
}
