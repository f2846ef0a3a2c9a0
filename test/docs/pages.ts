/** The pages of the project and their code blocks. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { PROJECT } from '../helpers/compiled-library.js';

export interface Block {
  /** From the project's folder. */
  page: string;
  /** Of its first line of code, from 1. */
  line: number;
  language: string;
  /** What stands after the language. */
  mark: string;
  code: string;
}

export async function listPages(): Promise<string[]> {
  const folders = ['docs', 'docs/cli'];
  const pages = await Promise.all(
    folders.map(async (folder) => {
      const names = await readdir(path.join(PROJECT, folder));
      return names.filter((name) => name.endsWith('.md')).map((name) => `${folder}/${name}`);
    }),
  );
  return ['README.md', 'CONTRIBUTING.md', ...pages.flat().sort()];
}

export function readPage(page: string): Promise<string> {
  return readFile(path.join(PROJECT, page), 'utf8');
}

/** The fenced blocks of a page, in order. */
export async function readBlocks(page: string): Promise<Block[]> {
  const text = await readPage(page);
  return [...text.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map(({ index, 1: info = '', 2: code = '' }) => {
    const [language = '', mark = ''] = info.trim().split(/\s+(.*)/, 2);
    return { page, line: text.slice(0, index).split('\n').length + 1, language, mark, code };
  });
}
