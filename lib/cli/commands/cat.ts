/** `rootloom cat ID:PATH`: a file's content on standard output. */
import type { Command } from 'commander';
import type { Ext4Tree } from '../../index.js';
import { type ImagePath, parseImagePath } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withTree } from '../context.js';
import { toJson, writeOutput } from '../output.js';

/** Divisible by three, so that the base64 of the pieces is that of the whole. */
const PIECE_BYTES = 3 * 1024 * 1024;

async function* readPieces(tree: Ext4Tree, path: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let offset = 0; ; offset += PIECE_BYTES) {
    const piece = await tree.readFile(path, { offset, length: PIECE_BYTES, signal });
    if (piece.length > 0) yield piece;
    if (piece.length < PIECE_BYTES) return;
  }
}

/** The content as base64 in one JSON object, which is never held whole. */
async function writeAsJson(tree: Ext4Tree, path: string, signal: AbortSignal): Promise<void> {
  const { size } = await tree.stat(path, { signal });
  const head = toJson({ path, size, content: '' });
  const [opening, closing] = [head.slice(0, -2), head.slice(-2)];
  let separator = opening;
  for await (const piece of readPieces(tree, path, signal)) {
    await writeOutput(separator + piece.toString('base64'));
    separator = '';
  }
  await writeOutput(`${separator}${closing}\n`);
}

export function addCatCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('cat')
      .description('print a file of a disk; with --json, its content is base64')
      .argument('<id:path>', 'a build and a path in it', parseImagePath),
  ).action(async ({ id, path }: ImagePath, options: GlobalOptions) => {
    const { signal } = context;
    await withTree(options, context, id, async (tree) => {
      if (options.json === true) await writeAsJson(tree, path, signal);
      else for await (const piece of readPieces(tree, path, signal)) await writeOutput(piece);
    });
  });
}
