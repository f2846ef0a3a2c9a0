/** The first program of a guest: loads the kernel's modules, mounts the disk and hands over to its init. */
import { type CpioEntry, encodeCpio, FILE_MODE, FOLDER_MODE, PROGRAM_MODE } from './cpio.js';
import type { KernelModule } from './kernel-modules.js';

/** On the kernel command line: say so on the console and power off, instead of mounting a disk. */
export const PROBE_ARGUMENT = 'rootloom.probe';

/** The line that a probe boot prints. */
export const PROBE_MARKER = 'rootloom: the guest runs';

/** Before a line about something that keeps the guest from starting. */
export const BOOT_FAILURE_PREFIX = 'rootloom: cannot boot: ';

/** The changes to the disk that the guest drops reach the host as trims; `rw` for there is no later remount without fstab. */
const MOUNT_OPTIONS = 'rw,discard';

/**
 * Runs as process 1. A failure is told on the console, and the machine is stopped: a guest that hangs would be waited for. The
 * device node appears some time after its driver has been loaded.
 */
export const INIT_SCRIPT = `#!/bin/busybox sh
b=/bin/busybox

fail() {
  echo "${BOOT_FAILURE_PREFIX}$1"
  $b poweroff -f
  $b sleep 60
}

$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1

while read -r module; do
  $b insmod "/modules/$module.ko" || echo "rootloom: the module $module was not loaded"
done </modules/order

init=/sbin/init
for argument in $($b cat /proc/cmdline); do
  case $argument in
    init=*) init=\${argument#init=} ;;
    ${PROBE_ARGUMENT})
      echo "${PROBE_MARKER}"
      $b poweroff -f
      $b sleep 60
      ;;
  esac
done

tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do
  $b usleep 50000
  tries=$((tries + 1))
done
[ -b /dev/vda ] || fail "there is no disk"
$b mount -t ext4 -o ${MOUNT_OPTIONS} /dev/vda /root || fail "the disk cannot be mounted"
[ -x "/root$init" ] || [ -L "/root$init" ] || fail "the disk has no program $init"

for folder in dev proc sys; do
  $b mkdir -p "/root/$folder"
  $b mount -o move "/$folder" "/root/$folder"
done
exec $b switch_root /root "$init"
`;

/** Assembles the archive: busybox (a static program), the script above, and the modules with the order to load them. */
export function makeInitramfs(busybox: Buffer, modules: readonly KernelModule[]): Buffer {
  const folders = ['bin', 'dev', 'modules', 'proc', 'root', 'sys'];
  const order = modules.map(({ name }) => `${name}\n`).join('');
  const entries: CpioEntry[] = [
    ...folders.map((path) => ({ path, mode: FOLDER_MODE })),
    { path: 'init', mode: PROGRAM_MODE, content: Buffer.from(INIT_SCRIPT) },
    { path: 'bin/busybox', mode: PROGRAM_MODE, content: busybox },
    { path: 'modules/order', mode: FILE_MODE, content: Buffer.from(order) },
    ...modules.map(({ name, content }) => ({ path: `modules/${name}.ko`, mode: FILE_MODE, content })),
  ];
  return encodeCpio(entries);
}
