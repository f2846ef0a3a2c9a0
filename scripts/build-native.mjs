// Builds the addon and the helper executables with CMake, by cmake-js, and leaves them in build/Release.
//
//   node scripts/build-native.mjs [FOLDER]    with a folder, the addon is copied there, too
//
// Called by `npm run build:native`, and by binding.gyp, so that node-gyp and prebuildify build the same thing.
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ADDON = 'build/Release/rootloom.node';

const require = createRequire(import.meta.url);
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cmakeJs = path.join(path.dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js');
const options = { out: path.join(root, 'build/cmake'), config: 'RelWithDebInfo', generator: 'Ninja' };

execFileSync(
  process.execPath,
  [cmakeJs, 'build', '--directory', root, ...Object.entries(options).flatMap(([k, v]) => [`--${k}`, v])],
  { stdio: 'inherit', cwd: root },
);

const [folder] = process.argv.slice(2);
if (folder !== undefined && path.resolve(folder) !== path.join(root, path.dirname(ADDON))) {
  copyFileSync(path.join(root, ADDON), path.join(folder, path.basename(ADDON)));
}
