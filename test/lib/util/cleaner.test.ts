import { expect, test } from 'vitest';
import { RootloomError } from '../../../lib/errors.js';
import { Cleaner, withCleaner } from '../../../lib/util/cleaner.js';

const hang = () => new Promise<void>(() => {});

test('Cleaner runs its steps once, last added first', async () => {
  const order: string[] = [];
  const cleaner = new Cleaner('the test');
  cleaner.defer('a', () => void order.push('a'));
  cleaner.use('b', { [Symbol.dispose]: () => void order.push('b') });
  cleaner.use('c', { [Symbol.asyncDispose]: async () => void order.push('c') });
  await Promise.all([cleaner.run(), cleaner.run()]);
  await cleaner[Symbol.asyncDispose]();
  expect(order).toEqual(['c', 'b', 'a']);
});

test('Cleaner gives all errors together, and runs the steps after a failed one', async () => {
  const order: string[] = [];
  const cleaner = new Cleaner('the build');
  const first = new Error('first');
  const second = new Error('second');
  cleaner.defer('the disk', () => Promise.reject(first));
  cleaner.defer('the socket', () => void order.push('the socket'));
  cleaner.defer('the export', () => {
    throw second;
  });
  const error = await cleaner.run().catch((error) => error);
  expect(error).toBeInstanceOf(RootloomError);
  expect(error.code).toBe('CLEANUP_FAILED');
  expect(error.message).toBe(
    'Cannot clean up the build: Cannot release the export: second; Cannot release the disk: first',
  );
  expect(error.context.errors.map((each: RootloomError) => each.context.operation)).toEqual([
    'release the export',
    'release the disk',
  ]);
  expect(error.context.errors.map((each: RootloomError) => each.cause)).toEqual([second, first]);
  expect(order).toEqual(['the socket']);
});

test('Cleaner gives up a hanging step by name, after its signal, and within one deadline', async () => {
  const seen: string[] = [];
  const cleaner = new Cleaner('the build', { timeoutMs: 300 });
  cleaner.defer('the last', () => void seen.push('the last'));
  cleaner.defer('the polite', (signal) => {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  cleaner.defer('the hanging', hang);
  const start = performance.now();
  const error = await cleaner.run().catch((error) => error);
  expect(performance.now() - start).toBeLessThan(5000);
  expect(seen).toEqual(['the last']);
  expect(error.context.errors.map((each: RootloomError) => each.context.operation)).toEqual([
    'release the hanging',
    'release the polite',
  ]);
});

test('Cleaner gives the time that quick steps leave to slow ones', async () => {
  const cleaner = new Cleaner('the build', { timeoutMs: 2000 });
  cleaner.defer('the slow', () => new Promise((resolve) => setTimeout(resolve, 700)));
  for (let i = 0; i < 9; i += 1) cleaner.defer(`quick ${i}`, () => {});
  await cleaner.run(); // An even share would be 200 ms.
});

test('Cleaner runs a step at once that is added while or after it ran', async () => {
  const order: string[] = [];
  const late: RootloomError[] = [];
  const cleaner = new Cleaner('the build', { onLateError: (error) => late.push(error) });
  cleaner.defer('a', () => void order.push('a'));
  cleaner.defer('b', () => cleaner.defer('added', () => void order.push('added')));
  await cleaner.run();
  expect(order).toEqual(['added', 'a']);
  cleaner.defer('late', () => {
    order.push('late');
    throw new Error('too bad');
  });
  expect(order).toEqual(['added', 'a', 'late']);
  await expect(cleaner.run()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
  expect(late.map((error) => error.code)).toEqual(['CLEANUP_FAILED']);
});

test('Cleaner.release runs one step now, Cleaner.dismiss none, Cleaner.move hands all over', async () => {
  const order: string[] = [];
  const cleaner = new Cleaner('the build');
  const a = () => void order.push('a');
  const b = cleaner.use('b', { [Symbol.asyncDispose]: async () => void order.push('b') });
  cleaner.defer('a', a);
  cleaner.defer('c', () => void order.push('c'));
  await cleaner.release(b);
  expect(order).toEqual(['b']);
  cleaner.dismiss(a);
  expect(() => cleaner.dismiss(a)).toThrow(TypeError);
  const heir = cleaner.move('the result');
  await cleaner.run();
  expect(order).toEqual(['b']);
  await heir.run();
  expect(order).toEqual(['b', 'c']);
});

test('Cleaner.release rejects with what the step threw', async () => {
  const cleaner = new Cleaner('the build');
  const reason = new Error('no');
  const step = () => Promise.reject(reason);
  cleaner.defer('a', step);
  await expect(cleaner.release(step)).rejects.toBe(reason);
  await cleaner.run();
});

test('Cleaner.runAfter rejects with the error of the operation, or with both', async () => {
  const reason = new Error('the operation');
  await expect(new Cleaner('the build').runAfter(reason)).rejects.toBe(reason);
  const cleaner = new Cleaner('the build');
  cleaner.defer('a', () => Promise.reject(new Error('too')));
  await expect(cleaner.runAfter(reason)).rejects.toMatchObject({ code: 'CLEANUP_FAILED', cause: reason });
});

test('withCleaner releases what its body has collected, and passes on what came of it', async () => {
  const released: string[] = [];
  const collect = (cleaner: Cleaner) => {
    cleaner.defer('one', () => void released.push('one'));
    cleaner.defer('two', () => void released.push('two'));
  };
  const value = await withCleaner('the work', async (cleaner) => {
    collect(cleaner);
    return 'value';
  });
  expect(value).toBe('value');
  const error = new Error('the body');
  const failing = withCleaner('the work', async (cleaner) => {
    collect(cleaner);
    throw error;
  });
  await expect(failing).rejects.toBe(error);
  expect(released).toEqual(['two', 'one', 'two', 'one']);
});

test('withCleaner reports what could not be released, and does not hide the error before it', async () => {
  const broken = (cleaner: Cleaner) =>
    cleaner.defer('it', () => {
      throw new Error('stuck');
    });
  const succeeding = withCleaner('the work', async (cleaner) => broken(cleaner));
  await expect(succeeding).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
  const error = new Error('the body');
  const failing = withCleaner('the work', async (cleaner) => {
    broken(cleaner);
    throw error;
  });
  await expect(failing).rejects.toMatchObject({ code: 'CLEANUP_FAILED', cause: error });
});
