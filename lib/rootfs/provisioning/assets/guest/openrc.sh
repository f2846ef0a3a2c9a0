#!/bin/sh
# shellcheck disable=SC2154 # Sourced by provision.sh, which sets what is read here.
# Services under OpenRC.

# enable_service RUNLEVEL SERVICE…: those that are installed; which ones are differs between releases.
enable_services() {
  runlevel=$1
  shift
  for service in "$@"; do
    [ -e "/etc/init.d/$service" ] || continue
    rc-update --quiet add "$service" "$runlevel"
  done
}

configure_init() {
  [ -x /sbin/openrc ] || fail 'OpenRC is not installed'
  for service in sshd chronyd "$AGENT_SERVICE"; do
    [ -e "/etc/init.d/$service" ] || [ -e "$here/openrc/etc/init.d/$service" ] ||
      fail "the service $service is not installed"
  done
  install_tree "$here/openrc"
  [ "$(readlink -f /sbin/init)" = "$(readlink -f /bin/busybox)" ] || ln -sf /bin/busybox /sbin/init
  # Waiting for chronyd to fork twice is the slowest step of such a boot.
  append_line /etc/conf.d/chronyd 'FAST_STARTUP=yes'
  enable_services sysinit devfs dmesg mdev hwdrivers cgroups
  enable_services boot hostname bootmisc sysctl seedrng urandom networking
  enable_services default sshd chronyd "$AGENT_SERVICE"
  enable_services shutdown killprocs savecache mount-ro
}
