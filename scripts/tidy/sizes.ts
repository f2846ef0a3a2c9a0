/** Files that grew past the size at which a second noun should move out. */
import type { Finding, SourceFile } from './source-files.js';

const LIMITS: readonly { pattern: RegExp; lines: number }[] = [
  { pattern: /^(lib|scripts|benchmarks)\/.*\.ts$/, lines: 250 },
  { pattern: /^native\/.*\.(cc|c)$/, lines: 400 },
  { pattern: /^native\/.*\.h$/, lines: 200 },
];

export function checkSizes(files: readonly SourceFile[]): Finding[] {
  return files.flatMap(({ name, text }) => {
    const limit = LIMITS.find(({ pattern }) => pattern.test(name))?.lines;
    const lines = text.split('\n').length - 1;
    if (limit === undefined || lines <= limit) return [];
    return [
      { file: name, problem: `${lines} lines, ${limit} are the limit: move a noun into a file of its own` },
    ];
  });
}
