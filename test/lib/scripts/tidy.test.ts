/** Each rule of tidy can fail, and the project's own files keep to all of them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkDeadFiles } from '../../../scripts/tidy/dead-files.js';
import { checkDependencies } from '../../../scripts/tidy/dependencies.js';
import { checkImports } from '../../../scripts/tidy/imports.js';
import { LIB_ROOMS, NATIVE_ROOMS } from '../../../scripts/tidy/rooms.js';
import { checkSizes } from '../../../scripts/tidy/sizes.js';
import type { Finding, SourceFile } from '../../../scripts/tidy/source-files.js';
import { checkTests } from '../../../scripts/tidy/tests.js';
import { checkWords } from '../../../scripts/tidy/words.js';

const ROOMS = new Set([...NATIVE_ROOMS, ...LIB_ROOMS].map(({ room }) => room));

function filesOf(texts: Record<string, string>): SourceFile[] {
  return Object.entries(texts).map(([name, text]) => ({ name, text }));
}

function placesOf(findings: readonly Finding[]): string[] {
  return findings.map(({ file }) => file);
}

describe('checkImports', () => {
  function problems(name: string, text: string): string[] {
    return checkImports(filesOf({ [name]: text })).map(({ problem }) => problem);
  }

  it.each([
    ["import { a } from '../cli/main.js';", 'lib/util may not import lib/cli/main.ts'],
    ["import type { A } from '../native/device.js';", 'lib/util may not import lib/native/device.ts'],
    ["export { a } from '../native/device.js';", 'lib/util may not import lib/native/device.ts'],
    ["export * from '../native/device.js';", 'lib/util may not import lib/native/device.ts'],
    ["import '../native/addon.js';", 'lib/util may not import lib/native/addon.ts'],
    ["const a = await import('../native/addon.js');", 'lib/util may not import lib/native/addon.ts'],
    [
      "import {\n  a,\n  b,\n} from\n  '../../test/helpers/x.js';",
      'lib/util may not import test/helpers/x.ts',
    ],
    ["import { Command } from 'commander';", 'only lib/cli may import commander'],
    ["const load = require('node-gyp-build');", 'only lib/native may import node-gyp-build'],
  ])('finds %j in a low room', (text, problem) => {
    expect(problems('lib/util/a.ts', text)).toEqual([problem]);
  });

  it('lets a room import itself, what the table says, packages and builtins', () => {
    const text = "import './b.js';\nimport '../errors.js';\nimport 'node:fs';\nimport 'execa';";
    expect(problems('lib/util/a.ts', text)).toEqual([]);
  });

  it('keeps the command line to the public API', () => {
    expect(problems('lib/cli/commands/ls.ts', "import '../../index.js';\nimport '../output.js';")).toEqual(
      [],
    );
    expect(problems('lib/cli/commands/ls.ts', "import '../../build/phase.js';")).toEqual([
      'lib/cli may not import lib/build/phase.ts',
    ]);
  });

  it('is not misled by names that begin alike', () => {
    expect(problems('lib/util/a.ts', "import '../errors-page.js';")).toHaveLength(1);
    expect(problems('lib/utilities/a.ts', '')).toEqual(['belongs to no room of lib/']);
  });

  it.each([
    [
      'native/util/a.h',
      '#include "native/block/device.h"',
      'native/util may not include native/block/device.h',
    ],
    [
      'native/nbd/a.cc',
      '#include "native/block/overlay_device.h"',
      'native/nbd may not include native/block/overlay_device.h',
    ],
    ['native/chain/a.cc', '#include <ext2fs/ext2fs.h>', 'only native/ext4 may include ext2fs/ext2fs.h'],
    ['native/ext4/a.cc', '  #  include <napi.h>', 'only native/binding may include napi.h'],
    [
      'native/chain/a.cc',
      '#include "../util/status.h"',
      "includes ../util/status.h, give the path from the project's root",
    ],
    ['native/other/a.cc', '', 'belongs to no room of native/'],
  ])('finds what %s may not include', (name, text, problem) => {
    expect(problems(name, text)).toEqual([problem]);
  });

  it('lets native rooms include what the table says', () => {
    expect(problems('native/nbd/a.cc', '#include "native/block/device.h"\n#include <vector>')).toEqual([]);
  });

  it('checks the table that docs/architecture.md shows', () => {
    const table = readFileSync('docs/architecture.md', 'utf8');
    for (const { room, may } of [...NATIVE_ROOMS, ...LIB_ROOMS]) {
      if (room === 'lib/index') continue; // Re-exports only; it has no row.
      const row = new RegExp(`^\\| \`${room}(?:\\.ts)?\` \\| .* \\| (.*) \\|$`, 'm').exec(table);
      const shown = row?.[1]?.replaceAll('`', '') ?? 'nothing';
      if (shown.startsWith('all ')) continue;
      const side = room.replace(/\/.*/, '');
      const rooms = shown
        .split(', ')
        .map((name) => (name.startsWith(side) ? name.replace(/\.ts only$/, '') : `${side}/${name}`));
      // What else is shown are libraries.
      expect(rooms.filter((name) => ROOMS.has(name.replace(/\/[^/]*\.h$/, ''))).sort(), room).toEqual(
        [...may].sort(),
      );
    }
  });
});

describe('checkSizes', () => {
  const body = (lines: number) => '  step();\n'.repeat(lines);

  it('finds files past their limit', () => {
    const line = 'a\n';
    const files = {
      'lib/a.ts': line.repeat(251),
      'lib/b.ts': line.repeat(250),
      'native/a.cc': '  a\n'.repeat(401),
      'native/a.h': '  a\n'.repeat(201),
      'test/lib/a.test.ts': line.repeat(1000),
    };
    expect(placesOf(checkSizes(filesOf(files)))).toEqual(['lib/a.ts', 'native/a.cc', 'native/a.h']);
  });

  it('finds long functions of every kind in TypeScript', () => {
    const long = body(69);
    const files = {
      'lib/a.ts': `function a() {\n${long}}\n`,
      'lib/b.ts': `\nconst b = () => {\n${long}};\n`,
      'lib/c.ts': `class C {\n  c() {\n${long}  }\n}\n`,
      'lib/d.ts': `function d() {\n${body(68)}}\n`,
    };
    expect(placesOf(checkSizes(filesOf(files)))).toEqual(['lib/a.ts:1', 'lib/b.ts:2', 'lib/c.ts:2']);
  });

  it('finds long functions in C++, and takes no namespace or class for one', () => {
    const text = `namespace {\n${body(80)}}  // namespace\n\nclass A {\n${body(80)}};\n\nvoid B(int a,\n    int b) {\n${body(68)}}\n`;
    expect(placesOf(checkSizes([{ name: 'native/a.cc', text }]))).toEqual(['native/a.cc:167']);
    const short = text.replace('  step();\n}\n', '}\n');
    expect(checkSizes([{ name: 'native/a.cc', text: short }])).toEqual([]);
  });
});

describe('checkDeadFiles', () => {
  it('finds C++ sources in no CMakeLists.txt, also when a longer name is listed', () => {
    const files = {
      'native/a/CMakeLists.txt': 'rootloom_room(a\n  SOURCES\n    my_tree.cc\n    sub/used.cc\n)\n',
      'native/a/my_tree.cc': '',
      'native/a/tree.cc': '',
      'native/a/sub/used.cc': '',
    };
    expect(placesOf(checkDeadFiles(filesOf(files)))).toEqual(['native/a/tree.cc']);
  });

  it('finds headers that nobody includes', () => {
    const files = {
      'native/a/CMakeLists.txt': 'rootloom_room(a SOURCES a.cc)',
      'native/a/a.cc': '#include "native/a/used.h"',
      'native/a/used.h': '',
      'native/a/dead.h': '#include "native/a/dead.h"',
    };
    expect(placesOf(checkDeadFiles(filesOf(files)))).toEqual(['native/a/dead.h']);
  });

  it('finds TypeScript that nobody imports, whatever else has its name', () => {
    const files = {
      'lib/index.ts': "export { a } from './util/a.js';",
      'lib/util/a.ts': '',
      'lib/oci/a.ts': '',
      'lib/oci/worker.ts': '',
      'test/lib/a.test.ts': "new URL('../../lib/oci/worker.ts', import.meta.url); import '../helpers/b.js';",
      'test/helpers/b.ts': '',
      'test/helpers/c.ts': '',
    };
    expect(placesOf(checkDeadFiles(filesOf(files)))).toEqual(['lib/oci/a.ts', 'test/helpers/c.ts']);
  });

  it('finds scripts that nothing names', () => {
    const files = {
      'package.json': '"scripts/used"',
      'scripts/used': '',
      'scripts/dead': '',
      'benchmarks/dead.ts': '',
      'benchmarks/suites/resize.ts': '',
    };
    expect(placesOf(checkDeadFiles(filesOf(files)))).toEqual(['scripts/dead', 'benchmarks/dead.ts']);
  });
});

describe('checkTests', () => {
  const listed = {
    'CMakeLists.txt': 'add_subdirectory(test/native)',
    'test/native/CMakeLists.txt': 'add_subdirectory(a)',
    'test/native/a/CMakeLists.txt':
      'rootloom_test(a_test\n  SOURCES a_test.cc helper.cc\n  DEPENDS rootloom_a\n)',
    'test/native/a/a_test.cc': 'TEST(A, B) {}',
    'test/native/a/helper.cc': '',
  };

  it('is content with what runs', () => {
    expect(checkTests(filesOf({ ...listed, 'test/lib/a.test.ts': '' }))).toEqual([]);
  });

  it('finds files that vitest does not look for', () => {
    const files = { 'lib/util/a.test.ts': '', 'test/lib/b.spec.ts': '', 'test/lib/c.test.mjs': '' };
    expect(placesOf(checkTests(filesOf(files)))).toEqual(Object.keys(files));
  });

  it('finds test programs that are built as something else', () => {
    const list = 'add_library(helpers a_test.cc)';
    expect(placesOf(checkTests(filesOf({ ...listed, 'test/native/a/CMakeLists.txt': list })))).toEqual([
      'test/native/a/a_test.cc',
    ]);
  });

  it('finds folders that no list adds', () => {
    expect(placesOf(checkTests(filesOf({ ...listed, 'test/native/CMakeLists.txt': '' })))).toEqual([
      'test/native/a/a_test.cc',
      'test/native/a/helper.cc',
    ]);
  });
});

describe('checkDependencies', () => {
  const whole = {
    'package.json': JSON.stringify({ dependencies: { execa: '1' }, devDependencies: { '@types/node': '1' } }),
    'package-lock.json': JSON.stringify({
      packages: { 'node_modules/execa': { optionalDependencies: { '@a/b': '1' } }, 'node_modules/@a/b': {} },
    }),
    'docs/dependencies.md': '| execa | programs |',
    'lib/a.ts': "import { execa } from 'execa';",
  };
  const check = (changes: Record<string, string>) =>
    checkDependencies(filesOf({ ...whole, ...changes })).map(({ problem }) => problem);

  it('is content with dependencies that are used, explained and locked', () => {
    expect(check({})).toEqual([]);
  });

  it('finds one that lib/ does not import', () => {
    expect(check({ 'lib/a.ts': "import 'execaa';" })).toEqual([
      'depends on execa, which lib/ does not import',
    ]);
  });

  it('finds one without a reason', () => {
    expect(check({ 'docs/dependencies.md': '| execa2 |' })).toEqual([
      'depends on execa, which docs/dependencies.md does not explain',
    ]);
  });

  it('finds holes in the lock file', () => {
    const lock = { packages: { 'node_modules/execa': { optionalDependencies: { '@a/b': '1' } } } };
    expect(check({ 'package-lock.json': JSON.stringify(lock) })).toEqual([
      'has no entry for @a/b, so npm ci fails',
    ]);
  });
});

describe('checkWords', () => {
  // Put together here, or this file would be found.
  it.each([
    ['docs/a.md', `deb https://deb${'.debian.org'}/debian sid main`],
    ['lib/a.ts', `'https://registry${'.npmjs.org'}/execa'`],
    ['scripts/a', `cd ${'/home'}/someone/project`],
    ['lib/a.ts', `// TO${'DO'}: later`],
    ['test/lib/a.test.ts', `it${'.skip'}('does', () => {});`],
    ['test/lib/a.test.ts', `describe.concurrent${'.only'}('all', () => {});`],
    ['test/lib/a.test.ts', `it${'.skipIf'}(true)('does', () => {});`],
    ['test/native/a_test.cc', `TEST(A, DIS${'ABLED_'}B) {}`],
    ['test/native/a_test.cc', `  GTEST${'_SKIP'}();`],
  ])('finds in %s: %s', (name, text) => {
    expect(placesOf(checkWords(filesOf({ [name]: `fine\n${text}` })))).toEqual([`${name}:2`]);
  });

  it('is content with other words', () => {
    const text = 'rootfs/work/a todo-list network/work the home of https://example.org/debian';
    expect(checkWords(filesOf({ 'lib/a.ts': text }))).toEqual([]);
  });
});
