/**
 * A command in a pod, over a WebSocket (subprotocol `coracle.exec.v1`): each message begins with one byte that says
 * what it is. The exit status is the last message.
 */
import { client, data } from './client';
import { ApiProblem } from './problem';
import type { Problem } from './schema';

const PROTOCOL = 'coracle.exec.v1';

/** The first byte of each message. */
const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const EXIT = 3;
const RESIZE = 4;

/** The platform takes messages of 256 KiB; what is pasted goes in parts. */
const PART = 32 * 1024;

export interface TerminalSize {
  columns: number;
  rows: number;
}

/** How a session ended: by itself, refused or ended by the platform, or with its connection. */
export type ExecEnd =
  | { how: 'exit'; code: number }
  | { how: 'problem'; problem: Problem }
  | { how: 'broken'; opened: boolean };

export interface ExecHandlers {
  onOpen: () => void;
  onOutput: (bytes: Uint8Array) => void;
  /** Once, and nothing follows. */
  onEnd: (end: ExecEnd) => void;
}

/** What a running command is spoken to with. */
export interface ExecSession {
  write: (text: string) => void;
  /** Bytes as they are, such as mouse reports. */
  writeBytes: (bytes: Uint8Array) => void;
  resize: (size: TerminalSize) => void;
  close: () => void;
}

export interface ExecTarget {
  project: string;
  pod: string;
}

/** The path and query of a session. */
export function execPath({ project, pod }: ExecTarget, command: readonly string[], size: TerminalSize): string {
  const query = new URLSearchParams();
  for (const word of command) query.append('command', word);
  query.set('tty', 'true');
  query.set('columns', String(size.columns));
  query.set('rows', String(size.rows));
  return `/api/v1/projects/${encodeURIComponent(project)}/pods/${encodeURIComponent(pod)}/exec?${query}`;
}

/** What the last message says. */
export function parseEnd(body: Uint8Array): ExecEnd {
  try {
    const raw = JSON.parse(new TextDecoder().decode(body)) as { code?: unknown; problem?: unknown };
    if (typeof raw.code === 'number') return { how: 'exit', code: raw.code };
    const problem = raw.problem as Partial<Problem> | null | undefined;
    if (typeof problem?.detail === 'string' && typeof problem.code === 'string')
      return { how: 'problem', problem: problem as Problem };
  } catch {
    // What cannot be read is no status.
  }
  return { how: 'broken', opened: true };
}

function message(kind: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(body.length + 1);
  bytes[0] = kind;
  bytes.set(body, 1);
  return bytes;
}

/** Starts a command with a terminal. */
export function openExec(
  target: ExecTarget,
  command: readonly string[],
  size: TerminalSize,
  handlers: ExecHandlers,
): ExecSession {
  const url = new URL(execPath(target, command, size), window.location.origin);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(url, PROTOCOL);
  socket.binaryType = 'arraybuffer';
  const encoder = new TextEncoder();
  let opened = false;
  let ended = false;
  const end = (how: ExecEnd) => {
    if (ended) return;
    ended = true;
    handlers.onEnd(how);
    socket.close();
  };
  socket.addEventListener('open', () => {
    opened = true;
    handlers.onOpen();
  });
  socket.addEventListener('message', (event: MessageEvent<unknown>) => {
    if (!(event.data instanceof ArrayBuffer) || event.data.byteLength === 0 || ended) return;
    const bytes = new Uint8Array(event.data);
    const body = bytes.subarray(1);
    if (bytes[0] === STDOUT || bytes[0] === STDERR) handlers.onOutput(body);
    else if (bytes[0] === EXIT) end(parseEnd(body));
  });
  socket.addEventListener('close', () => end({ how: 'broken', opened }));
  // What is typed before it is open is not lost.
  const early: ReturnType<typeof message>[] = [];
  socket.addEventListener('open', () => {
    for (const part of early.splice(0)) socket.send(part);
  });
  const send = (kind: number, body: Uint8Array) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(message(kind, body));
    else if (socket.readyState === WebSocket.CONNECTING) early.push(message(kind, body));
  };
  const writeBytes = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += PART) send(STDIN, bytes.subarray(at, at + PART));
  };
  return {
    write: (text) => writeBytes(encoder.encode(text)),
    writeBytes,
    resize: (to) => send(RESIZE, encoder.encode(JSON.stringify(to))),
    close: () => {
      ended = true;
      socket.close();
    },
  };
}

/**
 * Why a session could not be opened. A browser does not tell what a refused WebSocket was answered, so the pod is asked
 * about.
 */
export async function whyRefused({ project, pod }: ExecTarget): Promise<string> {
  try {
    const found = await data(
      client.GET('/api/v1/projects/{project}/pods/{pod}', { params: { path: { project, pod } } }),
    );
    const phase = found.status.phase ?? 'pending';
    if (!canExec(phase)) return `The pod does not run at the moment: it is ${phase}. ${found.status.reason ?? ''}`;
    return 'The terminal could not be opened. You may lack the right to run commands in this pod, or the shell is not in its image.';
  } catch (error) {
    if (error instanceof ApiProblem && error.code === 'not_found')
      return 'This pod is gone. An app’s pod gets a new one in its place: choose that one.';
    return error instanceof Error ? error.message : 'The terminal could not be opened.';
  }
}

/** Pods in these phases have somewhere to run a command in. */
export function canExec(phase: string): boolean {
  return phase === 'ready' || phase === 'unready' || phase === 'starting';
}

/** The shells that one can choose from. `auto` is bash where the image has it, else sh, which nearly all have. */
export const SHELLS = [
  { value: 'auto', label: 'Shell of the image' },
  { value: 'bash', label: 'bash' },
  { value: 'sh', label: 'sh' },
  { value: 'ash', label: 'ash (Alpine, BusyBox)' },
] as const;

/** What is run for a choice; anything else is a program and its arguments, parted by spaces. */
export function shellCommand(choice: string): string[] {
  if (choice === 'auto') return ['sh', '-c', 'command -v bash >/dev/null 2>&1 && exec bash; exec sh'];
  return choice.split(/\s+/).filter((word) => word !== '');
}

/** Did the program not start because it is not there? Shells and engines say so with these. */
export function isMissing(end: ExecEnd): boolean {
  return end.how === 'exit' && (end.code === 126 || end.code === 127);
}
