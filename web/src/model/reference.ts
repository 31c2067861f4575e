/**
 * The API's document, as a reader looks at it.
 *
 * Theory of operation: the platform serves an OpenAPI document of itself. It is read once, when somebody opens the
 * reference, and turned into operations that are grouped by what they are about. Schemas stay as they are: references in
 * them are followed when somebody opens one, because some of them go round.
 */
import { useQuery } from '@tanstack/react-query';
import { send } from './client';
import { problemOf } from './problem';

/** The part of JSON Schema that the document uses. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  default?: unknown;
  example?: unknown;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
}

interface Media {
  schema?: Schema;
}

interface RawOperation {
  operationId?: string;
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; description?: string; content?: Record<string, Media> };
  responses?: Record<string, { description?: string; content?: Record<string, Media> }>;
}

export interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

export interface ApiDocument {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, RawOperation>>;
  components?: { schemas?: Record<string, Schema> };
}

export interface Answer {
  status: string;
  description: string;
  type?: string;
  schema?: Schema;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  group: string;
  summary: string;
  description: string;
  parameters: readonly Parameter[];
  body: { type: string; schema?: Schema }[];
  answers: readonly Answer[];
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** All operations, in the document's order. Those between the platform's own parts are no one else's. */
export function operationsOf(document: ApiDocument): Operation[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const raw = item[method];
      if (raw === undefined || path === '/' || path.startsWith('/internal/')) return [];
      const operation: Operation = {
        id: raw.operationId ?? `${method} ${path}`,
        method: method.toUpperCase(),
        path,
        group: raw.tags?.[0] ?? 'other',
        summary: raw.summary ?? '',
        description: raw.description ?? '',
        parameters: raw.parameters ?? [],
        body: Object.entries(raw.requestBody?.content ?? {}).map(([type, media]) => ({
          type,
          ...(media.schema === undefined ? {} : { schema: media.schema }),
        })),
        answers: Object.entries(raw.responses ?? {}).map(([status, answer]) => {
          const [content] = Object.entries(answer.content ?? {});
          return {
            status,
            description: answer.description ?? '',
            ...(content === undefined ? {} : { type: content[0] }),
            ...(content?.[1].schema === undefined ? {} : { schema: content[1].schema }),
          };
        }),
      };
      return [operation];
    }),
  );
}

/** What people come for is first; what is not named here is in between. */
const FIRST = ['apps', 'releases', 'builds', 'sources', 'pods', 'volumes', 'images', 'projects'];
const LAST = ['nodes', 'access', 'platform', 'gateways'];

function rank(group: string): number {
  if (FIRST.includes(group)) return FIRST.indexOf(group);
  return LAST.includes(group) ? 100 + LAST.indexOf(group) : 50;
}

/** Operations by what they are about. */
export function grouped(operations: readonly Operation[]): [string, Operation[]][] {
  const groups = new Map<string, Operation[]>();
  for (const operation of operations) {
    const group = groups.get(operation.group);
    if (group === undefined) groups.set(operation.group, [operation]);
    else group.push(operation);
  }
  return [...groups].sort(([a], [b]) => rank(a) - rank(b));
}

/** Those that have all the words somewhere. */
export function found(operations: readonly Operation[], words: string | undefined): readonly Operation[] {
  const wanted = (words ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return operations;
  return operations.filter(({ method, path, summary, description, group, parameters }) => {
    const text = [method, path, summary, description, group, ...parameters.map(({ name }) => name)]
      .join(' ')
      .toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

const REF = '#/components/schemas/';

/** The name of the schema that is referred to. */
export function refName(schema: Schema | undefined): string | undefined {
  return schema?.$ref?.startsWith(REF) ? schema.$ref.slice(REF.length) : undefined;
}

/** What a schema is about without what says that it may be absent: `Foo | null` → `Foo`. */
export function bare(schema: Schema): { schema: Schema; nullable: boolean } {
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice !== undefined) {
    const rest = choice.filter((one) => one.type !== 'null');
    const [only] = rest;
    if (rest.length < choice.length && rest.length === 1 && only !== undefined) {
      return {
        schema: { ...only, ...(schema.description ? { description: schema.description } : {}) },
        nullable: true,
      };
    }
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== 'null');
    const [only] = types;
    if (types.length < schema.type.length && only !== undefined) {
      return { schema: { ...schema, type: types.length === 1 ? only : types }, nullable: true };
    }
  }
  return { schema, nullable: false };
}

/** A schema in a few words: `array of Pod`, `string`, `admin or viewer`. */
export function typeWords(given: Schema | undefined): string {
  if (given === undefined) return 'anything';
  const { schema } = bare(given);
  const name = refName(schema);
  if (name !== undefined) return name;
  if (schema.enum !== undefined) return schema.enum.map(String).join(' or ');
  if (schema.type === 'array' || schema.items !== undefined) return `array of ${typeWords(schema.items)}`;
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice !== undefined) return choice.map(typeWords).join(' or ');
  if (schema.allOf !== undefined) return schema.allOf.map(typeWords).join(' with ');
  if (schema.properties !== undefined) return 'object';
  if (typeof schema.additionalProperties === 'object') return `object of ${typeWords(schema.additionalProperties)}`;
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : (schema.type ?? 'anything');
  return schema.format === undefined ? type : `${type} (${schema.format})`;
}

/** The fields that a schema has, those of its parts with it. */
export function fieldsOf(schema: Schema, document: ApiDocument): { name: string; schema: Schema; required: boolean }[] {
  const target = resolved(schema, document);
  const own = Object.entries(target.properties ?? {}).map(([name, field]) => ({
    name,
    schema: field,
    required: target.required?.includes(name) ?? false,
  }));
  return [...own, ...(target.allOf ?? []).flatMap((part) => fieldsOf(part, document))];
}

/** What a reference leads to, one step. */
export function resolved(given: Schema, document: ApiDocument): Schema {
  const { schema } = bare(given);
  const name = refName(schema);
  return name === undefined ? schema : (document.components?.schemas?.[name] ?? {});
}

/** Deeper is nothing for an example. */
const DEPTH = 5;

/** What could be sent: only what must be there, so that it can be typed over. */
export function sample(given: Schema | undefined, document: ApiDocument, depth = 0): unknown {
  if (given === undefined || depth > DEPTH) return {};
  const schema = resolved(given, document);
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.enum !== undefined) return schema.enum[0];
  const choice = (schema.oneOf ?? schema.anyOf)?.find((one) => one.type !== 'null');
  if (choice !== undefined) return sample(choice, document, depth + 1);
  const fields = fieldsOf(schema, document);
  if (fields.length > 0) {
    const required = fields.filter((field) => field.required);
    // Where nothing must be there, the first levels show what could be.
    const shown = required.length > 0 ? required : depth < 2 ? fields.filter(isSent) : [];
    return Object.fromEntries(shown.map(({ name, schema }) => [name, named(name, schema, document, depth + 1)]));
  }
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type) {
    case 'string':
      return schema.format === 'date-time' ? '2026-01-01T00:00:00Z' : 'TEXT';
    case 'integer':
    case 'number':
      return schema.minimum ?? 1;
    case 'boolean':
      return true;
    case 'array':
      return schema.items === undefined ? [] : [sample(schema.items, document, depth + 1)];
    default:
      return typeof schema.additionalProperties === 'object'
        ? { NAME: sample(schema.additionalProperties, document, depth + 1) }
        : {};
  }
}

/** What the platform sets itself is not sent. */
const isSent = ({ name }: { name: string }) =>
  !['kind', 'status', 'created', 'deleting', 'revision', 'uid'].includes(name);

function named(name: string, schema: Schema, document: ApiDocument, depth: number): unknown {
  const value = sample(schema, document, depth);
  return value === 'TEXT' ? name.toUpperCase() : value;
}

/** For a shell: nothing in quotes ends them. */
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The operation as a command, with names in capitals where something is to be put in. */
export function curlOf(operation: Operation, document: ApiDocument, origin: string): string {
  const path = operation.path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => name.toUpperCase());
  const query = operation.parameters
    .filter((parameter) => parameter.in === 'query' && parameter.required)
    .map(({ name }) => `${name}=${name.toUpperCase()}`)
    .join('&');
  const lines = [
    `curl ${operation.method === 'GET' ? '' : `-X ${operation.method} `}${quoted(`${origin}${path}${query === '' ? '' : `?${query}`}`)}`,
    `-H "Authorization: Bearer $CORACLE_TOKEN"`,
  ];
  const json = operation.body.find(({ type }) => type === 'application/json');
  const other = operation.body[0];
  if (json !== undefined) {
    lines.push(`-H 'Content-Type: application/json'`);
    lines.push(`-d ${quoted(JSON.stringify(sample(json.schema, document), null, 2))}`);
  } else if (other !== undefined) {
    lines.push(`-H ${quoted(`Content-Type: ${other.type}`)}`);
    lines.push('--data-binary @FILE');
  }
  return lines.join(' \\\n  ');
}

export function useApiDocument() {
  return useQuery({
    queryKey: ['reference'],
    queryFn: async (): Promise<ApiDocument> => {
      const response = await send(new Request(new URL('/api/v1/openapi.json', window.location.origin)));
      const body: unknown = await response.json().catch(() => null);
      if (!response.ok) throw problemOf(response.status, body);
      // It is the platform's own document, and it is only shown.
      return body as ApiDocument;
    },
  });
}
