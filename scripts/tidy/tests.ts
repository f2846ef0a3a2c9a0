/** Tests that exist and do not run. */
import path from 'node:path';
import { type Finding, filesInCMake, type SourceFile } from './source-files.js';

const TEST_COMMANDS = 'rootloom_(?:test|fuzz)';

/** The folders under test/ whose CMakeLists.txt is read, beginning with the ones that the project's own list adds. */
function foldersInBuild(lists: ReadonlyMap<string, SourceFile>): Set<string> {
  const folders = new Set<string>();
  function add(folder: string): void {
    const list = lists.get(path.posix.join(folder, 'CMakeLists.txt'));
    if (list === undefined || folders.has(folder)) return;
    folders.add(folder);
    for (const sub of filesInCMake(list, 'add_subdirectory')) add(path.posix.join(folder, sub));
  }
  add('.');
  return folders;
}

export function checkTests(files: readonly SourceFile[]): Finding[] {
  const lists = new Map(files.map((file) => [file.name, file]));
  const folders = foldersInBuild(lists);

  function problemOf({ name, text }: SourceFile): string | undefined {
    if (/\.(test|spec)\.\w+$/.test(name) && !/^test\/.*\.test\.ts$/.test(name)) {
      return 'is not where vitest looks for tests: name it test/**/*.test.ts';
    }
    if (!/^test\/.*\.cc$/.test(name)) return undefined;
    const folder = path.posix.dirname(name);
    if (!folders.has(folder)) return `no add_subdirectory leads to ${folder}`;
    const list = lists.get(`${folder}/CMakeLists.txt`) as SourceFile;
    if (filesInCMake(list, TEST_COMMANDS).includes(path.posix.basename(name))) return undefined;
    return /\bTEST(_F|_P)?\(/.test(text) ? 'is in no rootloom_test, so ctest does not run it' : undefined;
  }

  return files.flatMap((file) => {
    const problem = problemOf(file);
    return problem === undefined ? [] : [{ file: file.name, problem }];
  });
}
