import { describe, expect, it } from 'vitest';
import { execPath, isMissing, parseEnd, shellCommand } from './exec';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('exec', () => {
  it('asks for a command word by word', () => {
    const path = execPath({ project: 'a/b', pod: 'x y' }, ['sh', '-c', 'echo "a b" & $HOME'], {
      columns: 80,
      rows: 24,
    });
    const url = new URL(path, 'http://localhost');
    expect(url.pathname).toBe('/api/v1/projects/a%2Fb/pods/x%20y/exec');
    expect(url.searchParams.getAll('command')).toEqual(['sh', '-c', 'echo "a b" & $HOME']);
    expect(url.searchParams.get('columns')).toBe('80');
  });

  it('reads how a session ended', () => {
    expect(parseEnd(bytes('{"code":0}'))).toEqual({ how: 'exit', code: 0 });
    const problem = { type: 't', title: 'T', status: 401, code: 'unauthenticated', detail: 'The session has ended.' };
    expect(parseEnd(bytes(JSON.stringify({ problem })))).toEqual({ how: 'problem', problem });
    for (const wrong of ['', 'null', '{}', '{"code":"0"}', '{"problem":null}', '{"problem":{"detail":1}}'])
      expect(parseEnd(bytes(wrong))).toEqual({ how: 'broken', opened: true });
  });

  it('falls back to the shell that nearly all images have', () => {
    expect(shellCommand('auto')[0]).toBe('sh');
    expect(shellCommand(' psql  -U app ')).toEqual(['psql', '-U', 'app']);
    expect(isMissing({ how: 'exit', code: 127 })).toBe(true);
    expect(isMissing({ how: 'exit', code: 1 })).toBe(false);
  });
});
