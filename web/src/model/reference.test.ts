import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type ApiDocument, bare, curlOf, found, grouped, operationsOf, sample, typeWords } from './reference';

const document = JSON.parse(
  readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8'),
) as ApiDocument;
const operations = operationsOf(document);
const one = (id: string) => {
  const operation = operations.find((operation) => operation.id === id);
  if (operation === undefined) throw new Error(`no ${id}`);
  return operation;
};

test('every operation has an address of its own, and none is between the platform’s own parts', () => {
  expect(operations.length).toBeGreaterThan(60);
  expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length);
  expect(operations.some(({ path }) => path.startsWith('/internal/'))).toBe(false);
  expect(grouped(operations)[0]?.[0]).toBe('apps');
});

test('all words must be there', () => {
  expect(found(operations, 'scale').map(({ id }) => id)).toContain('put_projects_project_apps_app_scale');
  expect(found(operations, 'PUT scale').every(({ method }) => method === 'PUT')).toBe(true);
  expect(found(operations, 'no such thing')).toEqual([]);
  expect(found(operations, undefined)).toBe(operations);
});

test('every example can be made, also of schemas that go round', () => {
  for (const operation of operations) {
    const curl = curlOf(operation, document, 'https://coracle.example.org');
    expect(curl).toContain('https://coracle.example.org');
    for (const { schema } of operation.body) JSON.stringify(sample(schema, document));
    for (const { schema } of operation.answers) typeWords(schema);
  }
});

test('an example has what must be there', () => {
  expect(curlOf(one('post_tokens'), document, 'http://h')).toBe(
    [
      `curl -X POST 'http://h/api/v1/tokens'`,
      `-H "Authorization: Bearer $CORACLE_TOKEN"`,
      `-H 'Content-Type: application/json'`,
      `-d '{\n  "name": "NAME"\n}'`,
    ].join(' \\\n  '),
  );
  expect(curlOf(one('get_projects_project_pods_pod'), document, 'http://h')).toContain('/projects/PROJECT/pods/POD');
});

test('types are named in few words', () => {
  expect(typeWords({ type: 'array', items: { $ref: '#/components/schemas/Pod' } })).toBe('array of Pod');
  expect(typeWords({ oneOf: [{ $ref: '#/components/schemas/Role' }, { type: 'null' }] })).toBe('Role');
  expect(typeWords({ type: ['string', 'null'], format: 'date-time' })).toBe('string (date-time)');
  expect(typeWords({ enum: ['all'] })).toBe('all');
  expect(bare({ type: ['string', 'null'] })).toEqual({ schema: { type: 'string' }, nullable: true });
});

test('a quote in an example does not end it', () => {
  const operation = { ...one('get_tokens'), path: "/a'b" };
  expect(curlOf(operation, document, 'http://h')).toContain(`'http://h/a'\\''b'`);
});
