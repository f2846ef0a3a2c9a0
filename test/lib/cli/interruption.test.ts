/** Which signal does what to a command; what the process does with them is in output.test.ts. */
import { expect, it } from 'vitest';
import { FORCE_WINDOW_SECONDS, Interruption } from '../../../lib/cli/interruption.js';
import { startChild } from '../../helpers/temporary.js';

const WINDOW_MS = FORCE_WINDOW_SECONDS * 1000;

it('Interruption aborts at the first signal, with its exit code as the reason', () => {
  const interruption = new Interruption();
  expect(interruption.signal.aborted).toBe(false);
  interruption.receive('SIGTERM', 0);
  expect(interruption.signal.reason).toMatchObject({ signalName: 'SIGTERM', exitCode: 143 });
  expect(interruption.isForced).toBe(false);
});

it('Interruption forces a command that holds out at a second signal of any kind, within five seconds', () => {
  const interruption = new Interruption();
  const forced = interruption.holdOut();
  interruption.receive('SIGTERM', 1000);
  expect(forced.aborted).toBe(false);
  interruption.receive('SIGINT', 1000 + WINDOW_MS);
  expect(forced.reason).toMatchObject({ signalName: 'SIGINT', exitCode: 130 });
  expect(interruption.isForced).toBe(true);
});

it('Interruption counts a later signal as the first of two again', () => {
  const interruption = new Interruption();
  const forced = interruption.holdOut();
  interruption.receive('SIGINT', 0);
  interruption.receive('SIGINT', WINDOW_MS + 1);
  interruption.receive('SIGINT', 3 * WINDOW_MS);
  expect(forced.aborted).toBe(false);
  interruption.receive('SIGINT', 3 * WINDOW_MS + 200);
  expect(forced.aborted).toBe(true);
});

it('Interruption gives the same signal to whoever asks to hold out', () => {
  const interruption = new Interruption();
  expect(interruption.holdOut()).toBe(interruption.holdOut());
});

it('Interruption ends a process that was forced at the next signal', async () => {
  const child = startChild(new URL('children/hold-on.ts', import.meta.url), ['hold-out']);
  await child.waitFor('ready');
  child.process.kill('SIGTERM');
  await child.waitFor('aborted: 143');
  child.process.kill('SIGINT');
  await child.waitFor('forced: 130');
  child.process.kill('SIGTERM');
  await child.waitForExit();
  expect(child.process.signalCode).toBe('SIGTERM');
});
