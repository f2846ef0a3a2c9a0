import { describe, expect, test } from 'vitest';
import { isRootloomError, type RootloomError } from '../../../lib/errors.js';
import {
  DISTRIBUTION_MARKER,
  EXIT_MARKER,
  EXIT_UNSUPPORTED,
  LOG_PREFIX,
} from '../../../lib/rootfs/provisioning/config.js';
import { LOG_TAIL_LINES, ProvisioningConsole } from '../../../lib/rootfs/provisioning/console.js';

function failureOf(lines: string[]): RootloomError {
  const scanner = new ProvisioningConsole();
  for (const line of lines) scanner.accept(line);
  try {
    scanner.throwIfFailed();
  } catch (failure) {
    if (isRootloomError(failure)) return failure;
  }
  throw new Error('the lines are those of no failure');
}

describe('ProvisioningConsole', () => {
  test('forwards the lines of the script alone, and ends at the exit line', () => {
    const log: string[] = [];
    const scanner = new ProvisioningConsole((line) => log.push(line));
    expect(scanner.accept('[    0.0] Linux version\r\n')).toBe(false);
    expect(scanner.accept(`${LOG_PREFIX}one\r`)).toBe(false);
    expect(scanner.accept(`noise ${LOG_PREFIX}two`)).toBe(false);
    expect(scanner.accept(`${LOG_PREFIX}${EXIT_MARKER}7`)).toBe(false);
    expect(scanner.accept(`${DISTRIBUTION_MARKER}debian`)).toBe(false);
    expect(scanner.accept(`${EXIT_MARKER}0\r\n`)).toBe(true);
    expect(scanner.accept(`${EXIT_MARKER}1`)).toBe(true);
    expect(log).toEqual(['one', `${EXIT_MARKER}7`]);
    expect([scanner.exitCode, scanner.distribution]).toEqual([0, 'debian']);
    scanner.throwIfFailed();
  });

  test.each(['', 'x', '-1', '1x', ' 0', '0000'])('takes %j for no exit code', (code) => {
    const scanner = new ProvisioningConsole();
    expect(scanner.accept(`${EXIT_MARKER}${code}`)).toBe(false);
    expect(scanner.exitCode).toBeUndefined();
  });
});

describe('ProvisioningConsole.throwIfFailed', () => {
  test('throws the exit code and the last lines of the script', () => {
    const printed = Array.from({ length: LOG_TAIL_LINES + 5 }, (_, index) => `line ${index}`);
    const failure = failureOf([...printed.map((line) => LOG_PREFIX + line), 'noise', `${EXIT_MARKER}100`]);
    expect(failure.code).toBe('GUEST_FAILED');
    expect(failure.context.exitCode).toBe(100);
    expect(failure.context.logTail).toEqual(printed.slice(-LOG_TAIL_LINES));
  });

  test('throws when the console ends without an exit code, with its last lines when the script said nothing', () => {
    const failure = failureOf(['', 'Kernel panic - not syncing', '']);
    expect(failure.code).toBe('GUEST_FAILED');
    expect(failure.message).toContain('exit code not detected');
    expect(failure.context.exitCode).toBeUndefined();
    expect(failure.context.logTail).toEqual(['Kernel panic - not syncing']);
  });

  test('names the distribution that is not supported', () => {
    const failure = failureOf([
      `${LOG_PREFIX}error: unsupported distribution devuan`,
      `${DISTRIBUTION_MARKER}devuan`,
      `${EXIT_MARKER}${EXIT_UNSUPPORTED}`,
    ]);
    expect(failure.code).toBe('UNSUPPORTED_DISTRIBUTION');
    expect(failure.message).toContain('the distribution devuan: it has no systemd');
    expect(failure.context.exitCode).toBe(EXIT_UNSUPPORTED);
  });
});
