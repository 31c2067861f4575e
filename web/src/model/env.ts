/** An app's variables: what the platform has, what somebody is about to change, and `.env` files. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback } from 'react';
import { client, data } from './client';
import { useNotices } from './collections';
import type { Notice } from './live';
import type { AppRef } from './objects';
import type { EnvView } from './schema';

export type EnvVars = Readonly<Record<string, EnvView>>;

/** Variables with the app's revision that they were read at, for the change of them. */
export interface EnvRead {
  vars: EnvVars;
  revision: number;
}

export const envKey = ({ project, app }: AppRef) => ['env', project, app] as const;

export function useEnv(ref: AppRef, enabled: boolean) {
  const { project, app } = ref;
  const cache = useQueryClient();
  useNotices(
    useCallback(
      (notices: readonly Notice[]) => {
        const mine = notices.some(
          ({ object: { kind, metadata } }) => kind === 'App' && metadata.project === project && metadata.name === app,
        );
        if (mine) void cache.invalidateQueries({ queryKey: envKey({ project, app }) });
      },
      [cache, project, app],
    ),
  );
  return useQuery({
    queryKey: envKey(ref),
    queryFn: async ({ signal }): Promise<EnvRead> => {
      const params = { path: { project, app } };
      // The app first: variables that are newer than the revision make a refused change, never a lost one.
      const object = await data(client.GET('/api/v1/projects/{project}/apps/{app}', { params, signal }));
      const env = await data(client.GET('/api/v1/projects/{project}/apps/{app}/env', { params, signal }));
      return { vars: env.vars, revision: object.metadata.revision ?? 0 };
    },
    enabled,
  });
}

/** The most that the platform takes. */
export const MOST_VARIABLES = 1000;
export const VALUE_BYTES = 64 * 1024;
/** A pasted file of more characters is refused rather than read. */
export const MOST_PASTED = 4 * 1024 * 1024;

/** Why a name cannot be one; undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'A variable needs a name.';
  if (name.length > 255) return 'A name has at most 255 characters.';
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    return 'A name is made of letters, digits and underscores, and does not begin with a digit.';
  }
  return undefined;
}

export function valueProblem(value: string): string | undefined {
  if (value.includes('\0')) return 'A value cannot hold a zero byte.';
  if (new TextEncoder().encode(value).length > VALUE_BYTES) return 'A value has at most 64 KiB.';
  return undefined;
}

/** Does a variable look as if nobody should read it? A guess, for what is offered first. */
export function looksSecret(name: string, value: string): boolean {
  return (
    /(?:^|_)(?:SECRET|TOKEN|PASS|PASSWORD|PASSWD|PASSPHRASE|KEY|APIKEY|CREDENTIALS?|PRIVATE|DSN|AUTH)(?:_|$)/i.test(
      name,
    ) ||
    /^[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:[^/\s@]+@/i.test(value) ||
    value.includes('-----BEGIN ')
  );
}

export interface PastedVariable {
  name: string;
  value: string;
  /** The line that it begins in, from 1. */
  line: number;
}

export interface PastedProblem {
  line: number;
  message: string;
}

export interface Pasted {
  variables: PastedVariable[];
  /** Lines that are left out, and why; also what was read in a way that may surprise. */
  problems: PastedProblem[];
}

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' };

/**
 * Reads a `.env` file as `docker compose` and dotenv do: comments, `export`, values bare or in quotes, in quotes also
 * over several lines. Nothing is replaced in values: `$NAME` stays as it is. A name that is there twice has its last value.
 */
export function readDotenv(given: string): Pasted {
  const problems: PastedProblem[] = [];
  if (given.length > MOST_PASTED)
    return { variables: [], problems: [{ line: 1, message: 'This is too long to be read.' }] };
  const text = given.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');
  const found = new Map<string, PastedVariable>();
  let at = 0;
  let line = 1;
  const rest = (): string => {
    const end = text.indexOf('\n', at);
    return text.slice(at, end === -1 ? text.length : end);
  };
  const next = (): void => {
    const end = text.indexOf('\n', at);
    at = end === -1 ? text.length : end + 1;
    line += 1;
  };
  while (at < text.length) {
    const whole = rest();
    const equals = whole.indexOf('=');
    const name = whole
      .slice(0, Math.max(equals, 0))
      .trim()
      .replace(/^export\s+/, '');
    if (whole.trimStart().startsWith('#') || name === '') {
      if (whole.trim() !== '' && !whole.trimStart().startsWith('#')) {
        problems.push({ line, message: 'This line has no name and “=”.' });
      }
      next();
      continue;
    }
    const begun = line;
    const behind = whole.slice(equals + 1).trimStart();
    const quote = behind[0] ?? '';
    let value: string | undefined;
    if (quote === '"' || quote === "'" || quote === '`') {
      const start = at + whole.length - behind.length + 1;
      const end = closing(text, start, quote);
      if (end === -1) {
        problems.push({ line: begun, message: `The value of ${shown(name)} has a ${quote} that is not closed.` });
        next();
        continue;
      }
      const inner = text.slice(start, end);
      value = quote === '"' ? inner.replace(/\\([nrt"\\$])/g, (_, sign: string) => ESCAPES[sign] ?? sign) : inner;
      line += count(inner);
      at = end + 1;
      const after = rest().trim();
      if (after !== '' && !after.startsWith('#')) {
        problems.push({ line, message: `What stands behind the value of ${shown(name)} is left out.` });
      }
    } else {
      value = behind.slice(0, comment(behind)).trimEnd();
    }
    next();
    const wrong = nameProblem(name) ?? valueProblem(value);
    if (wrong !== undefined) {
      problems.push({ line: begun, message: `${shown(name)} is left out. ${wrong}` });
      continue;
    }
    const before = found.get(name);
    if (before !== undefined) {
      problems.push({ line: begun, message: `${name} is in line ${before.line} too. This one counts.` });
      found.delete(name);
    }
    found.set(name, { name, value, line: begun });
  }
  const variables = [...found.values()];
  if (variables.length > MOST_VARIABLES) {
    problems.push({ line: 1, message: `An app has at most ${MOST_VARIABLES} variables; the others are left out.` });
  }
  return { variables: variables.slice(0, MOST_VARIABLES), problems };
}

/** Where a comment begins: at a `#` at the front or behind a space. No expression, because such take their time. */
function comment(text: string): number {
  for (let at = text.indexOf('#'); at !== -1; at = text.indexOf('#', at + 1)) {
    if (at === 0 || /\s/.test(text[at - 1] ?? '')) return at;
  }
  return text.length;
}

/** Where quotes are closed. */
function closing(text: string, from: number, quote: string): number {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '\\' && quote === '"') at += 1;
    else if (text[at] === quote) return at;
  }
  return -1;
}

const count = (text: string): number => text.split('\n').length - 1;
const shown = (name: string): string => `“${name.length > 40 ? `${name.slice(0, 40)}…` : name}”`;
