/** Source files that nothing builds, imports or runs. */
import path from 'node:path';
import type { Finding, SourceFile } from './source-files.js';

/** Files that people or tools start by name. */
const ENTRIES =
  /^(lib\/(index|cli\/main)\.ts|scripts\/[^/]+\.ts|scripts\/tidy\.ts|benchmarks\/[^/]+\.ts|vitest\.config\.ts|test\/.*\.test\.ts)$/;

function isListedInCMake(file: SourceFile, files: readonly SourceFile[]): boolean {
  let folder = path.posix.dirname(file.name);
  for (;;) {
    const list = files.find(({ name }) => name === `${folder}/CMakeLists.txt`);
    if (list !== undefined) return list.text.includes(path.posix.relative(folder, file.name));
    if (folder === '.') return false;
    folder = path.posix.dirname(folder);
  }
}

export function checkDeadFiles(files: readonly SourceFile[]): Finding[] {
  const scripts = files.filter(({ name }) => /\.(ts|mjs)$/.test(name));
  return files.flatMap((file) => {
    if (/\.(cc|c)$/.test(file.name) && !isListedInCMake(file, files)) {
      return [{ file: file.name, problem: 'is in no CMakeLists.txt, so nothing builds it' }];
    }
    if (/\.h$/.test(file.name) && file.name.startsWith('native/')) {
      const used = files.some(({ name, text }) => name !== file.name && text.includes(`"${file.name}"`));
      if (!used) return [{ file: file.name, problem: 'no file includes it' }];
    }
    if (file.name.endsWith('.ts') && !ENTRIES.test(file.name)) {
      const base = path.posix.basename(file.name, '.ts');
      const used = scripts.some(
        ({ name, text }) => name !== file.name && new RegExp(`/${base}\\.(js|ts)['"]`).test(text),
      );
      if (!used) return [{ file: file.name, problem: 'no file imports it' }];
    }
    return [];
  });
}
