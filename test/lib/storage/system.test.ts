/** What the system does underneath: the order of its calls, and disks that are full, read-only or fail. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { openStore } from '../../../lib/storage/open-store.js';
import { makeScratch } from '../../helpers/temporary.js';
import { publishSmallBuild } from './new-build.js';

const PUBLISH = fileURLToPath(new URL('children/publish.ts', import.meta.url));
const FULL_DISK = fileURLToPath(new URL('children/full-disk.ts', import.meta.url));
const READ_ONLY = fileURLToPath(new URL('children/read-only.ts', import.meta.url));
const UNSYNCED = fileURLToPath(new URL('children/unsynced.ts', import.meta.url));

test('Store.publish makes data durable before headers, those before metadata, and that before the build appears', async () => {
  const scratch = await makeScratch();
  const trace = join(scratch, 'trace');
  const calls = 'trace=fsync,fdatasync,rename,renameat,renameat2';
  const node = [process.execPath, '--import', 'tsx', PUBLISH, join(scratch, 'store'), '10000', 'data'];
  // The child kills itself in its second publication; the first one is looked at.
  await execa('strace', ['-f', '-y', '-e', calls, '-o', trace, ...node], { reject: false });
  const events: string[] = [];
  for (const line of (await readFile(trace, 'utf8')).split('\n')) {
    const sync = /fsync\(\d+<(?<path>[^>]*)>/.exec(line)?.groups?.path;
    const names =
      /rename\w*\((?:AT_FDCWD<[^>]*>, )?"(?<from>[^"]*)", (?:AT_FDCWD<[^>]*>, )?"(?<to>[^"]*)"/.exec(
        line,
      )?.groups;
    if (sync) events.push(`sync ${nameOf(sync)}`);
    if (names?.to && names.from) events.push(`rename ${nameOf(names.from)} ${nameOf(names.to)}`);
  }
  const order = [
    'sync staging/disk',
    'rename staging/disk build/rootfs.ext4',
    'sync build',
    'sync staging/header',
    'rename staging/header build/rootfs.ext4.header',
    'sync build',
    'sync build/.metadata',
    'rename build/.metadata build/metadata.json',
    'sync build',
    'rename build templates/ID',
    'sync templates',
  ];
  const from = events.indexOf(order[0] ?? '');
  // Between those, the folders of a new store are made and synced.
  const ofBuild = events
    .slice(from)
    .filter((event) => /^rename|^sync (?:staging|build|templates)/.test(event));
  expect(ofBuild.slice(0, order.length)).toEqual(order);
});

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/** A path without what differs between runs. */
function nameOf(path: string): string {
  const [, inside] = /\/store\/(.*)$/.exec(path) ?? [];
  return (inside ?? path)
    .replace(/^\.rootloom\/tmp\/[^/]+\/build/, 'build')
    .replace(/^\.rootloom\/tmp\/[^/]+/, 'staging')
    .replace(/\.metadata\.json\.[^/]+$/, '.metadata')
    .replace(UUID, 'ID');
}

test('A full disk is NO_SPACE, leaves nothing of the build, and does not keep builds from being removed', async () => {
  const scratch = await makeScratch();
  const full = join(scratch, 'full');
  const node = [process.execPath, '--import', 'tsx', FULL_DISK, full].map((each) => `'${each}'`).join(' ');
  const script = `mkdir '${full}' && mount -t tmpfs -o size=4m tmpfs '${full}' && ${node}`;
  const env = { ROOTLOOM_TEST_ELSEWHERE: join(scratch, 'elsewhere') };
  const { stdout } = await execa('unshare', ['--map-root-user', '--mount', 'sh', '-c', script], { env });
  expect(JSON.parse(stdout)).toEqual({
    published: 'NO_SPACE',
    afterwards: ['lock'],
    written: 'NO_SPACE',
    builds: 1,
  });
});

test('A store that may only be read is read, with what killed processes left in it', async () => {
  const root = join(await makeScratch(), 'store');
  let buildId: string;
  {
    await using store = await openStore(root);
    buildId = await publishSmallBuild(store);
  }
  const left = join(root, '.rootloom', 'tmp', 'left-by-a-killed-process');
  await mkdir(left);
  const node = [process.execPath, '--import', 'tsx', READ_ONLY, root].map((each) => `'${each}'`).join(' ');
  const script = `mount --bind '${root}' '${root}' && mount -o remount,bind,ro '${root}' && ${node}`;
  const { stdout } = await execa('unshare', ['--map-root-user', '--mount', 'sh', '-c', script]);
  expect(JSON.parse(stdout)).toEqual({
    builds: [buildId],
    content: `snapfile of ${buildId}`,
    staging: 'IO',
    removed: 'IO',
  });
  await stat(left);
  await (await openStore(root)).close();
  await expect(stat(left)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('Store.publish whose last sync fails leaves no build that a reader finds', async () => {
  const root = join(await makeScratch(), 'store');
  const templates = join(root, 'templates');
  await mkdir(templates, { recursive: true });
  const buildId = randomUUID();
  const failing = ['-f', '-qq', '-o', '/dev/null', '-P', templates, '-e', 'inject=fsync:error=EIO'];
  const node = [process.execPath, '--import', 'tsx', UNSYNCED, root, buildId];
  const { stdout } = await execa('strace', [...failing, ...node]);
  expect(JSON.parse(stdout)).toEqual({
    published: { code: 'IO', path: templates },
    builds: [],
    names: [],
    left: [],
  });
});
