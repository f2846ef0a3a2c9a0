/** Whether disks can be attached to this machine's kernel, and what to do where they cannot. */
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { listIfThere } from '../util/lookup.js';
import type { MachineFinding } from './doctor.js';

const NAME = 'kernel NBD';

/** Of the capability sets in /proc. */
const CAP_SYS_ADMIN = 1n << 21n;

/** All ids of the machine, as the map of the initial user namespace has them. */
const INITIAL_NAMESPACE = /^\s*0\s+0\s+4294967295\s*$/;

function limited(found: string, cost: string): MachineFinding {
  return { name: NAME, state: 'limited', found, cost };
}

const readIfThere = (file: string) => readFile(file, 'utf8').catch(() => '');

async function isInstalled(): Promise<boolean> {
  const folder = `/lib/modules/${release()}`;
  return /\/nbd\.ko/.test(
    (await readIfThere(`${folder}/modules.dep`)) + (await readIfThere(`${folder}/modules.builtin`)),
  );
}

async function mayAttach(): Promise<boolean> {
  const [, digits = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readIfThere('/proc/self/status')) ?? [];
  if ((BigInt(`0x${digits}`) & CAP_SYS_ADMIN) === 0n) return false;
  return INITIAL_NAMESPACE.test(await readIfThere('/proc/self/uid_map'));
}

/** Asks sysfs and changes nothing, and opens no device. */
export async function checkNbd(): Promise<MachineFinding> {
  const devices = (await listIfThere('/sys/block')).filter((name) => /^nbd\d+$/.test(name));
  if (devices.length === 0) {
    return (await isInstalled())
      ? limited('the driver is not loaded', 'no mount and no attach; modprobe nbd nbds_max=64 loads it')
      : limited(
          `Linux ${release()} has no driver installed`,
          'no mount and no attach; all else works without',
        );
  }
  const isUsed = async (name: string) => (await listIfThere(`/sys/block/${name}`)).includes('pid');
  const used = (await Promise.all(devices.map(isUsed))).filter(Boolean).length;
  const found = `${devices.length} devices, ${devices.length - used} of them free`;
  if (!(await mayAttach())) return limited(found, 'mount and attach need CAP_SYS_ADMIN: run them as root');
  if (used < devices.length) return { name: NAME, state: 'ok', found, cost: '' };
  return limited(
    found,
    'mount and attach end with BUSY; rootloom devices tells who has them, nbds_max makes more',
  );
}
