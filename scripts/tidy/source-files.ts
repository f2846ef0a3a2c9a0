/** The tracked and new text files of the project, and what the rules know about them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

export interface SourceFile {
  /** Path from the project's root, with forward slashes. */
  name: string;
  text: string;
}

export interface Finding {
  /** The file's name, with the line where there is one. */
  file: string;
  problem: string;
}

/** A rule looks at all files at once, so that it can ask what one says about another. */
export type Rule = (files: readonly SourceFile[]) => Finding[];

export function readSourceFiles(): SourceFile[] {
  const names = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    encoding: 'utf8',
  });
  return names
    .split('\0')
    .filter((name) => name !== '' && existsSync(name))
    .map((name) => ({ name, text: readFileSync(name, 'utf8') }))
    .filter(({ text }) => !text.includes('\0'));
}

export function isScript({ name }: SourceFile): boolean {
  return /\.(ts|mjs)$/.test(name);
}

/** What a TypeScript file imports in any way, as written: packages, and paths relative to it. */
export function importsOf({ text }: SourceFile): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
}

/** The name of the file that a relative import means. */
export function resolveImport(from: SourceFile, target: string): string {
  return path.posix.join(path.posix.dirname(from.name), target).replace(/\.js$/, '.ts');
}

/** The files that a CMakeLists.txt lists for a command such as `rootloom_test`, or for any command. */
export function filesInCMake(list: SourceFile, command = '\\w+'): string[] {
  const calls = list.text.matchAll(new RegExp(`(?:^|\\n)\\s*${command}\\s*\\(([^()]*)\\)`, 'g'));
  return [...calls].flatMap(([, words = '']) => words.split(/\s+/)).filter((word) => word !== '');
}
