import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { QmpClient, type QmpEvent } from '../../../lib/vm/qmp.js';
import { answerRequests, endError, makeSocketPair, type Request, refuse, reply } from './socket-pair.js';

const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'Debian' }, capabilities: ['oob'] },
};

type Answer = (request: Request) => string | undefined;

async function connect(answer: Answer): Promise<{ client: QmpClient; version: unknown; qemu: Socket }> {
  const [socket, qemu] = await makeSocketPair();
  qemu.write(`${JSON.stringify(GREETING)}\n`);
  answerRequests(qemu, (request) =>
    request.execute === 'qmp_capabilities' ? reply(request, {}) : answer(request),
  );
  return { ...(await QmpClient.open(socket, endError)), qemu };
}

test('QmpClient.open reads the version from the greeting', async () => {
  const { version } = await connect(() => undefined);
  expect(version).toEqual({ version: '7.2.22', package: 'Debian' });
});

test('QmpClient.execute tells answers apart by id, whatever their order', async () => {
  const held: Request[] = [];
  const { client, qemu } = await connect((request) => {
    held.push(request);
    if (held.length === 2) {
      for (const late of held.reverse()) qemu.write(reply(late, late.arguments));
    }
    return undefined;
  });
  const answers = await Promise.all([client.execute('a', { n: 1 }), client.execute('b', { n: 2 })]);
  expect(answers).toEqual([{ n: 1 }, { n: 2 }]);
});

test("QmpClient.execute gives QEMU's own words when it refuses", async () => {
  const { client } = await connect((request) => refuse(request, 'the disk is locked'));
  await expect(client.execute('cont')).rejects.toMatchObject({
    code: 'VM_FAILED',
    message: expect.stringContaining('the disk is locked'),
    context: { operation: 'run the QMP command cont' },
  });
});

test('QmpClient.execute ends with its signal and its deadline, and drops the late answer', async () => {
  const held: Request[] = [];
  const { client, qemu } = await connect((request) => {
    held.push(request);
    return held.length > 2 ? reply(request, 'in time') : undefined;
  });
  const controller = new AbortController();
  const aborted = client.execute('stop', {}, { signal: controller.signal });
  controller.abort('enough');
  await expect(aborted).rejects.toBe('enough');
  await expect(client.execute('stop', {}, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'VM_FAILED' });
  for (const late of held) qemu.write(reply(late, 'late'));
  await expect(client.execute('cont')).resolves.toBe('in time');
});

test('QmpClient.onEvent tells events until it is ended', async () => {
  const { client, qemu } = await connect((request) => reply(request, {}));
  const events: QmpEvent[] = [];
  const unfollow = client.onEvent((event) => events.push(event));
  qemu.write('{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}\n');
  await client.execute('query-status');
  unfollow();
  qemu.write('{"event":"RESUME"}\n');
  await client.execute('query-status');
  expect(events).toEqual([{ event: 'STOP', data: {} }]);
});

test('QmpClient rejects what is pending and what comes later when QEMU hangs up', async () => {
  const { client, qemu } = await connect(() => undefined);
  const pending = client.execute('migrate');
  qemu.destroy();
  await expect(pending).rejects.toThrow('ended: run the QMP command migrate');
  await client.ended;
  await expect(client.execute('cont')).rejects.toThrow('ended: run the QMP command cont');
});

test('QmpClient.open rejects when QEMU hangs up before its greeting', async () => {
  const [socket, qemu] = await makeSocketPair();
  const opening = QmpClient.open(socket, endError);
  qemu.destroy();
  await expect(opening).rejects.toThrow('ended: read the greeting of QEMU');
});
