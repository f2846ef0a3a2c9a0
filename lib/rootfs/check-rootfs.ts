/** Looks whether a disk is sound before somebody relies on it: its filesystem, and the journals of its systemd. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { isRootloomError, RootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import type { Ext4Tree } from '../native/ext4-tree.js';
import type { TreePath } from '../native/ext4-tree-types.js';
import { runTool } from '../util/tool.js';
import type { Rootfs } from './rootfs.js';

export interface RootfsCheckReport {
  /** The journal files that journalctl found sound, as paths of the image. */
  journals: string[];
}

/** Where journald keeps its files: for good, and until the next boot. */
const JOURNAL_FOLDERS = ['/var/log/journal', '/run/log/journal'];

/** How many of the messages an error carries. */
const MESSAGES_KEPT = 30;

interface JournalFile {
  path: string;
  /** The name itself, which need not be UTF-8. */
  name: TreePath;
}

/** The files in use. Those that journald has put aside as broken, whose names end in "~", are no news. */
async function listJournals(tree: Ext4Tree, options: CallOptions): Promise<JournalFile[]> {
  const found: JournalFile[] = [];
  for (const folder of JOURNAL_FOLDERS) {
    try {
      for await (const file of tree.walk(folder, options)) {
        if (file.type !== 'file' || !file.path.endsWith('.journal')) continue;
        found.push({ path: file.path, name: file.pathBytes ?? file.path });
      }
    } catch (error) {
      if (!isRootloomError(error, 'NOT_FOUND')) throw error;
    }
  }
  return found;
}

/** journalctl's verdict on a copy: by its exit code, which is another error when it had none to give. */
async function checkJournal(
  copy: string,
  { path: original }: JournalFile,
  buildId: string,
  signal?: AbortSignal,
) {
  const operation = `check ${original} of ${buildId}`;
  try {
    await runTool('journalctl', ['--verify', '--quiet', '--file', copy], operation, { signal });
  } catch (error) {
    if (!isRootloomError(error, 'IO') || error.context.exitCode === undefined) throw error;
    const message = `Cannot use the disk of ${buildId}: journalctl finds ${original} damaged, a sound one was wanted`;
    const { logTail = [] } = error.context;
    throw new RootloomError('CORRUPT', message, { buildId, path: original, logTail }, { cause: error });
  }
}

async function checkJournals(rootfs: Rootfs, { signal, onProgress }: CallOptions): Promise<string[]> {
  await using tree = await rootfs.openTree({ signal });
  const journals = await listJournals(tree, { signal });
  if (journals.length === 0) return [];
  await using folder = await rootfs.build.store.createStaging({ signal });
  const copy = path.join(folder.path, 'copy.journal');
  for (const journal of journals) {
    onProgress?.({ step: `check ${journal.path}`, done: 0, total: 0 });
    await tree.copyOut(journal.name, copy, { signal });
    await checkJournal(copy, journal, rootfs.build.id, signal);
    await rm(copy);
  }
  return journals.map((journal) => journal.path);
}

async function checkFilesystem(rootfs: Rootfs, options: CallOptions): Promise<void> {
  const { clean, problems, problemCount } = await rootfs.fsck({}, options);
  if (clean) return;
  const { id } = rootfs.build;
  const message = `Cannot use the disk of ${id}: its filesystem has ${problemCount} problems, none are allowed`;
  const logTail = problems.slice(0, MESSAGES_KEPT).map((problem) => problem.message);
  throw new RootloomError('CORRUPT', message, { buildId: id, logTail });
}

/**
 * Runs e2fsck over the disk, and journalctl over copies of the journald files in it. Changes nothing.
 *
 * Rejects with CORRUPT at the first bad verdict, with what was said in `logTail`; TOOL_MISSING when there are journald files and
 * no journalctl; NO_SPACE for the copies, one at a time; IO; or the signal's reason.
 */
export async function checkRootfs(rootfs: Rootfs, options: CallOptions = {}): Promise<RootfsCheckReport> {
  await checkFilesystem(rootfs, options);
  const journals = await checkJournals(rootfs, options);
  options.logger?.debug({ buildId: rootfs.build.id, journals }, 'the disk is sound');
  return { journals };
}
