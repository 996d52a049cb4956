/** The parts of a comma-separated option; none if it was not given. */
export function commaSeparated(value: string | boolean | undefined): string[] {
  return typeof value === "string" ? value.split(",").filter((part) => part !== "") : [];
}
