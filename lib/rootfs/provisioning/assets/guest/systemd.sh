#!/bin/sh
# shellcheck disable=SC2154 # Sourced by provision.sh, which sets what is read here.
# Services under systemd, which is not running yet: systemctl only writes links.

# Work that a short-lived machine is better without, or that waits for what it does not have.
slow_units='
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
  getty@tty1.service man-db.timer motd-news.timer systemd-networkd-wait-online.service systemd-resolved.service
  unattended-upgrades.service'

link_init() {
  for systemd in /usr/lib/systemd/systemd /lib/systemd/systemd ''; do
    [ ! -x "$systemd" ] || break
  done
  [ -n "$systemd" ] || fail 'systemd is not installed'
  [ "$(readlink -f /sbin/init)" = "$(readlink -f "$systemd")" ] || ln -sf "$systemd" /sbin/init
}

# /etc and /var are as new as /usr: otherwise the first boot rebuilds caches that the packages have just built.
mark_updated() {
  touch -r /usr /etc/.updated /var/.updated
}

# A unit that the image wrote itself is wanted.
mask_slow_units() {
  units=
  for unit in $slow_units; do
    if [ -L "/etc/systemd/system/$unit" ] || [ ! -e "/etc/systemd/system/$unit" ]; then units="$units $unit"; fi
  done
  # shellcheck disable=SC2086
  [ -z "$units" ] || systemctl --quiet mask $units
}

configure_init() {
  link_init
  install_tree "$here/systemd"
  systemctl --quiet set-default multi-user.target
  systemctl --quiet enable ssh.service chrony.service systemd-networkd.service "$AGENT_SERVICE.service"
  mask_slow_units
  mark_updated
}
