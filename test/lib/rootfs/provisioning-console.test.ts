import { describe, expect, test } from 'vitest';
import { isRootloomError, type RootloomError } from '../../../lib/errors.js';
import {
  DISTRIBUTION_MARKER,
  EXIT_MARKER,
  EXIT_UNSUPPORTED,
  LOG_PREFIX,
} from '../../../lib/rootfs/provisioning/config.js';
import {
  followProvisioning,
  LOG_TAIL_LINES,
  ProvisioningConsole,
} from '../../../lib/rootfs/provisioning/console.js';

async function* streamOf(lines: string[], onEnd: () => void = () => {}): AsyncGenerator<string> {
  try {
    yield* lines;
  } finally {
    onEnd();
  }
}

async function failureOf(lines: string[]): Promise<RootloomError> {
  const failure = await followProvisioning(streamOf(lines)).catch((error: unknown) => error);
  if (!isRootloomError(failure)) throw new Error(`not a RootloomError: ${failure}`);
  return failure;
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

describe('followProvisioning', () => {
  test('reads no further than the exit line, and lets go of the lines', async () => {
    let ended = false;
    const lines = streamOf([`${EXIT_MARKER}0`, 'never read'], () => {
      ended = true;
    });
    const scanner = await followProvisioning(lines);
    expect(scanner.exitCode).toBe(0);
    expect(ended).toBe(true);
  });

  test('rejects with the exit code and the last lines of the script', async () => {
    const printed = Array.from({ length: LOG_TAIL_LINES + 5 }, (_, index) => `line ${index}`);
    const failure = await failureOf([
      ...printed.map((line) => LOG_PREFIX + line),
      'noise',
      `${EXIT_MARKER}100`,
    ]);
    expect(failure.code).toBe('GUEST_FAILED');
    expect(failure.context.exitCode).toBe(100);
    expect(failure.context.logTail).toEqual(printed.slice(-LOG_TAIL_LINES));
  });

  test('rejects when the console ends without an exit code, with its last lines when the script said nothing', async () => {
    const failure = await failureOf(['', 'Kernel panic - not syncing', '']);
    expect(failure.code).toBe('GUEST_FAILED');
    expect(failure.message).toContain('exit code not detected');
    expect(failure.context.exitCode).toBeUndefined();
    expect(failure.context.logTail).toEqual(['Kernel panic - not syncing']);
  });

  test('names the distribution that is not supported', async () => {
    const failure = await failureOf([
      `${LOG_PREFIX}error: unsupported distribution devuan`,
      `${DISTRIBUTION_MARKER}devuan`,
      `${EXIT_MARKER}${EXIT_UNSUPPORTED}`,
    ]);
    expect(failure.code).toBe('UNSUPPORTED_DISTRIBUTION');
    expect(failure.message).toContain('the distribution devuan: it has no systemd');
    expect(failure.context.exitCode).toBe(EXIT_UNSUPPORTED);
  });
});
