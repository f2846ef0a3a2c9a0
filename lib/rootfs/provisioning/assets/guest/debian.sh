#!/bin/sh
# shellcheck disable=SC2034,SC2154 # Sourced by provision.sh, which sets what is read here and reads what is set.
# Packages of the debian family: apt and dpkg.
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
init=systemd
policy=/usr/sbin/policy-rc.d
policy_kept=$policy.rootloom-kept

# Sets missing to those packages that are not installed and configured. A package that another one provides (a
# transitional name) is not missing either.
find_missing_packages() {
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' |
    sed -n 's/^installed //p' | sed 's/([^)]*)//g; s/,/ /g')
  missing=
  for package in $DEBIAN_PACKAGES $EXTRA_PACKAGES; do
    # shellcheck disable=SC2086
    has "$package" $installed || missing="$missing $package"
  done
  missing=${missing# }
}

# Nothing can be started while packages are installed: no init system is running.
forbid_starts() {
  if [ -e "$policy" ] && [ ! -e "$policy_kept" ]; then
    mv "$policy" "$policy_kept"
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 0755 "$policy"
}

# The image's own policy comes back, unless it is the one of container images, which forbids everything: the disk is
# a machine's now.
allow_starts() {
  rm -f "$policy"
  [ -e "$policy_kept" ] || return 0
  answer=0
  "$policy_kept" rootloom-probe start >/dev/null 2>&1 || answer=$?
  if [ "$answer" -eq 101 ]; then
    rm -f "$policy_kept"
  else
    mv "$policy_kept" "$policy"
  fi
}

# Building the CA bundle starts several programs for each certificate, and the package does it twice while it is
# installed: minutes, in an emulated machine. What packages find on their PATH only notes that it has to be done.
defer_ca_bundle() {
  mkdir -p "$here/bin"
  printf '#!/bin/sh\n: >%s\n' "$ca_bundle_stale" >"$here/bin/update-ca-certificates"
  chmod 0755 "$here/bin/update-ca-certificates"
}

apt() {
  # The disk is synchronized once, at the end; a run that is cut short is not used.
  apt-get -q -y -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o Dpkg::Use-Pty=0 -o Dpkg::Path="$here/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io "$@"
}

install_packages() {
  command -v apt-get >/dev/null || unsupported "$distribution: the image has no apt-get"
  find_missing_packages
  if [ -z "$missing" ] && [ -z "$(dpkg --audit)" ]; then
    say 'Every package is installed'
    return 0
  fi
  forbid_starts
  defer_ca_bundle
  dpkg --configure -a --force-confdef --force-confold
  if [ -n "$missing" ]; then
    say "Installing $missing"
    apt update
    # shellcheck disable=SC2086
    apt install --no-install-recommends $missing
    apt clean
    rm -rf /var/lib/apt/lists/*
  fi
  allow_starts
}
