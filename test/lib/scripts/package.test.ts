/** The npm package as users get it: made whole, unpacked elsewhere, with no build folder and no compiler in reach. */
import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const PROJECT = path.resolve(import.meta.dirname, '../../..');
const PREBUILDS = `prebuilds/${process.platform}-${process.arch}`;
const ADDON = `${PREBUILDS}/rootloom.glibc.node`;
const KEEPER = `${PREBUILDS}/rootloom-keeper`;
const ENGINE = `${PREBUILDS}/rootloom-ext4`;
const GUARD = `${PREBUILDS}/rootloom-guard`;

interface Manifest {
  version: string;
  files: string[];
  dependencies: Record<string, string>;
}

let scratch: string;
let manifest: Manifest;
/** The program that installed the package, and the package in it. */
let app: string;
let installed: string;
let packed: Map<string, { mode: number }>;

/** Compiles and prebuilds into a folder of its own, so that the project's own files stay what other tests use. */
async function pack(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await execa('scripts/build-library', [path.join(folder, 'dist')], { cwd: PROJECT });
  await execa('scripts/prebuild', [folder], { cwd: PROJECT });
  const others = manifest.files.filter((name) => !['dist', 'prebuilds'].includes(name));
  for (const name of ['package.json', ...others]) {
    await cp(path.join(PROJECT, name), path.join(folder, name), { recursive: true });
  }
  const { stdout } = await execa('npm', ['pack', '--ignore-scripts', '--json'], { cwd: folder });
  const [{ filename, files }] = JSON.parse(stdout) as [
    { filename: string; files: { path: string; mode: number }[] },
  ];
  packed = new Map(files.map((file) => [file.path, file]));
  return path.join(folder, filename);
}

async function install(archive: string): Promise<void> {
  app = path.join(scratch, 'app');
  installed = path.join(app, 'node_modules/rootloom');
  await mkdir(installed, { recursive: true });
  await execa('tar', ['-xf', archive, '-C', installed, '--strip-components=1']);
  for (const name of Object.keys(manifest.dependencies)) {
    const link = path.join(app, 'node_modules', name);
    await mkdir(path.dirname(link), { recursive: true });
    await symlink(path.join(PROJECT, 'node_modules', name), link);
  }
}

async function runProgram(source: string) {
  await writeFile(path.join(app, 'program.mjs'), source);
  return execa(process.execPath, ['program.mjs'], { cwd: app });
}

beforeAll(async () => {
  manifest = JSON.parse(await readFile(path.join(PROJECT, 'package.json'), 'utf8')) as Manifest;
  scratch = await mkdtemp(path.join(tmpdir(), 'rootloom-package-'));
  await install(await pack(path.join(scratch, 'package')));
}, 600_000);

afterAll(() => rm(scratch, { recursive: true, force: true }));

describe('the package', () => {
  it('holds the library with its types and assets, the prebuilt addon, its helpers, documents, and nothing else', () => {
    const names = [...packed.keys()];
    const wanted = [
      'package.json',
      'LICENSE',
      'README.md',
      'dist/index.js',
      'dist/index.d.ts',
      ADDON,
      KEEPER,
      ENGINE,
      GUARD,
    ];
    expect(names).toEqual(expect.arrayContaining(wanted));
    expect(names.some((name) => /^dist\/.*\/assets\//.test(name))).toBe(true);
    const tops = new Set(names.map((name) => name.split('/')[0]));
    expect([...tops].sort()).toEqual(['package.json', ...manifest.files].sort());
  });

  it('can be run: the command and the helpers are executable', async () => {
    for (const name of ['dist/cli/main.js', KEEPER, ENGINE, GUARD])
      expect((packed.get(name)?.mode ?? 0) & 0o111, name).toBe(0o111);
    expect((await stat(path.join(installed, KEEPER))).mode & 0o111).toBe(0o111);
  });

  it('is imported, and keeps data on a device', async () => {
    const { stdout } = await runProgram(`
      import { createMemoryDevice } from 'rootloom';
      const device = await createMemoryDevice({ size: 1 << 20 });
      await device.write(4096, Buffer.from('kept'));
      console.log((await device.read(4094, 8)).toString('hex'));
      await device.close();
    `);
    expect(stdout).toBe('00006b6570740000');
  });

  it('makes and checks a filesystem in a worker thread', async () => {
    const { stdout } = await runProgram(`
      import { isMainThread, Worker } from 'node:worker_threads';
      import { createMemoryDevice, ext4 } from 'rootloom';
      if (isMainThread) {
        new Worker(new URL(import.meta.url));
      } else {
        const device = await createMemoryDevice({ size: 64 << 20 });
        const id = '00000000-0000-4000-8000-000000000001';
        await ext4.mkfs(device, { uuid: id, hashSeed: id });
        console.log((await ext4.fsck(device)).clean);
        await device.close();
      }
    `);
    expect(stdout).toBe('true');
  });

  it('answers on the command line', async () => {
    const { stdout } = await execa(
      process.execPath,
      [path.join(installed, 'dist/cli/main.js'), '--version'],
      {
        cwd: app,
      },
    );
    expect(stdout).toBe(manifest.version);
  });

  it('finds its keeper', async () => {
    // The compiled module itself: where the keeper is sought is no part of the public API.
    const { stdout } = await runProgram(`
      import { measureTscKhz } from './node_modules/rootloom/dist/vm/keeper.js';
      console.log(await measureTscKhz());
    `);
    expect(Number(stdout)).toBeGreaterThan(0);
  });
});

describe('the addon', () => {
  async function symbols(...options: string[]): Promise<string[]> {
    const { stdout } = await execa('nm', ['-D', ...options, path.join(installed, ADDON)]);
    return stdout.split('\n').map((line) => line.replace(/^.* /, '').replace(/@.*/, ''));
  }

  it('shows the entry points of Node-API only', async () => {
    expect((await symbols('--defined-only')).sort()).toEqual([
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
    ]);
  });

  it.each([ADDON, KEEPER, ENGINE, GUARD])('needs nothing but the C library: %s', async (file) => {
    const { stdout } = await execa('readelf', ['-d', path.join(installed, file)]);
    const needed = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name);
    expect(needed.filter((name) => !/^(libc\.so\.6|ld-linux.*)$/.test(name ?? ''))).toEqual([]);
  });

  it('starts nothing but its own helpers: it is linked with no shell, no search for programs and no fork', async () => {
    const starters = /^_*(exec\w*|fexecve|v?fork|posix_spawnp?|system|popen|clone3?)$/;
    expect((await symbols('--undefined-only')).filter((name) => starters.test(name))).toEqual([
      'posix_spawn',
    ]);
  });
});
