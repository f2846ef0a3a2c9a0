// Builds the addon and the helper executables with CMake, by cmake-js, and leaves them in build/Release.
// Called by `npm run build:native` and by binding.gyp (so that prebuildify and node-gyp build the same thing).
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cmakeJs = path.join(path.dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js');

execFileSync(
  process.execPath,
  [cmakeJs, 'build', '--directory', root, '--out', path.join(root, 'build', 'cmake'), '--config', 'RelWithDebInfo', '--generator', 'Ninja'],
  { stdio: 'inherit', cwd: root },
);
