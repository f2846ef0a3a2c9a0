#!/bin/sh
# shellcheck disable=SC2034,SC2154 # Sourced by provision.sh, which sets what is read here and reads what is set.
# Packages of Alpine: apk.
init=openrc

install_packages() {
  command -v apk >/dev/null || unsupported "$distribution: the image has no apk"
  missing=
  for package in $ALPINE_PACKAGES $EXTRA_PACKAGES; do
    apk info --quiet --installed "$package" || missing="$missing $package"
  done
  missing=${missing# }
  if [ -z "$missing" ]; then
    say 'Every package is installed'
    return 0
  fi
  say "Installing $missing"
  # shellcheck disable=SC2086
  apk add --no-cache --no-progress $missing
}
