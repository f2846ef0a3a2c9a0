/** Starts a User-Mode Linux whose run directory is below the first argument, and prints "ready" once its command runs. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runInUml } from '../../../kernel/harness/uml.js';

const area = process.argv[2] as string;
process.env.TMPDIR = area;
const results = path.join(area, 'results');
void runInUml({ command: ['sh', '-c', `: >${results}/started; sleep 1000`], results });
while (!existsSync(path.join(results, 'started'))) await sleep(50);
console.log('ready');
