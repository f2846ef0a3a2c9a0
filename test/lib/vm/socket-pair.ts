/** Two connected sockets, for the two sides of a protocol. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { makeScratch } from '../../helpers/temporary.js';

export async function makeSocketPair(): Promise<[Socket, Socket]> {
  const server = createServer();
  const file = path.join(await makeScratch(), 'socket');
  await new Promise<void>((resolve) => server.listen(file, resolve));
  const client = connect(file);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  server.close();
  onTestFinished(() => {
    client.destroy();
    accepted.destroy();
  });
  return [client, accepted];
}

export type Request = { execute: string; arguments: Record<string, unknown>; id: string };

/** Plays the other side: calls `answer` with each request; what it returns is sent, as it is. */
export function answerRequests(
  socket: Socket,
  answer: (request: Request) => string | Buffer | undefined,
): void {
  createInterface(socket).on('line', (line) => {
    const reply = answer(JSON.parse(line.slice(line.indexOf('{'))) as Request);
    if (reply !== undefined) socket.write(reply);
  });
}

export function reply(request: Request, value: unknown): string {
  return `${JSON.stringify({ return: value, id: request.id })}\n`;
}

export function refuse(request: Request, desc: string): string {
  return `${JSON.stringify({ error: { class: 'GenericError', desc }, id: request.id })}\n`;
}

export const endError = async (operation: string): Promise<Error> => new Error(`ended: ${operation}`);
