/** Words that must not stand in the project: hosts of package registries, paths of one machine, leftovers, skipped tests. */
import type { Finding, SourceFile } from './source-files.js';

const REGISTRIES = [
  String.raw`registry\.(?:npmjs\.org|yarnpkg\.com)`,
  String.raw`(?:deb|ftp|security|snapshot|archive|ports)\.(?:debian|ubuntu)\.(?:org|com)`,
  String.raw`pypi\.org|files\.pythonhosted\.org|(?:static|index)\.crates\.io|proxy\.golang\.org`,
  String.raw`dl-cdn\.alpinelinux\.org`,
].join('|');

const BANNED: readonly { files?: RegExp; pattern: RegExp; problem: string }[] = [
  { pattern: new RegExp(`\\b(?:${REGISTRIES})\\b`), problem: "names a package registry's host" },
  { pattern: /(^|[^\w.])\/(work|root|home|Users)\/[\w.]/, problem: 'names a path of one machine' },
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/, problem: 'holds a leftover note' },
  {
    files: /^test\//,
    pattern:
      /\b(it|describe|test)(\.\w+)*\.(skip|only|todo|skipIf|runIf|fails)\b|\bcontext\.skip\(|GTEST_SKIP|\bDISABLED_/,
    problem: 'skips tests',
  },
];

/** Third-party texts, and the list of the words itself. */
const EXEMPT = new Set(['scripts/tidy/words.ts', 'package-lock.json', 'LICENSE']);

export function checkWords(files: readonly SourceFile[]): Finding[] {
  return files
    .filter(({ name }) => !EXEMPT.has(name))
    .flatMap(({ name, text }) => {
      const rules = BANNED.filter((rule) => rule.files?.test(name) ?? true);
      return text
        .split('\n')
        .flatMap((line, index) =>
          rules
            .filter(({ pattern }) => pattern.test(line))
            .map(({ problem }) => ({ file: `${name}:${index + 1}`, problem })),
        );
    });
}
