/** Checks every import of the product's own files against the table of rooms. */
import path from 'node:path';
import { LIB_ROOMS, NATIVE_ROOMS, type RoomRule } from './rooms.js';
import type { Finding, SourceFile } from './source-files.js';

const INCLUDE = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/gm;
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/g;

function roomOf(file: string, rules: readonly RoomRule[]): RoomRule | undefined {
  return rules.find(({ room }) => file.startsWith(`${room}/`) || file.replace(/\.[a-z]+$/, '') === room);
}

function allows(rule: RoomRule, target: string): boolean {
  return [rule.room, ...rule.may].some(
    (room) => target === room || target.startsWith(`${room}/`) || target.replace(/\.[a-z]+$/, '') === room,
  );
}

function ownerOf(name: string, rules: readonly RoomRule[]): RoomRule | undefined {
  return rules.find(({ owns }) => owns?.some((pattern) => pattern.test(name)));
}

function checkNative(file: SourceFile): Finding[] {
  const rule = roomOf(file.name, NATIVE_ROOMS);
  if (rule === undefined) return [{ file: file.name, problem: 'belongs to no room of native/' }];
  const findings: Finding[] = [];
  for (const [, quote, target] of file.text.matchAll(INCLUDE)) {
    if (target === undefined) continue;
    if (quote === '"' && target.startsWith('native/') && !allows(rule, target)) {
      findings.push({ file: file.name, problem: `${rule.room} may not include ${target}` });
    }
    const owner = ownerOf(target, NATIVE_ROOMS);
    if (owner !== undefined && owner !== rule) {
      findings.push({ file: file.name, problem: `only ${owner.room} may include ${target}` });
    }
  }
  return findings;
}

function checkLib(file: SourceFile): Finding[] {
  const rule = roomOf(file.name, LIB_ROOMS);
  if (rule === undefined) return [{ file: file.name, problem: 'belongs to no room of lib/' }];
  const findings: Finding[] = [];
  for (const match of file.text.matchAll(IMPORT)) {
    const target = match[1] ?? match[2];
    if (target === undefined) continue;
    if (target.startsWith('.')) {
      const resolved = path.posix.join(path.posix.dirname(file.name), target);
      if (!allows(rule, resolved))
        findings.push({ file: file.name, problem: `${rule.room} may not import ${resolved}` });
      continue;
    }
    const owner = ownerOf(target, LIB_ROOMS);
    if (owner !== undefined && owner !== rule) {
      findings.push({ file: file.name, problem: `only ${owner.room} may import ${target}` });
    }
  }
  return findings;
}

export function checkImports(files: readonly SourceFile[]): Finding[] {
  return files.flatMap((file) => {
    if (file.name.startsWith('native/') && /\.(h|cc|c)$/.test(file.name)) return checkNative(file);
    if (file.name.startsWith('lib/') && file.name.endsWith('.ts')) return checkLib(file);
    return [];
  });
}
