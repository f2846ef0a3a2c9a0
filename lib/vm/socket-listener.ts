/** Waits for one connection: QEMU connects to us, so nobody has to guess when it is ready to be connected to. */
import { createServer, type Server, type Socket } from 'node:net';
import { withSystemErrors } from '../util/system-error.js';

/** A unix socket that takes one connection. Disposing of it before that ends the wait, and removes the socket. */
export class SocketListener implements Disposable {
  /** Resolves with the connection, which is the caller's; stays open for ever when the listener is disposed of first. */
  readonly connection: Promise<Socket>;

  private constructor(
    /** The socket's path. */
    readonly path: string,
    private readonly server: Server,
  ) {
    this.connection = new Promise((resolve) => {
      server.once('connection', (socket) => {
        server.close();
        resolve(socket);
      });
    });
  }

  /** Listens at `path`, in a folder that others cannot enter. Rejects with IO. */
  static async open(path: string): Promise<SocketListener> {
    const server = createServer();
    await withSystemErrors('listen on', path, async () => {
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
    });
    server.removeAllListeners('error').on('error', () => {}); // An accept that fails is a connection that never comes.
    return new SocketListener(path, server);
  }

  [Symbol.dispose](): void {
    this.server.close();
  }
}
