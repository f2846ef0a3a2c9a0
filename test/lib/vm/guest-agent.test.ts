import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { GuestAgent } from '../../../lib/vm/guest-agent.js';
import { answerRequests, endError, makeSocketPair, type Request, refuse, reply } from './socket-pair.js';

type Answer = (request: Request) => string | Buffer | undefined;

async function connect(answer: Answer): Promise<{ agent: GuestAgent; guest: Socket; requests: Request[] }> {
  const [socket, guest] = await makeSocketPair();
  const requests: Request[] = [];
  answerRequests(guest, (request) => {
    requests.push(request);
    return answer(request);
  });
  return { agent: new GuestAgent(socket, endError), guest, requests };
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

test('GuestAgent.waitUntilReady finds the answer to its sync behind half a message', async () => {
  const { agent, guest } = await connect((request) =>
    Buffer.concat([Buffer.of(0xff), Buffer.from(reply(request, 1))]),
  );
  guest.write('"left over": "from before the snapshot"}\n{"return": {"half": ');
  await agent.waitUntilReady({ timeoutMs: 5_000 });
});

test('GuestAgent.waitUntilReady asks again when an agent was lost', async () => {
  const { agent, requests } = await connect((request) =>
    requests.length > 1 ? reply(request, 1) : undefined,
  );
  await agent.waitUntilReady({ timeoutMs: 20_000 });
  expect(requests).toHaveLength(2);
});

test('GuestAgent.waitUntilReady rejects with GUEST_TIMEOUT when there is no agent', async () => {
  const { agent } = await connect(() => undefined);
  await expect(agent.waitUntilReady({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'GUEST_TIMEOUT' });
});

test('GuestAgent.exec asks until the program has ended, and gives its output', async () => {
  let asked = 0;
  const { agent, requests } = await connect((request) => {
    if (request.execute === 'guest-exec') return reply(request, { pid: 7 });
    asked += 1;
    if (asked < 3) return reply(request, { exited: false });
    return reply(request, {
      exited: true,
      exitcode: 3,
      'out-data': base64('out\0'),
      'err-data': base64('err'),
    });
  });
  const result = await agent.exec(['cat', '-n'], { input: 'in', environment: { A: '1' } });
  expect(result).toEqual({
    exitCode: 3,
    signal: undefined,
    stdout: Buffer.from('out\0'),
    stderr: Buffer.from('err'),
    truncated: false,
  });
  expect(requests[0]?.arguments).toEqual({
    path: 'cat',
    arg: ['-n'],
    'capture-output': true,
    'input-data': base64('in'),
    env: ['A=1'],
  });
  expect(requests[3]?.arguments).toEqual({ pid: 7 });
});

test('GuestAgent.exec tells a signal as a shell does, and output that was cut', async () => {
  const { agent } = await connect((request) =>
    request.execute === 'guest-exec'
      ? reply(request, { pid: 7 })
      : reply(request, { exited: true, signal: 9, 'out-truncated': true }),
  );
  await expect(agent.exec(['sleep'])).resolves.toMatchObject({ exitCode: 137, signal: 9, truncated: true });
});

test('GuestAgent.exec kills the program when it is given up', async () => {
  const { agent, requests } = await connect((request) =>
    reply(request, request.execute === 'guest-exec' ? { pid: 7 } : { exited: false }),
  );
  await expect(agent.exec(['sleep', '9'], { timeoutMs: 50 })).rejects.toMatchObject({
    code: 'GUEST_TIMEOUT',
  });
  await agent.ping(); // What was sent before it has arrived.
  expect(requests.at(-2)?.arguments).toEqual({
    path: '/bin/sh',
    arg: ['-c', 'kill -KILL 7'],
  });
});

test("GuestAgent gives the agent's own words when it refuses", async () => {
  const { agent } = await connect((request) => refuse(request, 'the command is disabled'));
  await expect(agent.freeze()).rejects.toMatchObject({
    code: 'GUEST_FAILED',
    message: expect.stringContaining('the command is disabled'),
  });
});

test('GuestAgent.setTime falls back to whole seconds', async () => {
  const { agent, requests } = await connect((request) => {
    if (request.execute === 'guest-exec') return reply(request, { pid: requests.length });
    return reply(request, { exited: true, exitcode: request.arguments.pid === 1 ? 1 : 0 });
  });
  await agent.setTime(new Date(1_700_000_000_250));
  const commands = requests
    .filter(({ execute }) => execute === 'guest-exec')
    .map((sent) => sent.arguments.arg);
  expect(commands).toEqual([
    ['-u', '-s', '@1700000000.250'],
    ['-u', '-s', '@1700000000'],
  ]);
});

test('GuestAgent.shutdown takes the end of the machine for success, and a failed program for none', async () => {
  const going = await connect(() => undefined);
  const shutdown = going.agent.shutdown();
  going.guest.destroy();
  await shutdown;
  const failing = await connect((request) =>
    request.execute === 'guest-exec'
      ? reply(request, { pid: 1 })
      : reply(request, { exited: true, exitcode: 1, 'err-data': base64('not now\n') }),
  );
  await expect(failing.agent.shutdown()).rejects.toMatchObject({
    code: 'GUEST_FAILED',
    context: { exitCode: 1, logTail: ['not now'] },
  });
});

test('GuestAgent rejects what is pending when the machine ends', async () => {
  const { agent, guest } = await connect(() => undefined);
  const pending = agent.exec(['true']);
  guest.destroy();
  await expect(pending).rejects.toThrow('ended: run guest-exec in the guest');
});
