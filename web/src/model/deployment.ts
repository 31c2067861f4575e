/**
 * A deployment as people follow it: from source to an address that answers, step by step. Everything comes from the
 * objects that the platform tells of live; nothing is remembered here.
 */
import { count } from './format';
import type { App, Build, Pod, Release } from './schema';

export type StepState = 'done' | 'now' | 'next' | 'failed';

export interface Step {
  key: 'build' | 'prepare' | 'start' | 'live';
  title: string;
  detail: string;
  state: StepState;
}

export interface Scene {
  /** Absent where an image is deployed as it is. */
  build?: Build | null | undefined;
  /** Absent until the build made one. */
  release?: Release | null | undefined;
  app?: App | null | undefined;
  /** Of the app. */
  pods: readonly Pod[];
}

export type Outcome = 'running' | 'live' | 'failed' | 'cancelled' | 'superseded';

export function outcome({ build, release }: Scene): Outcome {
  if (release?.status.phase === 'live') return 'live';
  if (release?.status.phase === 'superseded') return 'superseded';
  if (release?.status.phase === 'failed' || build?.status.phase === 'failed') return 'failed';
  return build?.status.phase === 'cancelled' ? 'cancelled' : 'running';
}

export function steps(scene: Scene): Step[] {
  const { build, release, pods } = scene;
  const ended = outcome(scene);
  const all: Step[] = [];
  if (build != null) all.push(buildStep(build));
  const built = build == null || build.status.phase === 'succeeded';
  const phase = release?.status.phase;
  const failed = phase === 'failed';
  const prepared = release?.status.prepared != null;
  const command: unknown = release?.spec.config.release_command;
  if (command != null) {
    all.push({
      key: 'prepare',
      title: 'Prepare',
      detail: 'The release command runs once, before anything gets the traffic',
      state: prepared || ended === 'live' ? 'done' : failed ? 'failed' : phase === 'deploying' ? 'now' : 'next',
    });
  }
  const preparing = command != null && !prepared;
  const mine = pods.filter((pod) => pod.spec.release === release?.spec.number);
  const ready = mine.filter((pod) => pod.status.phase === 'ready').length;
  const waiting = mine.find((pod) => pod.status.phase !== 'ready' && pod.status.reason != null);
  const starting = release != null && built && !preparing;
  all.push({
    key: 'start',
    title: 'Start',
    detail:
      ended === 'live' || ended === 'superseded'
        ? 'All pods became ready'
        : !starting
          ? 'Its pods start beside those that run'
          : failed
            ? (release.status.reason ?? 'Its pods did not become ready')
            : mine.length === 0
              ? (release.status.reason ?? 'Its pods are on their way')
              : [`${ready} of ${count(mine.length, 'pod')} ready`, waiting?.status.reason].filter(Boolean).join(': '),
    state:
      ended === 'live' || ended === 'superseded'
        ? 'done'
        : !starting
          ? 'next'
          : failed && !preparing
            ? 'failed'
            : 'now',
  });
  all.push({
    key: 'live',
    title: 'Live',
    detail: ended === 'live' ? 'It has the traffic' : 'The traffic moves once everything is ready',
    state: ended === 'live' ? 'done' : 'next',
  });
  return all;
}

function buildStep({ status }: Build): Step {
  const base = { key: 'build', title: 'Build' } as const;
  switch (status.phase) {
    case 'queued':
      return { ...base, detail: status.reason ?? 'It waits for its turn', state: 'now' };
    case 'running':
      return { ...base, detail: 'The source becomes an image', state: 'now' };
    case 'succeeded':
      return { ...base, detail: 'The image is in the registry', state: 'done' };
    case 'cancelled':
      return { ...base, detail: status.reason ?? 'It was cancelled', state: 'failed' };
    default:
      return { ...base, detail: status.reason ?? 'It failed', state: 'failed' };
  }
}

/** What often helps, by what was said. The first that fits. */
const ADVICE: readonly [RegExp, string][] = [
  [
    /no such file or directory|not found: not found|failed to compute cache key|COPY failed|lstat/i,
    'A file that the Dockerfile names is not in the source. Look whether .dockerignore or .gitignore leaves it out, and whether its path is relative to the folder that you dropped.',
  ],
  [
    /pull access denied|manifest unknown|repository does not exist|name unknown|no such image|failed to resolve|failed to fetch/i,
    'An image could not be fetched. Look at its name and tag. A private registry needs its credentials in Settings.',
  ],
  [
    /\b(temporary failure|could not resolve|network is unreachable|connection timed out|TLS handshake)\b/i,
    'The build could not reach the network. Try again; where it stays so, ask who looks after this platform about its way out.',
  ],
  [
    /executable file not found|command not found|exit(ed with)? (status|code):? 127\b/i,
    'The command that starts it was not found in the image. Look at its spelling, and that the image has the program.',
  ],
  [
    /permission denied|\bEACCES\b|exit(ed with)? (status|code):? 126\b/i,
    'Something may not be read, written or run. Scripts need to be executable (or run them by `sh script.sh`), and ports below 1024 are for root alone.',
  ],
  [
    /\b(out of memory|OOM(-?killed|-?killer)?|exit(ed with)? (status|code):? 137)\b/i,
    'It ran out of memory. Give the process more, or let it need less.',
  ],
  [
    /\b(address already in use|EADDRINUSE)\b/i,
    'Two parts of it want the same port. Each pod has all ports for itself, so look within the app.',
  ],
  [
    /\b(not (become )?ready|did not (accept|answer)|connection refused|ports?|health( ?checks?|y)?|unhealthy|probes?)\b/i,
    'It started, but did not answer in time. It must listen on the port in the variable PORT, on all addresses (0.0.0.0, not 127.0.0.1), and a health path must answer 200.',
  ],
  [
    /\b(syntax|SyntaxError|unknown instruction|parse error)\b/i,
    'The Dockerfile or coracle.toml has a mistake in the line that is named.',
  ],
  [
    /\b(no space left|ENOSPC|disks?)\b/i,
    'A disk is full. Delete images and volumes that nobody needs: Images shows what can be reclaimed.',
  ],
];

/** What to try next; the last lines of a log tell more than a reason does. */
export function advice(reason: string | null | undefined, lines: readonly string[]): string {
  const text = [...lines.slice(-30), reason ?? ''].join('\n');
  return (
    ADVICE.find(([pattern]) => pattern.test(text))?.[1] ??
    'The last lines of the log usually name the cause. Mend it in the source, and drop it here again.'
  );
}
