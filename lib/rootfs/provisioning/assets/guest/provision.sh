#!/bin/sh
# Makes the root filesystem it runs in bootable with the distribution's own init system, an ssh server, sudo, chrony,
# CA certificates and a guest agent. Installs only what is missing, so a second run needs no network. Every step may
# be repeated: an interrupted run is continued by running again.
#
# Runs as root under the image's own /bin/sh, beside `config` (the options, see config.ts) and its sourced parts.
# Exit codes: 0 done, $EXIT_UNSUPPORTED no such distribution, anything else failed; the last line printed says why.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
ca_bundle_stale=$here/ca-bundle-stale
# shellcheck source=/dev/null
. "$here/config"

say() { printf '%s\n' "$*"; }

fail() {
  say "error: $*"
  exit 1
}

unsupported() {
  say "error: unsupported distribution $*"
  exit "$EXIT_UNSUPPORTED"
}

# has WORD WORDS…: true when WORD is one of the others.
has() {
  wanted=$1
  shift
  for word in "$@"; do
    [ "$word" != "$wanted" ] || return 0
  done
  return 1
}

# The three lists are words of the config, split on purpose.
# shellcheck disable=SC2086
family_of() {
  if has "$1" $DEBIAN_IDS; then
    echo debian
  elif has "$1" $ALPINE_IDS; then
    echo alpine
  fi
}

# os_release KEY: that field of the image's os-release file, empty when it is not set.
os_release() {
  (
    unset "$1"
    # shellcheck source=/dev/null
    . "$os_release_file"
    eval "printf '%s' \"\${$1:-}\""
  )
}

# Sets distribution and family, or ends the script.
detect_distribution() {
  for os_release_file in /etc/os-release /usr/lib/os-release ''; do
    [ ! -r "$os_release_file" ] || break
  done
  [ -n "$os_release_file" ] || unsupported 'unknown: the image has no os-release file'
  distribution=$(os_release ID | tr -cd 'A-Za-z0-9._-')
  distribution=${distribution:-linux}
  printf '%s\n' "$distribution" >"$here/distribution"
  # shellcheck disable=SC2086
  ! has "$distribution" $REJECTED_IDS || unsupported "$distribution"
  family=$(family_of "$distribution")
  [ -z "$family" ] || return 0
  for like in $(os_release ID_LIKE); do
    family=$(family_of "$like")
    [ -n "$family" ] || continue
    say "warning: $distribution is not known, it is provisioned like $like"
    return 0
  done
  unsupported "$distribution"
}

# install_file SOURCE TARGET: puts a file or link in place of whatever file or link is there, in one step.
install_file() {
  [ -L "$2" ] || [ ! -d "$2" ] || fail "cannot replace $2: it is a directory"
  mkdir -p "$(dirname "$2")"
  cp -P -p "$1" "$2.rootloom-new"
  mv -f "$2.rootloom-new" "$2"
}

# install_tree FOLDER: every file below it to the same place below /.
install_tree() {
  paths=$(cd "$1" && find . ! -type d)
  while IFS= read -r path; do
    install_file "$1/${path#./}" "/${path#./}"
  done <<LIST
$paths
LIST
}

# append_line FILE LINE: makes LINE one of FILE's lines.
append_line() {
  grep -qxF -e "$2" "$1" && return 0
  [ -z "$(tail -c 1 "$1")" ] || echo >>"$1"
  printf '%s\n' "$2" >>"$1"
}

configure_root_login() {
  case $ROOT_LOGIN in
    locked) passwd -l root >/dev/null ;;
    empty) passwd -d root >/dev/null ;;
    *) fail "cannot set up root's login: $ROOT_LOGIN is not a way to log in" ;;
  esac
}

# The disk has one filesystem; other lines (tmpfs, say) stay.
configure_fstab() {
  [ -e /etc/fstab ] || : >/etc/fstab
  {
    printf '%s\n' "$ROOT_FSTAB_LINE"
    awk '$2 != "/"' /etc/fstab
  } >/etc/fstab.rootloom-new
  chmod 0644 /etc/fstab.rootloom-new
  mv -f /etc/fstab.rootloom-new /etc/fstab
}

configure_common() {
  [ ! -e /etc/chrony/chrony.conf ] || append_line /etc/chrony/chrony.conf 'confdir /etc/chrony/conf.d'
  configure_root_login
  configure_fstab
  if [ -e "$ca_bundle_stale" ] || [ ! -s /etc/ssl/certs/ca-certificates.crt ]; then
    say 'Writing the CA certificate bundle'
    update-ca-certificates >/dev/null
  fi
}

# Each machine that boots from the disk is a new one. An empty file is filled at boot; a missing one would be the
# first boot of a new installation, which resets every service to its preset.
forget_identity() {
  : >/etc/machine-id
  rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
}

leave_marker() {
  mkdir -p /usr/local/share/rootloom
  # shellcheck disable=SC2154 # The family's part sets init.
  printf '{"version":1,"distribution":"%s","family":"%s","init":"%s","agent":"%s"}\n' \
    "$distribution" "$family" "$init" "$AGENT_SERVICE" >/usr/local/share/rootloom/provisioned.json
}

detect_distribution
say "Provisioning $distribution ($family)"
# shellcheck source=/dev/null # debian.sh or alpine.sh, which sets init to systemd or openrc.
. "$here/$family.sh"
# shellcheck source=/dev/null
. "$here/$init.sh"
cp -P /etc/resolv.conf "$here/resolv.conf"
install_packages
install_file "$here/resolv.conf" /etc/resolv.conf # A resolver's package may have put its own there.
configure_common
configure_init
forget_identity
leave_marker
rm -rf /usr/local/share/rootloom/provisioning
say 'Provisioned'
