import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { appName, chosenFolder, type Folder, type Gathered, gather, type Leaf } from './source_files';
import { pack, withoutTop } from './source_pack';
import { commonTop, openZip } from './source_zip';

const signal = new AbortController().signal;

interface Tree {
  [name: string]: string | Tree;
}

/** A folder that tells when it is walked into. */
function folder(name: string, tree: Tree, walked: string[] = []): Folder {
  return {
    name,
    list: () => {
      walked.push(name);
      return Promise.resolve(
        Object.entries(tree).map(([name, inside]): Folder | Leaf =>
          typeof inside === 'string'
            ? { name, file: () => Promise.resolve(new File([inside], name)) }
            : folder(name, inside, walked),
        ),
      );
    },
  };
}

const paths = ({ files }: Gathered) => files.map(({ path }) => path);
const all = { everything: false, signal };

test('what is never sent is not walked into', async () => {
  const walked: string[] = [];
  const found = await gather(
    folder('x', { Dockerfile: 'FROM a', node_modules: { a: 'a' }, '.git': { b: 'b' }, src: { c: 'c' } }, walked),
    all,
  );
  expect(paths(found)).toEqual(['Dockerfile', 'src/c']);
  expect(found.leftOut).toEqual(['.git/', 'node_modules/']);
  expect(walked).toEqual(['x', 'src']);
});

test('a .gitignore holds for its folder and below, a .dockerignore alone', async () => {
  const tree = {
    '.gitignore': '*.log\nout/',
    'a.log': '',
    out: { b: '' },
    src: { '.gitignore': 'c', c: '', d: '' },
    c: '',
  };
  const found = await gather(folder('x', tree), all);
  expect(paths(found)).toEqual(['.gitignore', 'c', 'src/.gitignore', 'src/d']);
  expect(found.by).toBe('.gitignore');
  const docker = await gather(
    folder('x', { ...tree, '.dockerignore': 'src\n!src/d\nDockerfile', Dockerfile: '' }),
    all,
  );
  expect(paths(docker)).toEqual(['.dockerignore', '.gitignore', 'Dockerfile', 'a.log', 'c', 'out/b', 'src/d']);
  const every = await gather(folder('x', tree), { ...all, everything: true });
  expect(paths(every)).toContain('a.log');
});

test('chosen files keep their folders, without the one that was chosen', async () => {
  const file = (path: string) => Object.defineProperty(new File(['x'], 'x'), 'webkitRelativePath', { value: path });
  const chosen = chosenFolder([file('app/Dockerfile'), file('app/src/a.py')]);
  expect(chosen.name).toBe('app');
  expect(paths(await gather(chosen, all))).toEqual(['Dockerfile', 'src/a.py']);
  const loose = chosenFolder([new File(['x'], 'Dockerfile'), new File(['y'], 'a.py')]);
  expect(paths(await gather(loose, all))).toEqual(['Dockerfile', 'a.py']);
});

/** Does something with a folder of its own. */
async function inFolder(work: (path: string) => Promise<void>) {
  const path = mkdtempSync(join(tmpdir(), 'coracle-pack-'));
  try {
    await work(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

async function untar(blob: Blob, into: string): Promise<void> {
  writeFileSync(join(into, 'a.tgz'), Buffer.from(await blob.arrayBuffer()));
  mkdirSync(join(into, 'out'));
  execFileSync('tar', ['-xzf', 'a.tgz', '-C', 'out'], { cwd: into });
}

test('what is packed is what tar unpacks: names, sizes, scripts', async () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}.txt`;
  const big = 'z'.repeat(3_000_000);
  const found = await gather(folder('x', { 'größe ☃.txt': 'ü', 'run.sh': '#!/bin/sh\n', empty: '', big }), all);
  found.files.push(
    ...(await gather(chosenFolder([new File(['long'], 'l')]), all)).files.map((f) => ({ ...f, path: long })),
  );
  const seen: number[] = [];
  const blob = await pack(found, { signal, onBytes: (bytes) => seen.push(bytes) });
  expect(seen.at(-1)).toBe(found.bytes + 4);
  await inFolder(async (path) => {
    await untar(blob, path);
    expect(readFileSync(join(path, 'out', 'größe ☃.txt'), 'utf8')).toBe('ü');
    expect(readFileSync(join(path, 'out', 'big'), 'utf8')).toBe(big);
    expect(readFileSync(join(path, 'out', 'empty'), 'utf8')).toBe('');
    expect(readFileSync(join(path, 'out', long), 'utf8')).toBe('long');
    const modes = execFileSync('tar', ['-tvzf', 'a.tgz'], { cwd: path, encoding: 'utf8' });
    expect(modes).toMatch(/^-rwxr-xr-x.*run\.sh$/m);
    expect(modes).toMatch(/^-rw-r--r--.*empty$/m);
  });
});

test('a pack that somebody ended ends', async () => {
  const controller = new AbortController();
  const found = await gather(folder('x', { a: 'a'.repeat(100_000), b: 'b' }), all);
  const packing = pack(found, { signal: controller.signal, onBytes: () => controller.abort() });
  await expect(packing).rejects.toThrow(/abort/i);
});

test('an archive of one folder is sent without it', async () => {
  await inFolder(async (path) => {
    mkdirSync(join(path, 'app-1.2/src'), { recursive: true });
    writeFileSync(join(path, 'app-1.2/Dockerfile'), 'FROM a');
    writeFileSync(join(path, 'app-1.2/src/a'), 'a');
    execFileSync('ln', ['-s', 'src/a', 'app-1.2/link'], { cwd: path });
    execFileSync('tar', ['-czf', 'in.tgz', 'app-1.2'], { cwd: path });
    const file = new File([readFileSync(join(path, 'in.tgz'))], 'in.tgz');
    await untar(await withoutTop(file, true, { signal }), path);
    expect(readFileSync(join(path, 'out/Dockerfile'), 'utf8')).toBe('FROM a');
    expect(readFileSync(join(path, 'out/link'), 'utf8')).toBe('a');
    const flat = new File(['no archive'], 'x.tgz');
    expect(await withoutTop(flat, true, { signal })).toBe(flat);
  });
});

test('the files of a ZIP archive are read, and what is none is refused in words', async () => {
  await inFolder(async (path) => {
    const make = `import zipfile,sys
z=zipfile.ZipFile('a.zip','w')
z.writestr('app/Dockerfile','FROM a',zipfile.ZIP_DEFLATED)
z.writestr('app/src/a','a'*100000,zipfile.ZIP_DEFLATED)
i=zipfile.ZipInfo('app/run'); i.external_attr=0o100755<<16; i.create_system=3
z.writestr(i,'x')
z.writestr('app/.git/x','x')
z.close()
z=zipfile.ZipFile('bad.zip','w'); z.writestr('../../etc/passwd','x'); z.close()`;
    execFileSync('python3', ['-c', make], { cwd: path });
    const zip = await openZip(new Blob([readFileSync(join(path, 'a.zip'))]), 'a.zip');
    expect(paths(zip)).toEqual(['Dockerfile', 'src/a', 'run']);
    await untar(await pack(zip, { signal }), path);
    expect(readFileSync(join(path, 'out/src/a'), 'utf8')).toBe('a'.repeat(100_000));
    expect(execFileSync('tar', ['-tvzf', 'a.tgz'], { cwd: path, encoding: 'utf8' })).toMatch(/^-rwxr-xr-x.*run$/m);
    const bad = openZip(new Blob([readFileSync(join(path, 'bad.zip'))]), 'bad.zip');
    await expect(bad).rejects.toThrow(/lead out/);
  });
  await expect(openZip(new Blob(['nothing']), 'x.zip')).rejects.toThrow(/no ZIP/);
});

test('names', () => {
  expect(appName('My App-1.2.zip')).toBe('my-app-1-2');
  expect(appName('Größe')).toBe('gro-e');
  expect(appName('...')).toBeUndefined();
  expect(commonTop(['a/b', 'a/c', '__MACOSX/a'])).toBe('a/');
  expect(commonTop(['a/b', 'c'])).toBe('');
});
