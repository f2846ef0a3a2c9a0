import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { createMemoryDevice } from '../../../lib/native/device.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openTree } from '../../../lib/native/ext4-tree.js';
import { provisioningFiles } from '../../../lib/rootfs/provisioning/files.js';
import { encodeProvisioningLayer } from '../../../lib/rootfs/provisioning/layer.js';
import { writeProvisioningFiles } from '../../../lib/rootfs/provisioning/tree.js';

async function openEmptyTree() {
  const device = createMemoryDevice({ size: 64 * 1024 * 1024 });
  await ext4.mkfs(device, { uuid: randomUUID(), hashSeed: randomUUID() });
  return { device, tree: await openTree(device, { writable: true }) };
}

type Tree = Awaited<ReturnType<typeof openTree>>;

async function contentOf(tree: Tree): Promise<unknown[]> {
  const files: unknown[] = [];
  for await (const { path: name, type, mode, uid, gid, size, mtimeNs, target } of tree.walk('/')) {
    if (type === 'directory') files.push({ name, type, mode, uid, gid });
    else files.push({ name, type, mode, uid, gid, size, mtimeNs, target });
  }
  return files;
}

describe('writeProvisioningFiles', () => {
  test('puts what the last layer would into the tree', async () => {
    const files = await provisioningFiles({ files: [{ path: 'opt/link', linkTarget: '/etc/hosts' }] });
    const written = await openEmptyTree();
    const applied = await openEmptyTree();
    await using writtenTree = written.tree;
    await using appliedTree = applied.tree;
    const folder = await mkdtemp(path.join(tmpdir(), 'rootloom-layer-'));
    try {
      await writeFile(path.join(folder, 'layer.tar'), await encodeProvisioningLayer(files));
      await appliedTree.applyLayer(path.join(folder, 'layer.tar'));
    } finally {
      await rm(folder, { recursive: true });
    }
    await writeProvisioningFiles(writtenTree, files);
    expect(await contentOf(writtenTree)).toEqual(await contentOf(appliedTree));
    for (const file of files) {
      if (file.content === undefined) continue;
      expect((await writtenTree.readFile(file.path)).equals(file.content), file.path).toBe(true);
    }
  });

  test('replaces links and files, never writes through a link, and follows linked folders', async () => {
    const { tree: opened } = await openEmptyTree();
    await using tree = opened;
    await tree.mkdir('run/stub', { recursive: true });
    await tree.writeFile('run/stub/resolv.conf', 'untouched');
    await tree.mkdir('etc');
    await tree.symlink('/run/stub/resolv.conf', 'etc/resolv.conf');
    await tree.writeFile('etc/hosts', 'old', { mode: 0o600, uid: 5 });
    await tree.mkdir('elsewhere');
    await tree.symlink('elsewhere', 'usr');
    const files = await provisioningFiles();
    await writeProvisioningFiles(tree, files);
    await writeProvisioningFiles(tree, files);
    expect((await tree.lstat('etc/resolv.conf')).type).toBe('file');
    expect((await tree.readFile('run/stub/resolv.conf')).toString()).toBe('untouched');
    expect(await tree.lstat('etc/hosts')).toMatchObject({ mode: 0o644, uid: 0 });
    expect((await tree.stat('elsewhere/local/share/rootloom/provisioning/init')).mode).toBe(0o755);
  });

  test('rejects at what cannot be replaced, naming it', async () => {
    const { tree: opened } = await openEmptyTree();
    await using tree = opened;
    await tree.mkdir('etc/hosts/full', { recursive: true });
    const failure = writeProvisioningFiles(tree, await provisioningFiles());
    await expect(failure).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', context: { path: 'etc/hosts' } });
  });

  test('rejects at a file in the place of a folder', async () => {
    const { tree: opened } = await openEmptyTree();
    await using tree = opened;
    await tree.writeFile('usr', 'no folder');
    const failure = writeProvisioningFiles(tree, await provisioningFiles());
    await expect(failure).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('rejects with the reason of its signal', async () => {
    const { tree: opened } = await openEmptyTree();
    await using tree = opened;
    const reason = new Error('enough');
    const failure = writeProvisioningFiles(tree, await provisioningFiles(), {
      signal: AbortSignal.abort(reason),
    });
    await expect(failure).rejects.toBe(reason);
  });
});
