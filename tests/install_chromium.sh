#!/usr/bin/env bash
# Install the browser that the tests of pages use if there is none: root on Debian or Ubuntu. install_chromium.sh
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  command -v "$name" > /dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium > /dev/null
elif [ -n "${CI:-}" ]; then
  echo "tests: a browser is missing: install the package chromium; it is needed in CI, as root" >&2
  exit 1
else
  echo "tests: without chromium the tests of pages in a browser will be skipped" >&2
fi
