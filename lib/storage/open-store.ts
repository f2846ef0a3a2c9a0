/** From a URL to a store. */
import { FileStore } from './file-store.js';
import { parseStorageUrl } from './storage-url.js';
import type { Store, StoreCallOptions } from './store.js';

/**
 * Opens the store at a URL or folder path (see `parseStorageUrl`), and removes what killed processes left in it. A store that is
 * not there yet is empty, and is made by the first call that writes. One that this user may only read is opened for reading, and
 * nothing is removed from it. The caller closes it.
 *
 * Rejects with TypeError or UNSUPPORTED for the URL, INVALID_ARGUMENT when the path is not a folder, IO, or `signal.reason`.
 */
export async function openStore(url: string, options: StoreCallOptions = {}): Promise<Store> {
  const location = parseStorageUrl(url);
  return FileStore.open(location.path, options);
}
