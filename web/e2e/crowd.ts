/**
 * A platform that looks larger than it is, for measurements: the real one, behind a server that answers for its event
 * stream and for one app's log as a platform with thousands of pods would.
 */
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Lines are written in pieces of so many. */
const PIECE = 500;

export interface Crowd {
  url: string;
  /** Writes an event to every stream that is open. */
  tell: (name: string, data: unknown) => void;
  /** Changes a pod, as its restart would. */
  stir: (index: number) => void;
  close: () => Promise<void>;
}

const PHASES = ['ready', 'ready', 'ready', 'starting', 'unready'];

function pod(index: number, phase = PHASES[index % PHASES.length]) {
  const app = `app-${String(index % 40).padStart(2, '0')}`;
  return {
    kind: 'Pod',
    metadata: {
      name: `${app}-web-v1-${index.toString(36).padStart(6, '0')}`,
      project: 'default',
      uid: `u${index}`,
      revision: 0,
      created: '2026-01-01T00:00:00Z',
    },
    spec: {
      image: `registry.example/default/${app}@sha256:${'0'.repeat(64)}`,
      port: 8080,
      restart: 'always',
      app,
      process: 'web',
      release: 1,
    },
    status: {
      phase,
      address: `10.210.${index >> 8}.${index & 255}`,
      node: `node-${index % 7}`,
      restarts: index % 3,
      started: '2026-01-01T00:00:00Z',
    },
  };
}

function line(index: number): string {
  const at = new Date(Date.UTC(2026, 0, 1) + index).toISOString();
  const text = `\u001b[3${index % 7}m${at}\u001b[0m GET /things/${index} 200 in ${index % 97} ms <b>not bold</b>`;
  return `${JSON.stringify({ pod: `app-00-web-v1-${index % 4}`, process: 'web', at, channel: 'stdout', text })}\n`;
}

/** `pods` pods and `lines` lines of log in front of the platform at `platform`. */
export async function crowd(platform: string, pods: number, lines: number): Promise<Crowd> {
  const streams = new Set<ServerResponse>();
  const write = (to: ServerResponse, name: string, data: unknown) =>
    to.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  const server = createServer((asked, answer) => {
    const url = new URL(asked.url ?? '/', platform);
    if (url.pathname === '/api/v1/events') {
      answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      for (let index = 0; index < pods; index += 1) write(answer, 'applied', pod(index));
      // Projects and apps are the platform's own: a page of an app that nobody told of shows nothing.
      void Promise.all(
        ['/api/v1/projects', '/api/v1/projects/default/apps'].map(async (path) => {
          const given = await fetch(new URL(path, platform), { headers: { cookie: asked.headers.cookie ?? '' } });
          const { items } = (await given.json()) as { items: unknown[] };
          for (const item of items) write(answer, 'applied', item);
        }),
      ).then(
        () => {
          write(answer, 'synced', {});
          streams.add(answer);
        },
        () => answer.destroy(),
      );
      answer.on('close', () => streams.delete(answer));
      return;
    }
    if (url.pathname.startsWith('/api/') && url.pathname.endsWith('/logs')) {
      answer.writeHead(200, { 'content-type': 'application/x-ndjson' });
      let next = 0;
      const more = () => {
        while (next < lines) {
          const end = Math.min(next + PIECE, lines);
          let piece = '';
          for (; next < end; next += 1) piece += line(next);
          if (!answer.write(piece)) {
            answer.once('drain', more);
            return;
          }
        }
      };
      more();
      return;
    }
    const { host: _, ...headers } = asked.headers;
    const passed = request(url, { method: asked.method ?? 'GET', headers: { ...headers, host: url.host } }, (given) => {
      answer.writeHead(given.statusCode ?? 502, given.headers);
      given.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  const tell = (name: string, data: unknown) => {
    for (const stream of streams) write(stream, name, data);
  };
  return {
    url: `http://127.0.0.1:${port}`,
    tell,
    stir: (index) => tell('applied', pod(index % pods, PHASES[(index * 7) % PHASES.length])),
    close: () =>
      new Promise((closed) => {
        server.closeAllConnections();
        server.close(() => closed());
      }),
  };
}
