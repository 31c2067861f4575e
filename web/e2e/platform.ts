/**
 * A platform of its own for tests: the real program on the real Docker Engine, with free ports and a data directory that is
 * gone afterwards, as is everything that it made in Docker.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const ADMIN = { user: 'admin', password: 'correct horse battery staple' };
const ROOT = resolve(import.meta.dirname, '../..');
const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');
/** The program under test. */
const PROGRAM = process.env.CORACLE_PROGRAM ?? join(TARGET, 'debug/coracle');
/** Output of one command, in bytes. */
const OUTPUT = 16 * 1024 * 1024;

/** A port that nobody listens on, from below the kernel's ephemeral range, so that no connection takes it meanwhile. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((told) => {
      const server = createServer();
      server.once('error', () => told(false));
      server.listen(port, '0.0.0.0', () => server.close(() => told(true)));
    });
    if (free) return port;
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

export class Platform {
  readonly url: string;
  readonly #home: string;
  readonly #listen: string;
  readonly #http: string;

  private constructor(home: string, listen: string, http: string) {
    this.#home = home;
    this.#listen = listen;
    this.#http = http;
    this.url = `http://${listen}`;
  }

  static async start(): Promise<Platform> {
    const home = mkdtempSync(join(tmpdir(), 'coracle-web.'));
    const platform = new Platform(home, `127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`);
    await platform.up();
    return platform;
  }

  /** Starts it (again). */
  async up(): Promise<void> {
    const place = ['--data-dir', this.#data, '--listen', this.#listen, '--http', this.#http, '--domain', 'localhost'];
    await this.coracle('up', ...place);
  }

  /** Runs the command line as its administrator; gives what it printed. */
  async coracle(...words: string[]): Promise<string> {
    const { stdout } = await run(PROGRAM, words, { env: this.#env, cwd: this.#home, maxBuffer: OUTPUT });
    return stdout.trim();
  }

  /** The same with standard input. */
  coracleWith(input: string, ...words: string[]): string {
    return execFileSync(PROGRAM, words, { env: this.#env, cwd: this.#home, input, encoding: 'utf8' }).trim();
  }

  /** Where an app of project `default` answers. */
  app(name: string): string {
    return `http://${name}.localhost:${this.#http.split(':')[1]}/`;
  }

  /** The registry, as `docker` wants it. */
  get registry(): string {
    return this.#listen;
  }

  /** Stops it; what it made stays. */
  async down(): Promise<void> {
    await this.coracle('down', '--data-dir', this.#data);
  }

  /** Stops it and takes away everything that it made, by its label. */
  async remove(): Promise<void> {
    const id = readFileSync(join(this.#data, 'platform.id'), 'utf8').trim();
    await this.down();
    const mine = `label=io.coracle.platform=${id}`;
    const docker = async (...words: string[]) => lines((await run('docker', words, { maxBuffer: OUTPUT })).stdout);
    const containers = await docker('ps', '-aq', '--filter', mine);
    if (containers.length > 0) await docker('rm', '-f', '-v', ...containers);
    const networks = await docker('network', 'ls', '-q', '--filter', mine);
    if (networks.length > 0) await docker('network', 'rm', ...networks);
    const volumes = await docker('volume', 'ls', '-q', '--filter', mine);
    if (volumes.length > 0) await docker('volume', 'rm', ...volumes);
    const images = await docker(
      'images',
      '--format',
      '{{.Repository}}:{{.Tag}}',
      '--filter',
      `reference=${this.#listen}/*/*`,
    );
    const tagged = images.filter((image) => !image.endsWith(':<none>'));
    if (tagged.length > 0) await docker('rmi', ...tagged);
    rmSync(this.#home, { recursive: true, force: true });
  }

  get #data(): string {
    return join(this.#home, 'data');
  }

  get #env(): NodeJS.ProcessEnv {
    // What points at another installation must not reach this one.
    const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('CORACLE_'));
    return {
      ...Object.fromEntries(clean),
      CORACLE_CONFIG: join(this.#home, 'cli.toml'),
      CORACLE_ADMIN_PASSWORD: ADMIN.password,
      NO_COLOR: '1',
    };
  }
}
