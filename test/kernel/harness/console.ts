/** What a kernel says on its console when it, or somebody in it, has gone wrong. */

const PROBLEMS: readonly RegExp[] = [
  /^guest: PROBLEM/,
  /\bBUG\b/,
  /\bWARNING:/,
  /\bOops\b/,
  /Kernel panic|general protection|[Ss]egfault|page fault/,
  /Call Trace/,
  /blocked for more than|\bhung task/,
  /\blockdep\b|possible (recursive|circular) locking|held lock freed|sleeping function called/,
  /\bstall(s|ed)? (on|detected)|soft lockup/,
  /refcount_t|use-after-free|list_(add|del) corruption/,
];

/** The console's lines, without colours. */
export function consoleLines(text: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: These are what is to be removed.
  return text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '').split(/\r?\n/);
}

/** Those lines that no run may have. */
export function findProblems(lines: readonly string[]): string[] {
  return lines.filter((line) => PROBLEMS.some((pattern) => pattern.test(line)));
}
