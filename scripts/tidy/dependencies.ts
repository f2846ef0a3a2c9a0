/** Dependencies: each is used and explained, and the lock file is whole. */
import { type Finding, importsOf, type SourceFile } from './source-files.js';

interface Package {
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** npm leaves out what a registry does not offer for other platforms, and then refuses its own file in a fresh clone. */
function checkLock(lock: SourceFile): Finding[] {
  const { packages } = JSON.parse(lock.text) as { packages: Record<string, Package> };
  const locked = new Set(Object.keys(packages).map((name) => name.replace(/^.*node_modules\//, '')));
  return Object.values(packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => !locked.has(name))
    .map((name) => ({ file: lock.name, problem: `has no entry for ${name}, so npm ci fails` }));
}

export function checkDependencies(files: readonly SourceFile[]): Finding[] {
  const find = (wanted: string) => files.find(({ name }) => name === wanted);
  const manifest = find('package.json');
  const lock = find('package-lock.json');
  if (manifest === undefined) return [];
  const { dependencies = {}, devDependencies = {} } = JSON.parse(manifest.text) as Package;
  const imported = new Set(
    files.filter(({ name }) => /^lib\/.*\.ts$/.test(name)).flatMap((file) => importsOf(file).map(packageOf)),
  );
  const explained = find('docs/dependencies.md')?.text ?? '';
  const unused = Object.keys(dependencies)
    .filter((name) => !imported.has(name))
    .map((name) => ({ file: manifest.name, problem: `depends on ${name}, which lib/ does not import` }));
  const unexplained = Object.keys({ ...dependencies, ...devDependencies })
    .filter(
      (name) =>
        !name.startsWith('@types/') && !new RegExp(`(^|[\\s,|])${name}([\\s,|]|$)`, 'm').test(explained),
    )
    .map((name) => ({
      file: manifest.name,
      problem: `depends on ${name}, which docs/dependencies.md does not explain`,
    }));
  return [...unused, ...unexplained, ...(lock === undefined ? [] : checkLock(lock))];
}
