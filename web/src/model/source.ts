/** Sources: what an app is to be built from, and what of it somebody wants otherwise before it is. */
import { useQuery } from '@tanstack/react-query';
import { client, data } from './client';
import { looksSecret, readDotenv } from './env';
import { useFresh } from './fresh';
import { ApiProblem, problemOf, Unreachable } from './problem';
import type { Detected, ProcessSpec, RunChange, RunConfig, Source } from './schema';
import { session } from './session';

export const SOURCES = ['sources'] as const;
export const sourceKey = (project: string, id: string) => [...SOURCES, project, id] as const;

/** A source, and what became of it. */
export function useSource(project: string, id: string | undefined) {
  const key = sourceKey(project, id ?? '');
  useFresh(key, 'Source');
  return useQuery({
    queryKey: key,
    queryFn: ({ signal }) =>
      data(
        client.GET('/api/v1/projects/{project}/sources/{source}', {
          params: { path: { project, source: id ?? '' } },
          signal,
        }),
      ),
    enabled: id !== undefined,
    // It may have changed before this page listened.
    refetchOnMount: 'always',
  });
}

export interface UploadOptions {
  signal: AbortSignal;
  onBytes: (sent: number) => void;
}

/**
 * Sends an archive. By XMLHttpRequest, because `fetch` tells nothing about how far an upload is. Where the session ended
 * it is sent again after the login, as every request is.
 */
export async function upload(project: string, archive: Blob, options: UploadOptions): Promise<Source> {
  for (;;) {
    const { status, body } = await sent(project, archive, options);
    if (status >= 200 && status < 300) return body as Source;
    const renewed = status === 401 ? session.renewed() : undefined;
    if (renewed === undefined) throw problemOf(status, body);
    await renewed;
  }
}

function sent(project: string, archive: Blob, { signal, onBytes }: UploadOptions) {
  return new Promise<{ status: number; body: unknown }>((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open('POST', `/api/v1/projects/${encodeURIComponent(project)}/sources`);
    request.setRequestHeader('Content-Type', 'application/gzip');
    request.upload.addEventListener('progress', (event) => onBytes(event.loaded));
    request.addEventListener('load', () => {
      let body: unknown = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // A proxy's page: its status tells.
      }
      resolve({ status: request.status, body });
    });
    request.addEventListener('error', () => reject(new Unreachable(undefined)));
    request.addEventListener('abort', () => reject(new DOMException('The upload was ended.', 'AbortError')));
    request.addEventListener('loadend', () => signal.removeEventListener('abort', abort));
    signal.addEventListener('abort', abort);
    request.send(archive);
  });
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** A process as it stands in a form; empty fields leave it to the platform. */
export interface WishedProcess {
  name: string;
  command: string;
  port: number | undefined;
  replicas: number;
  /** The source has it: its name stays, and it cannot be taken away. */
  given: boolean;
}

export interface WishedVariable {
  /** Never used twice in one form. */
  id: number;
  name: string;
  value: string;
  secret: boolean;
  given: boolean;
}

/** What a new app is to be, as it stands in the form. */
export interface Wish {
  app: string;
  processes: WishedProcess[];
  env: WishedVariable[];
}

/** A command as one line. Words with spaces are shown in quotes; it is sent only where somebody changed it. */
export function commandLine(command: ProcessSpec['command'] | undefined): string {
  if (command === null || command === undefined) return '';
  if (typeof command === 'string') return command;
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

/** What is not said is absent, whatever the document says of defaults. */
export function found(detected: Partial<Detected> | null | undefined): Detected {
  return {
    app: null,
    dockerfile: null,
    language: null,
    port: null,
    env: {},
    processes: {},
    volumes: [],
    release_command: null,
    warnings: [],
    problem: null,
    ...detected,
  };
}

/** The form for a source, as the source has it. */
export function wishOf(given: Partial<Detected> | null | undefined, app: string): Wish {
  const detected = found(given);
  const names = Object.keys(detected.processes);
  const order = (name: string) => (name === 'web' ? '' : name);
  const processes = (names.length === 0 ? ['web'] : names).sort((a, b) => order(a).localeCompare(order(b)));
  return {
    app,
    processes: processes.map((name) => {
      const spec: Partial<ProcessSpec> = detected.processes[name] ?? {};
      return {
        name,
        command: commandLine(spec.command),
        port: spec.port ?? (name === 'web' ? (detected.port ?? undefined) : undefined),
        replicas: spec.replicas ?? 1,
        given: true,
      };
    }),
    env: Object.entries(detected.env).map(([name, value], id) => ({ id, name, value, secret: false, given: true })),
  };
}

/** A form with the variables of a pasted `.env`: those of a name that is there get the new value. */
export function withPasted(wish: Wish, text: string): Wish {
  const { variables } = readDotenv(text);
  const pasted = new Map(variables.map(({ name, value }) => [name, value]));
  const kept = wish.env
    .filter(({ name, value }) => name !== '' || value !== '')
    .map((it) => ({ ...it, value: pasted.get(it.name) ?? it.value }));
  const known = new Set(kept.map(({ name }) => name));
  let id = Math.max(0, ...wish.env.map((it) => it.id));
  const added = [...pasted]
    .filter(([name]) => !known.has(name))
    .map(([name, value]) => {
      id += 1;
      return { id, name, value, secret: looksSecret(name, value), given: false };
    });
  return { ...wish, env: [...kept, ...added] };
}

/** What of a form is otherwise than the source has it. */
export function changeOf(wish: Wish, given: Partial<Detected> | null | undefined): RunChange {
  const before = wishOf(given, wish.app);
  const processes: RunChange['processes'] = {};
  for (const process of wish.processes) {
    const was = before.processes.find(({ name }) => name === process.name);
    const change = {
      command: process.command !== (was?.command ?? '') && process.command !== '' ? process.command : null,
      port: process.port !== was?.port ? (process.port ?? null) : null,
      replicas: process.replicas !== (was?.replicas ?? 1) ? process.replicas : null,
      cpu: null,
      memory: null,
    };
    const changed = Object.values(change).some((value) => value !== null);
    if (changed || was === undefined) processes[process.name] = change;
  }
  const env: RunChange['env'] = {};
  for (const { name, value, secret } of wish.env) {
    const was = before.env.find((variable) => variable.name === name);
    if (!secret && name !== '' && was?.value !== value) env[name] = value;
  }
  return { processes, env };
}

/** The variables that are set apart from the source, because nobody is to read them. */
export function secretsOf(wish: Wish): Record<string, string> {
  return Object.fromEntries(wish.env.filter(({ secret, name }) => secret && name !== '').map((v) => [v.name, v.value]));
}

/** A form as what an image runs with, which has no source to say anything. */
export function configOf(wish: Wish): RunConfig {
  return {
    env: Object.fromEntries(
      wish.env.filter(({ secret, name }) => !secret && name !== '').map((v) => [v.name, v.value]),
    ),
    processes: Object.fromEntries(
      wish.processes.map(({ name, command, port, replicas }) => [
        name,
        {
          command: command === '' ? null : command,
          port: port ?? null,
          replicas,
          cpu: null,
          memory: null,
          health: null,
          scale: null,
          stop_grace: '10s',
        },
      ]),
    ),
    release_command: null,
    volumes: [],
  };
}

/** What is wrong with a form, by field; the platform has the last word. */
export function faults(wish: Wish): Record<string, string> {
  const wrong: Record<string, string> = {};
  if (!/^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/.test(wish.app)) {
    wrong.app = 'Use 1 to 40 lower-case letters, digits and -, beginning with a letter and not ending with -.';
  }
  wish.processes.forEach(({ name, command, given }, index) => {
    if (!/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name)) wrong[`process.${index}`] = 'Use lower-case letters, digits and -.';
    else if (wish.processes.findIndex((other) => other.name === name) < index) {
      wrong[`process.${index}`] = 'There is a process of this name already.';
    } else if (!given && command === '') wrong[`process.${index}`] = 'Say what it runs.';
  });
  const names = new Set<string>();
  for (const { id, name, value } of wish.env) {
    if (name === '' && value === '') continue;
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) wrong[`env.${id}`] = 'Use letters, digits and _, not a digit at first.';
    else if (name === 'PORT') wrong[`env.${id}`] = 'PORT is set by Coracle: change the port of the process.';
    else if (names.has(name)) wrong[`env.${id}`] = 'This name is there twice.';
    names.add(name);
  }
  return wrong;
}

/** A Dockerfile to begin with, by language, where a source has none. */
export function dockerfileFor(language: string | null | undefined): string {
  const [packages, run] = (() => {
    switch (language?.toLowerCase()) {
      case 'python':
        return ['python3 python3-pip', 'python3 app.py'];
      case 'node.js':
      case 'node':
      case 'javascript':
      case 'typescript':
        return ['nodejs npm', 'node server.js'];
      case 'ruby':
        return ['ruby bundler', 'ruby app.rb'];
      case 'php':
        return ['php-cli', 'php -S 0.0.0.0:8080'];
      case 'go':
        return ['golang ca-certificates', 'go run .'];
      default:
        return ['python3', 'python3 -m http.server 8080'];
    }
  })();
  const words = run
    .split(' ')
    .map((word) => JSON.stringify(word))
    .join(', ');
  return `FROM debian:12
RUN apt-get update \\
 && apt-get install -y --no-install-recommends ${packages} \\
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
USER nobody
EXPOSE 8080
CMD [${words}]
`;
}

/** A Dockerfile that a hint suggests, and the words before it. */
export function suggestion(hint: string | null | undefined): { words: string; dockerfile: string | undefined } {
  const at = hint?.search(/^FROM /m) ?? -1;
  if (hint == null || at < 0) return { words: hint ?? '', dockerfile: undefined };
  return {
    words: hint
      .slice(0, at)
      .trim()
      .replace(/ such as:$/, ''),
    dockerfile: `${hint.slice(at).trim()}\n`,
  };
}

/** Is a problem about there being nothing that says how to build? */
export function isWithoutRecipe(problem: Detected['problem']): boolean {
  return (
    problem !== null && /no "?Dockerfile|Dockerfile.*(missing|not found|no such)|how to build/i.test(problem.detail)
  );
}

export function problemOfSource(problem: NonNullable<Detected['problem']>): ApiProblem {
  return new ApiProblem({
    type: 'about:blank',
    title: 'This cannot be built yet',
    status: 422,
    code: problem.code,
    detail: problem.detail,
    hint: suggestion(problem.hint).words || null,
  });
}

/** A Git address as people paste it: `https://host/team/app#main`, with what the platform takes of it. */
export function gitPlace(text: string): { url: string; ref: string | undefined } {
  const [url = '', ref] = text.trim().split('#', 2);
  const ssh = /^(?:ssh:\/\/)?git@([^:/]+)[:/](.+)$/.exec(url);
  return { url: ssh === null ? url : `https://${ssh[1]}/${ssh[2]}`, ref: ref === '' ? undefined : ref };
}
