#!/bin/sh
# Installs parts of the system, where it may: `scripts/system-parts.sh chromium mariadb` for tests, `venv` for Python's own.
# Where it may not, it says so and ends well: make says what is missing, pytest which tests were not run.
set -u

has() { command -v "$1" >/dev/null 2>&1; }
say() { echo "system parts: $*" >&2; }

has_chromium() {
    has chromium || has chromium-browser || has google-chrome ||
        [ -x "/Applications/Chromium.app/Contents/MacOS/Chromium" ] ||
        [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}

has_mariadb() {
    has mariadbd || [ -x /usr/sbin/mariadbd ]
}

# install DEBIAN_PACKAGES BREW_PACKAGE [BREW_KIND]
install() {
    if has apt-get; then
        if [ "$(id -u)" = 0 ]; then
            as_root=""
        elif has sudo && sudo -n true 2>/dev/null; then
            as_root="sudo -n"
        else
            say "$1 is missing, and installing it needs root: apt-get install $1"
            return
        fi
        say "installing $1 with apt-get"
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null ||
            say "apt-get update failed; trying with the lists at hand"
        # shellcheck disable=SC2086 # several packages may be named
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 >/dev/null ||
            say "$1 could not be installed"
    elif [ -n "$2" ] && has brew; then
        say "installing $2 with brew"
        brew install "${3:---cask}" "$2" || say "$2 could not be installed"
    else
        say "$1 is missing, and neither apt-get nor brew is here to install it"
    fi
}

for part in "$@"; do
    case "$part" in
        chromium) has_chromium || install chromium chromium ;;
        # the programs alone: no service is set up or started, each test run starts a server of its own
        mariadb) has_mariadb || install "mariadb-server-core mariadb-client-core" mariadb --formula ;;
        venv) install python3-venv "" ;;
        *) say "unknown part: $part"; exit 2 ;;
    esac
done
exit 0
