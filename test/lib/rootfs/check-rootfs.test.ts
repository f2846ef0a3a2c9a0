import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Ext4Tree } from '../../../lib/native/ext4-tree.js';
import { checkRootfs } from '../../../lib/rootfs/check-rootfs.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { buildBase } from '../../helpers/base-build.js';
import { makeJournalFile } from '../../helpers/journal-file.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { stateOf } from '../../helpers/store-state.js';

const JOURNALS = '/var/log/journal/0123456789abcdef0123456789abcdef';

let folder: string;
let store: Store;
let buildId: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rootloom-check-'));
  store = await openStore(path.join(folder, 'store'));
  const { reference } = await makeSmallImage(folder);
  ({ id: buildId } = (await buildBase({ store, reference, disk: { size: 64 * 2 ** 20 } })).build);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The disk with changes to its files, on an overlay. */
async function openChanged(change: (tree: Ext4Tree) => Promise<void>) {
  const rootfs = await openRootfs(store, buildId, { writable: true });
  await using tree = await rootfs.openTree();
  await change(tree);
  return rootfs;
}

async function writeJournal(tree: Ext4Tree, name: string, damaged: boolean): Promise<void> {
  await tree.mkdir(JOURNALS, { recursive: true });
  await tree.writeFile(`${JOURNALS}/${name}`, makeJournalFile({ damaged }));
}

describe('checkRootfs', () => {
  it('passes a sealed disk, which has no journals', async () => {
    await using rootfs = await openRootfs(store, buildId);
    expect(await checkRootfs(rootfs)).toEqual({ journals: [] });
  });

  it('names the journals that it found sound, and leaves no copies', async () => {
    await using rootfs = await openChanged(async (tree) => {
      await writeJournal(tree, 'system.journal', false);
      await writeJournal(tree, 'user-1000.journal', false);
      await writeJournal(tree, 'system@0005.journal~', true); // Put aside by journald as broken.
    });
    const journals = [`${JOURNALS}/system.journal`, `${JOURNALS}/user-1000.journal`];
    expect(await checkRootfs(rootfs)).toEqual({ journals });
    expect((await stateOf(store)).temporary).toHaveLength(1); // Where the overlay is.
  });

  it('rejects with CORRUPT and what journalctl says for a damaged journal', async () => {
    await using rootfs = await openChanged((tree) => writeJournal(tree, 'system.journal', true));
    await expect(checkRootfs(rootfs)).rejects.toMatchObject({
      code: 'CORRUPT',
      context: {
        path: `${JOURNALS}/system.journal`,
        buildId,
        logTail: expect.arrayContaining([expect.stringMatching(/Object number mismatch/)]),
      },
    });
  });

  it('rejects with CORRUPT and what e2fsck says for a damaged filesystem', async () => {
    await using rootfs = await openRootfs(store, buildId, { writable: true });
    await rootfs.device.zero(4096 * 2, 4096 * 200);
    await expect(checkRootfs(rootfs)).rejects.toMatchObject({ code: 'CORRUPT', context: { buildId } });
  });

  it('rejects with TOOL_MISSING when there are journals and no journalctl', async () => {
    await using rootfs = await openChanged((tree) => writeJournal(tree, 'system.journal', false));
    const search = process.env.PATH;
    process.env.PATH = folder;
    try {
      const looking = checkRootfs(rootfs);
      await expect(looking).rejects.toMatchObject({ code: 'TOOL_MISSING', context: { path: 'journalctl' } });
    } finally {
      process.env.PATH = search;
    }
  });

  it('rejects with the reason of an abort', async () => {
    await using rootfs = await openRootfs(store, buildId);
    const reason = new Error('enough');
    await expect(checkRootfs(rootfs, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
