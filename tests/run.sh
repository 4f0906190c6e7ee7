#!/usr/bin/env bash
# Passes the tests: sees to what they need, runs every one, sums up.
#
#   tests/run.sh                  everything
#   tests/run.sh --test layers    arguments go to `cargo test`
#
# On Debian and its relatives, as root, missing packages are installed; elsewhere they are named.
# The last line is `N passed, N failed, N skipped`; the exit code is that of `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin"

has() { command -v "$1" >/dev/null 2>&1; }

# What is missing, as Debian's packages. Without the first group no test of the whole can run;
# without the second, the tests that want it say `skipped:`.
needed="" wanted=""
{ has ssh && has ssh-add && has ssh-agent && has ssh-keygen; } || needed="$needed openssh-client"
has sshd || needed="$needed openssh-server"
{ has cc || has gcc || has clang; } || needed="$needed gcc libc6-dev"
has faketime || wanted="$wanted faketime"
{ has systemd-socket-activate && has systemd-analyze; } || wanted="$wanted systemd"
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || wanted="$wanted python3-venv"
missing="$needed$wanted"

# Installs packages, and leaves no server behind that anyone could log in to.
install() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -q -y --no-install-recommends install "$@"
    case " $* " in
    *" openssh-server "*) systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || true ;;
    esac
    if [ -n "$(trap -p EXIT)" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
}

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && has apt-get; then
        echo "installing:$missing" >&2
        # shellcheck disable=SC2086  # a list of words
        install $missing >&2
    else
        echo "missing:$missing" >&2
        echo "  hint: sudo apt-get install$missing   (or what your system calls them)" >&2
        [ -z "$needed" ] || exit 1
        echo "  going on without: some tests will be skipped" >&2
    fi
fi
if ! has cargo; then
    echo "missing: cargo, of Rust 1.95 or newer" >&2
    echo "  hint: https://rustup.rs" >&2
    exit 1
fi
# sshd started by root wants this directory, which only its own service would make.
if [ "$(id -u)" = 0 ]; then mkdir -p -m 755 /run/sshd; fi

# What passing tests print is shown, so that a test that skipped itself is not lost among them.
arguments=("$@")
case " $* " in
*" -- "*) ;;
*) arguments+=(--) ;;
esac
output=$(mktemp)
trap 'rm -f "$output"' EXIT
code=0
cargo test --release --locked --no-fail-fast "${arguments[@]}" --show-output | tee "$output" || code=$?

# A test that skipped itself has passed as far as cargo knows. It is counted once, and not as passed.
awk '
    /^successes:$/ { in_successes = 1 }
    /^failures:$/  { in_successes = 0 }
    /^---- .* stdout ----$/ { counted = 0 }
    /^skipped: / && in_successes && !counted { skipped++; counted = 1 }
    /^test result: / {
        in_successes = 0
        for (n = 2; n <= NF; n++) {
            if ($n == "passed;") passed += $(n - 1)
            if ($n == "failed;") failed += $(n - 1)
            if ($n == "ignored;") ignored += $(n - 1)
        }
    }
    END { printf "\n%d passed, %d failed, %d skipped\n", passed - skipped, failed, skipped + ignored }
' "$output"
exit "$code"
