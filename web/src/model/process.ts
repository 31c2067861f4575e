/** Processes of an app: how many pods each should have and has, and the form that changes one. */
import { commandText, own } from './release';
import type { App, CommandLine, Health, Pod, ProcessSpec, Release } from './schema';

/** One process as it is wished and as it is. */
export interface ProcessNow {
  name: string;
  spec: ProcessSpec;
  /** Pods that it should have. */
  wish: number;
  ready: number;
  /** Its pods, of whatever release, by name. */
  pods: Pod[];
  /** Is the wish of somebody who scaled it, rather than of the release? */
  scaled: boolean;
}

/** The most pods of one process that the platform takes. */
export const MOST_REPLICAS = 100;

/** The processes of a release, `web` first. */
export function processesOf(app: App, release: Release | undefined, pods: readonly Pod[]): ProcessNow[] {
  const processes = release?.spec.config.processes ?? {};
  return Object.keys(processes)
    .sort((a, b) => Number(b === 'web') - Number(a === 'web') || a.localeCompare(b))
    .flatMap((name) => {
      const spec = own(processes, name);
      if (spec === undefined) return [];
      const scaled = own(app.spec.scale, name);
      return [
        {
          name,
          spec,
          wish: scaled ?? spec.replicas ?? 1,
          ready: own(app.status.processes, name)?.ready ?? 0,
          pods: pods.filter((pod) => pod.spec.process === name),
          scaled: scaled !== undefined,
        },
      ];
    });
}

/** What one types to change a process. Empty: as the image or the platform has it. */
export interface ProcessForm {
  command: string;
  port: string;
  cpu: string;
  memory: string;
  health: 'none' | 'port' | 'http';
  path: string;
  interval: string;
  timeout: string;
  grace: string;
  failures: string;
  stopGrace: string;
}

export function formOf(spec: ProcessSpec): ProcessForm {
  const { health } = spec;
  return {
    command: commandText(spec.command) ?? '',
    port: spec.port?.toString() ?? '',
    cpu: spec.cpu?.toString() ?? '',
    memory: spec.memory ?? '',
    health: health == null ? 'none' : health.path == null ? 'port' : 'http',
    path: health?.path ?? '/',
    interval: health?.interval ?? '10s',
    timeout: health?.timeout ?? '5s',
    grace: health?.grace ?? '60s',
    failures: health?.failures?.toString() ?? '3',
    stopGrace: spec.stop_grace ?? '10s',
  };
}

export type FormProblems = { [F in keyof ProcessForm]?: string };

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A length of time in milliseconds: `500ms`, `2s`, `10m`; null where it is none. */
export function spanOf(text: string): number | null {
  const found = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text.trim());
  if (found === null) return null;
  const unit = Object.entries(UNITS).find(([name]) => name === found[2]);
  return unit === undefined ? null : Number(found[1]) * unit[1];
}

function spanProblem(text: string, least: number, most: number, words: string): string | undefined {
  const span = spanOf(text);
  if (span === null) return 'A time with its unit, such as 500ms, 10s or 2m.';
  return span < least || span > most ? words : undefined;
}

/** A command as it is typed: words as JSON, or a line for the shell. */
export function commandOf(text: string): CommandLine | null | undefined {
  const line = text.trim();
  if (line === '') return null;
  if (!line.startsWith('[')) return line;
  try {
    const words: unknown = JSON.parse(line);
    const fine = Array.isArray(words) && words.length > 0 && words.every((word) => typeof word === 'string');
    // `[ -f x ] && run` is a line for the shell too.
    return fine ? (words as string[]) : undefined;
  } catch {
    return line;
  }
}

/** Processors as they are typed: `0.5`, `2` or `500m`. */
export function cpuOf(text: string): number | null {
  const found = /^(\d{1,4}(?:\.\d{1,3})?|\.\d{1,3})(m?)$/.exec(text.trim());
  if (found === null) return null;
  return found[2] === 'm' ? Number(found[1]) / 1000 : Number(found[1]);
}

/** What is wrong in a form, by field; the platform checks it all again. */
export function formProblems(form: ProcessForm): FormProblems {
  const problems: FormProblems = {};
  const say = (field: keyof ProcessForm, words: string | undefined) => {
    if (words !== undefined) problems[field] = words;
  };
  if (commandOf(form.command) === undefined) say('command', 'Words in brackets are texts: ["python3", "app.py"].');
  if (form.command.includes('\0')) say('command', 'A command cannot hold a zero byte.');
  const port = form.port.trim();
  if (port !== '' && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) {
    say('port', 'A number from 1 to 65535.');
  }
  if (form.cpu.trim() !== '' && !((cpuOf(form.cpu) ?? 0) > 0)) say('cpu', 'A number such as 0.5 or 2.');
  if (form.memory.trim() !== '' && !/^\d{1,12}(?:\.\d{1,6})?\s*(?:[kMGT]|[KMGT]i)?B?$/.test(form.memory.trim())) {
    say('memory', 'An amount with its unit, such as 256Mi or 1Gi.');
  }
  if (form.health === 'http' && (!form.path.startsWith('/') || /[\s\p{C}]/u.test(form.path))) {
    say('path', 'A path begins with “/” and has no spaces, such as /healthz.');
  }
  if (form.health !== 'none') {
    say('interval', spanProblem(form.interval, 100, UNITS.h, 'Use 100ms to 1h.'));
    say('timeout', spanProblem(form.timeout, 100, UNITS.h, 'Use 100ms to 1h.'));
    say('grace', spanProblem(form.grace, 100, UNITS.d, 'Use 100ms to 1d.'));
    const failures = Number(form.failures);
    if (!/^\d{1,3}$/.test(form.failures.trim()) || failures < 1 || failures > 100) say('failures', 'Use 1 to 100.');
  }
  say('stopGrace', spanProblem(form.stopGrace, 0, UNITS.h, 'Use 0s to 1h.'));
  return problems;
}

/** The process that a form without problems says; what the form does not know stays. */
export function specOf(form: ProcessForm, before: ProcessSpec): ProcessSpec {
  const trimmed = (text: string): string | null => text.trim() || null;
  const health: Health | null =
    form.health === 'none'
      ? null
      : {
          path: form.health === 'http' ? form.path.trim() : null,
          interval: form.interval.trim(),
          timeout: form.timeout.trim(),
          grace: form.grace.trim(),
          failures: Number(form.failures),
        };
  const port = trimmed(form.port);
  return {
    ...before,
    command: commandOf(form.command) ?? null,
    port: port === null ? null : Number(port),
    cpu: trimmed(form.cpu) === null ? null : cpuOf(form.cpu),
    memory: trimmed(form.memory)?.replace(/\s+/g, '') ?? null,
    health,
    stop_grace: form.stopGrace.trim(),
  };
}

export const sameForm = (a: ProcessForm, b: ProcessForm): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What somebody typed into a form that said `before`, on what the process says now: each field that they changed. */
export function rebasedForm(form: ProcessForm, before: ProcessForm, now: ProcessForm): ProcessForm {
  const fields = Object.keys(form) as (keyof ProcessForm)[];
  const typed = fields.filter((field) => form[field] !== before[field]);
  return { ...now, ...Object.fromEntries(typed.map((field) => [field, form[field]])) };
}
