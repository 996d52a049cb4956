import { type DescField, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { httpAnnotations, httpBody, type httpRules } from "@hms/contracts";
import { type FieldPath, resolveFieldPath } from "./field-path.ts";
import { type PathTemplate, parsePathTemplate, type TemplateVariable } from "./path-template.ts";
import { isTextField } from "./text-value.ts";

/** A variable of a path and the field it fills. */
export interface BoundVariable {
  readonly variable: TemplateVariable;
  readonly path: FieldPath;
}

/** One way to reach a method by HTTP, ready to be used. */
export interface HttpBinding {
  readonly method: DescMethod;
  /** Upper case; "*" is any. */
  readonly httpMethod: string;
  readonly template: PathTemplate;
  readonly variables: readonly BoundVariable[];
  /** What the request's body is: nothing, the whole request, or one field of it. */
  readonly body: "none" | "all" | DescField;
  /** The field of the answer that is sent; undefined: all of it. */
  readonly responseField: DescField | undefined;
  /** Whether it is only for methods without side effects: those that are not bound by their contract. */
  readonly isReadOnly: boolean;
  /** Whether the contract states it. */
  readonly isStated: boolean;
}

/** Whether a field or message is a google.api.HttpBody, which travels as it is. */
export function isHttpBody(type: { readonly typeName: string } | undefined): boolean {
  return type?.typeName === httpBody.HttpBodySchema.typeName;
}

/** A rule that cannot be served. */
export interface RuleProblem {
  readonly method: DescMethod;
  /** What is wrong, for people. */
  readonly problem: string;
}

/** The bindings that a method's google.api.http option states, and what is wrong with the others. */
export function statedBindings(method: DescMethod): { bindings: HttpBinding[]; problems: RuleProblem[] } {
  const bindings: HttpBinding[] = [];
  const problems: RuleProblem[] = [];
  if (!hasOption(method, httpAnnotations.http)) return { bindings, problems };
  const rule = getOption(method, httpAnnotations.http);
  for (const one of [rule, ...rule.additionalBindings]) {
    try {
      if (one !== rule && one.additionalBindings.length > 0) {
        throw new Error("An additional binding cannot have additional bindings of its own.");
      }
      bindings.push(bindingOf(method, one));
    } catch (error) {
      problems.push({ method, problem: (error as Error).message });
    }
  }
  return { bindings, problems };
}

function bindingOf(method: DescMethod, rule: httpRules.HttpRule): HttpBinding {
  const { httpMethod, path } = patternOf(rule);
  const template = parsePathTemplate(path);
  return {
    method,
    httpMethod,
    template,
    variables: template.variables.map((variable) => boundVariable(method, variable)),
    body: bodyOf(method, rule.body),
    responseField: rule.responseBody === "" ? undefined : topField(method.output, rule.responseBody, "response_body"),
    isReadOnly: false,
    isStated: true,
  };
}

function patternOf({ pattern }: httpRules.HttpRule): { httpMethod: string; path: string } {
  if (pattern.case === undefined) throw new Error("The rule has no path.");
  if (pattern.case !== "custom") return { httpMethod: pattern.case.toUpperCase(), path: pattern.value };
  const { kind, path } = pattern.value;
  if (!/^(?:\*|[A-Za-z][A-Za-z0-9_-]*)$/.test(kind)) throw new Error(`"${kind}" is not an HTTP method.`);
  return { httpMethod: kind.toUpperCase(), path };
}

function boundVariable(method: DescMethod, variable: TemplateVariable): BoundVariable {
  const path = resolveFieldPath(method.input, variable.fieldPath);
  if (typeof path === "string") throw new Error(`The variable "${variable.fieldPath}" fits no field: ${path}`);
  if (path.field.fieldKind === "list" || !isTextField(path.field)) {
    throw new Error(`The variable "${variable.fieldPath}" is bound to a field that cannot stand in a path.`);
  }
  return { variable, path };
}

function bodyOf(method: DescMethod, body: string): HttpBinding["body"] {
  if (body === "") return "none";
  return body === "*" ? "all" : topField(method.input, body, "body");
}

function topField(desc: DescMethod["input"], name: string, option: string): DescField {
  const path = name.includes(".") ? `"${name}" is not at the top of ${desc.typeName}.` : resolveFieldPath(desc, name);
  if (typeof path === "string") throw new Error(`The option ${option} fits no field: ${path}`);
  return path.field;
}
