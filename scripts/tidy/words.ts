/** Words that must not stand in the project: hosts of package registries, paths of one machine, leftovers. */
import type { Finding, SourceFile } from './source-files.js';

const BANNED: readonly { pattern: RegExp; problem: string }[] = [
  {
    pattern:
      /\b(registry|deb|security|archive|pypi|proxy)\.(npm|yarn|debian|ubuntu|golang|python)[a-z]*\.(org|com)\b/,
    problem: "names a package registry's host",
  },
  { pattern: /(^|[^A-Za-z0-9_.])\/(work|farm|root)\/[A-Za-z.]/, problem: 'names a path of one machine' },
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/, problem: 'holds a leftover note' },
  { pattern: /\b(it|describe|test)\.(skip|only|todo)\(|GTEST_SKIP/, problem: 'skips tests' },
];

export function checkWords(files: readonly SourceFile[]): Finding[] {
  return files
    .filter(
      ({ name }) => name !== 'scripts/tidy/words.ts' && name !== 'package-lock.json' && name !== 'LICENSE',
    )
    .flatMap(({ name, text }) =>
      text.split('\n').flatMap((line, index) =>
        BANNED.filter(({ pattern }) => pattern.test(line)).map(({ problem }) => ({
          file: `${name}:${index + 1}`,
          problem,
        })),
      ),
    );
}
