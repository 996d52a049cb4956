import type { DescService } from "@bufbuild/protobuf";
import { type HttpBinding, statedBindings } from "../http-binding.ts";
import { plainBindings, serviceIdOf } from "../plain-routes.ts";
import type { RouteConflict } from "../route-table.ts";
import { commentOf } from "./comments.ts";
import { described, type JsonSchema, SchemaCollector } from "./json-schema.ts";
import { operationOf } from "./operation.ts";
import { documentPath } from "./path-parameters.ts";
import { queryParameters } from "./query-parameters.ts";

/** What a document is made of. */
export interface DocumentInput {
  readonly services: readonly DescService[];
  readonly environment: string;
  readonly conflicts: readonly RouteConflict[];
  /** The name of the whole. */
  readonly title: string;
}

/** HTTP methods that OpenAPI 3.1 has a place for. */
const METHODS = new Set(["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"]);

const ERROR_SCHEMA: JsonSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "status"],
      properties: {
        code: { type: "integer", description: "The HTTP status." },
        message: { type: "string", description: "What went wrong, why, and what to do." },
        status: { type: "string", description: "The code of google.rpc.Code, such as NOT_FOUND." },
        details: {
          type: "array",
          description: "Messages of google.rpc such as ErrorInfo, BadRequest and RetryInfo.",
          items: { type: "object", properties: { "@type": { type: "string" } }, additionalProperties: true },
        },
      },
    },
  },
};

/** An OpenAPI 3.1 document of services, from nothing but their contracts. */
export function openApiDocument({ services, environment, conflicts, title }: DocumentInput): JsonSchema {
  const schemas = new SchemaCollector();
  const paths = new PathCollector(schemas);
  for (const service of services) for (const binding of documentedBindings(service)) paths.add(binding);
  return {
    openapi: "3.1.1",
    info: { title, version: "v1", description: `What can be called in the environment "${environment}".` },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }],
    tags: services.map((service) => ({ name: service.typeName, ...described(commentOf(service)) })),
    paths: paths.paths,
    components: {
      schemas: { ...schemas.schemas, "hms.edge.Error": ERROR_SCHEMA },
      responses: {
        Error: {
          description: "The call failed.",
          headers: {
            "x-request-id": { description: "Names the call in logs and audit.", schema: { type: "string" } },
            "retry-after": { description: "Seconds after which to try again.", schema: { type: "integer" } },
          },
          content: { "application/json": { schema: { $ref: "#/components/schemas/hms.edge.Error" } } },
        },
      },
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
    },
    ...(paths.others.length > 0 ? { "x-hms-other-methods": paths.others } : {}),
    ...(conflicts.length > 0 ? { "x-hms-conflicts": conflicts } : {}),
  };
}

/** The services of a list that an id ("hms.cdf.debate") or a contract name stands for. */
export function servicesNamed(services: readonly DescService[], name: string): DescService[] {
  return services.filter((service) => service.typeName === name || serviceIdOf(service).id === name);
}

// A method that states no route is told with the path that every method has, by its service's id.
function documentedBindings(service: DescService): HttpBinding[] {
  return service.methods.flatMap((method) => {
    const { bindings } = statedBindings(method);
    if (bindings.length > 0) return bindings;
    const [first, ...more] = plainBindings(method);
    return [first, ...more].filter((binding) => binding?.template.source === first?.template.source) as HttpBinding[];
  });
}

class PathCollector {
  readonly paths: Record<string, JsonSchema> = {};
  /** Routes with methods that OpenAPI has no place for. */
  readonly others: string[] = [];
  readonly #schemas: SchemaCollector;
  readonly #byShape = new Map<string, { path: string; names: readonly string[] }>();
  readonly #ids = new Set<string>();

  constructor(schemas: SchemaCollector) {
    this.#schemas = schemas;
  }

  add(binding: HttpBinding): void {
    if (!METHODS.has(binding.httpMethod)) {
      this.others.push(`${binding.httpMethod} ${binding.template.source}`);
      return;
    }
    const found = documentPath(binding, this.#schemas);
    const { path, names } = this.#canonical(
      found.path,
      found.parameters.map(({ name }) => name as string),
    );
    const item = this.paths[path] ?? {};
    this.paths[path] = item;
    const verb = binding.httpMethod.toLowerCase();
    if (Object.hasOwn(item, verb)) return;
    const inPath = found.parameters.map((parameter, index) => ({ ...parameter, name: names[index] }));
    const parameters = [...inPath, ...queryParameters(binding, this.#schemas)];
    const operation = operationOf(binding, this.#idFor(binding), this.#schemas);
    item[verb] = parameters.length > 0 ? { ...operation, parameters } : operation;
  }

  // Two paths that differ in the names of their parameters only are one path to OpenAPI.
  #canonical(path: string, names: readonly string[]): { path: string; names: readonly string[] } {
    const shape = path.replace(/\{[^}]*\}/g, "{}");
    const known = this.#byShape.get(shape) ?? { path, names };
    this.#byShape.set(shape, known);
    return known;
  }

  #idFor({ method }: HttpBinding): string {
    const wanted = `${method.parent.typeName}_${method.name}`.replaceAll(".", "_");
    let id = wanted;
    for (let n = 2; this.#ids.has(id); n += 1) id = `${wanted}_${n}`;
    this.#ids.add(id);
    return id;
  }
}
