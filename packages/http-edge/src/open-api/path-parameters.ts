import type { HttpBinding } from "../http-binding.ts";
import type { TemplateVariable } from "../path-template.ts";
import type { JsonSchema, SchemaCollector } from "./json-schema.ts";

/** A path as OpenAPI writes it, and its parameters. */
export interface DocumentPath {
  readonly path: string;
  readonly parameters: readonly JsonSchema[];
}

/**
 * A template as an OpenAPI path. A variable of several segments becomes its literals and a parameter for each "*",
 * named for the collection before it ("shelves/*" becomes "shelves/{shelf}"), because a parameter holds no slash.
 */
export function documentPath(binding: HttpBinding, schemas: SchemaCollector): DocumentPath {
  const { segments, verb } = binding.template;
  const names = new Set<string>();
  const parameters: JsonSchema[] = [];
  const parts = segments.map((segment, index) => {
    if (segment.kind === "literal") return encodeURI(segment.text);
    const bound = binding.variables.find(({ variable }) => covers(variable, index));
    const isWhole = bound !== undefined && !bound.variable.isMultiple;
    const before = segments[index - 1];
    const wanted = isWhole
      ? bound.variable.fieldPath
      : segment.kind === "one" && before?.kind === "literal"
        ? singular(before.text)
        : "rest";
    const name = unused(wanted, names);
    const schema = isWhole ? schemas.property(bound.path.field) : { type: "string" };
    parameters.push({ name, in: "path", required: true, ...explained(bound?.variable, segments, isWhole), schema });
    return `{${name}}`;
  });
  return { path: `/${parts.join("/")}${verb === undefined ? "" : `:${verb}`}`, parameters };
}

function covers({ from, to }: TemplateVariable, index: number): boolean {
  return index >= from && (to < 0 || index < to);
}

function explained(
  variable: TemplateVariable | undefined,
  segments: HttpBinding["template"]["segments"],
  isWhole: boolean,
): { description?: string } {
  if (variable === undefined || isWhole) return {};
  const own = segments.slice(variable.from, variable.to < 0 ? undefined : variable.to);
  const shape = own.map((segment) => (segment.kind === "literal" ? segment.text : segment.kind === "one" ? "*" : "**"));
  return { description: `A part of \`${variable.fieldPath}\`, which is \`${shape.join("/")}\`.` };
}

function singular(collection: string): string {
  const plain = collection.replace(/[^A-Za-z0-9_]/g, "_");
  if (plain.endsWith("ies")) return `${plain.slice(0, -3)}y`;
  if (plain.endsWith("ves")) return `${plain.slice(0, -3)}f`;
  return plain.endsWith("s") && !plain.endsWith("ss") ? plain.slice(0, -1) : plain;
}

function unused(wanted: string, names: Set<string>): string {
  let name = wanted;
  for (let n = 2; names.has(name); n += 1) name = `${wanted}_${n}`;
  names.add(name);
  return name;
}
