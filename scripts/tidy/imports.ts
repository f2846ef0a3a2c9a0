/** Checks every import of the product's own files against the table of rooms. */
import { LIB_ROOMS, NATIVE_ROOMS, type RoomRule } from './rooms.js';
import { type Finding, importsOf, resolveImport, type SourceFile } from './source-files.js';

const INCLUDE = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/gm;

function isIn(room: string, file: string): boolean {
  return file === room || file.startsWith(`${room}/`) || file === `${room}.ts`;
}

function allows(rule: RoomRule, target: string): boolean {
  return [rule.room, ...rule.may].some((room) => isIn(room, target));
}

function ownerOf(name: string, rules: readonly RoomRule[]): RoomRule | undefined {
  return rules.find(({ owns }) => owns?.some((pattern) => pattern.test(name)));
}

function checkNative(file: SourceFile): Finding[] {
  const rule = NATIVE_ROOMS.find(({ room }) => isIn(room, file.name));
  if (rule === undefined) return [{ file: file.name, problem: 'belongs to no room of native/' }];
  const problems: string[] = [];
  for (const [, quote, target] of file.text.matchAll(INCLUDE)) {
    if (target === undefined) continue;
    if (quote === '"' && target.startsWith('native/') && !allows(rule, target)) {
      problems.push(`${rule.room} may not include ${target}`);
    }
    if (target.startsWith('.')) problems.push(`includes ${target}, give the path from the project's root`);
    const owner = ownerOf(target, NATIVE_ROOMS);
    if (owner !== undefined && owner !== rule) problems.push(`only ${owner.room} may include ${target}`);
  }
  return problems.map((problem) => ({ file: file.name, problem }));
}

function checkLib(file: SourceFile): Finding[] {
  const rule = LIB_ROOMS.find(({ room }) => isIn(room, file.name));
  if (rule === undefined) return [{ file: file.name, problem: 'belongs to no room of lib/' }];
  const problems: string[] = [];
  for (const target of importsOf(file)) {
    if (target.startsWith('.')) {
      const resolved = resolveImport(file, target);
      if (resolved !== 'package.json' && !allows(rule, resolved))
        problems.push(`${rule.room} may not import ${resolved}`);
      continue;
    }
    const owner = ownerOf(target, LIB_ROOMS);
    if (owner !== undefined && owner !== rule) problems.push(`only ${owner.room} may import ${target}`);
  }
  return problems.map((problem) => ({ file: file.name, problem }));
}

export function checkImports(files: readonly SourceFile[]): Finding[] {
  return files.flatMap((file) => {
    if (file.name.startsWith('native/') && /\.(h|cc|c)$/.test(file.name)) return checkNative(file);
    if (file.name.startsWith('lib/') && file.name.endsWith('.ts')) return checkLib(file);
    return [];
  });
}
