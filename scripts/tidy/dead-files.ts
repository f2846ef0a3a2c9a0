/** Source files that nothing builds, imports or runs. */
import path from 'node:path';
import { type Finding, filesInCMake, isScript, resolveImport, type SourceFile } from './source-files.js';

/**
 * Files that tools find by themselves: the public API, the configuration of vitest, and what vitest runs; and the suites, for
 * benchmarks/main.ts runs whatever is in their folder.
 */
const ENTRIES =
  /^(lib\/index\.ts|lib\/cli\/main\.ts|(?:test\/kernel\/)?vitest\.config\.ts|test\/.*\.test\.ts|benchmarks\/suites\/.*\.ts)$/;

/** A file's path between quotes: an import, a child process that a test starts, a worker. */
const QUOTED_PATH = /['"`]([^'"`\s]+\.(?:js|ts|mjs))['"`]/g;

function filesNamedInScripts(files: readonly SourceFile[]): Set<string> {
  const names = new Set<string>();
  for (const file of files.filter(isScript)) {
    for (const [, target = ''] of file.text.matchAll(QUOTED_PATH)) {
      for (const name of [resolveImport(file, target), target]) {
        if (name !== file.name) names.add(name);
      }
    }
  }
  return names;
}

function isListedInCMake(file: SourceFile, lists: ReadonlyMap<string, SourceFile>): boolean {
  for (let folder = path.posix.dirname(file.name); ; folder = path.posix.dirname(folder)) {
    const list = lists.get(path.posix.join(folder, 'CMakeLists.txt'));
    if (list !== undefined) return filesInCMake(list).includes(path.posix.relative(folder, file.name));
    if (folder === '.') return false;
  }
}

export function checkDeadFiles(files: readonly SourceFile[]): Finding[] {
  const lists = new Map(files.map((file) => [file.name, file]));
  const named = filesNamedInScripts(files);
  const isNamedElsewhere = (file: SourceFile, name: string) =>
    files.some((other) => other !== file && other.text.includes(name));

  function problemOf(file: SourceFile): string | undefined {
    if (/\.(cc|c)$/.test(file.name)) {
      return isListedInCMake(file, lists) ? undefined : 'is in no CMakeLists.txt, so nothing builds it';
    }
    if (file.name.endsWith('.h')) {
      return isNamedElsewhere(file, `"${file.name}"`) ? undefined : 'no file includes it';
    }
    // What a benchmark measured is data.
    if (file.name.startsWith('benchmarks/results/')) return undefined;
    if (ENTRIES.test(file.name) || named.has(file.name)) return undefined;
    if (file.name.startsWith('scripts/') || file.name.startsWith('benchmarks/')) {
      // CMake knows a list by its folder.
      const name = file.name.replace(/\/CMakeLists\.txt$/, '');
      return isNamedElsewhere(file, name) ? undefined : 'nothing runs or imports it';
    }
    return isScript(file) ? 'no file imports it' : undefined;
  }

  return files.flatMap((file) => {
    const problem = problemOf(file);
    return problem === undefined ? [] : [{ file: file.name, problem }];
  });
}
