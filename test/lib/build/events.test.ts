import { expect, test } from 'vitest';
import { type BuildEvent, EventStream } from '../../../lib/build/events.js';

const progress = (step: string, done: number): BuildEvent => ({
  type: 'step',
  phase: 'base',
  step,
  done,
  total: 100,
});
const line = (text: string): BuildEvent => ({ type: 'log', phase: 'base', line: text });
const started: BuildEvent = { type: 'phase-started', phase: 'base', layerHash: 'h' };

async function readAll(stream: EventStream): Promise<BuildEvent[]> {
  const events: BuildEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

test('EventStream gives what was emitted, in order, also to a reader that came late', async () => {
  const stream = new EventStream();
  const events = [started, progress('a', 0), progress('a', 50), line('one'), progress('b', 0)];
  for (const event of events) stream.emit(event);
  stream.end();
  expect(await readAll(stream)).toEqual(events);
});

test('EventStream wakes a reader that waits', async () => {
  const stream = new EventStream();
  const reading = readAll(stream);
  for (const text of ['one', 'two']) {
    await new Promise(setImmediate);
    stream.emit(line(text));
  }
  await new Promise(setImmediate);
  stream.end();
  expect(await reading).toEqual([line('one'), line('two')]);
});

test('EventStream keeps the beginning of a step and the newest of its progress, while the reader is away', async () => {
  const stream = new EventStream();
  stream.emit(progress('a', 0));
  for (let done = 1; done <= 100; done += 1) {
    stream.emit(progress('a', done));
    stream.emit(line(String(done)));
  }
  stream.emit(progress('b', 0));
  stream.emit(progress('b', 7));
  stream.end();
  const events = await readAll(stream);
  expect(events.filter(({ type }) => type === 'step')).toEqual([
    progress('a', 0),
    progress('a', 100),
    progress('b', 0),
    progress('b', 7),
  ]);
  expect(events.filter(({ type }) => type === 'log')).toHaveLength(100);
});

test('EventStream does not put progress in the place of what the reader has taken', async () => {
  const stream = new EventStream();
  const iterator = stream[Symbol.asyncIterator]();
  stream.emit(progress('a', 1));
  expect((await iterator.next()).value).toEqual(progress('a', 1));
  stream.emit(progress('a', 2));
  expect((await iterator.next()).value).toEqual(progress('a', 2));
});

test('EventStream drops the oldest log lines beyond 10,000, and nothing else', async () => {
  const stream = new EventStream();
  stream.emit(started);
  for (let number = 0; number < 25_000; number += 1) stream.emit(line(String(number)));
  stream.end();
  const events = await readAll(stream);
  expect(events).toHaveLength(10_001);
  expect(events[0]).toEqual(started);
  expect(events[1]).toEqual(line('15000'));
  expect(events.at(-1)).toEqual(line('24999'));
});

test('EventStream throws its error after the last event, whatever the error is', async () => {
  for (const error of [new Error('broken'), undefined, 'text']) {
    const stream = new EventStream();
    stream.emit(line('last'));
    stream.fail(error);
    stream.end();
    stream.emit(line('too late'));
    const iterator = stream[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual(line('last'));
    await expect(iterator.next()).rejects.toBe(error);
    expect((await iterator.next()).done).toBe(true);
  }
});

test('EventStream has one reader', () => {
  const stream = new EventStream();
  stream[Symbol.asyncIterator]();
  expect(() => stream[Symbol.asyncIterator]()).toThrow(TypeError);
});

test('EventStream collects nothing after its reader has left', async () => {
  const stream = new EventStream();
  stream.emit(line('one'));
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  await iterator.return?.();
  stream.emit(line('two'));
  stream.end();
  expect((await iterator.next()).done).toBe(true);
});
