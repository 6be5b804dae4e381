#!/bin/sh
# Tries install.sh in a bare root: a shell, a handful of tools and a C library, no Python, no package manager, no network.
# The installed agent is started there, and has to say that it listens.
#
# usage: test-install.sh AGENT_BINARY IDENTITY_FOLDER
#
# Needs root, or a kernel that gives ordinary users namespaces; exits 77 if it has neither. Changes nothing on this machine:
# all happens in a temporary folder and in mount, process and network namespaces that end with the script. The root is made
# once of this system's own tools and, if there is a busybox ($BUSYBOX or in the PATH), once of that alone.
set -eu
PATH=$PATH:/usr/sbin:/sbin

if [ "${1-}" != --inside ]; then
    [ $# = 2 ] || { echo "usage: $0 AGENT_BINARY IDENTITY_FOLDER" >&2; exit 2; }
    users=
    [ "$(id -u)" = 0 ] || users="--user --map-root-user"
    # shellcheck disable=SC2086
    unshare $users --mount true 2>/dev/null || { echo "SKIPPED: neither root nor user namespaces" >&2; exit 77; }
    work=$(mktemp -d)
    code=0
    # shellcheck disable=SC2086
    unshare $users --mount --net --pid --fork --kill-child sh "$0" --inside "$1" "$2" "$work" || code=$?
    rm -rf "$work"
    exit $code
fi

shift
agent=$1
identity=$2
work=$3
deploy=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
chroot=$(command -v chroot)
tools="sh basename cat chmod chown cmp cp cut dirname grep id ls mkdir mktemp mv od rm sed sleep tail tr uname"

fail() {
    echo "FAILED: $*" >&2
    [ ! -f "$work/said" ] || sed 's/^/    /' "$work/said" >&2
    exit 1
}

# with_libraries PROGRAM TARGET: a program and what its loader would load, into the root.
with_libraries() {
    mkdir -p "$(dirname "$root$2")"
    cp -L "$1" "$root$2"
    { ldd "$1" 2>/dev/null || :; } | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | while read -r library; do
        [ -e "$root$library" ] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; }
    done
}

make_root() {
    root=$work/$kind
    mkdir -p "$root/bin" "$root/dev" "$root/etc/init.d" "$root/etc/rc2.d" "$root/proc" "$root/run" "$root/tmp" "$root/var/log" "$root/var/run"
    chmod 1777 "$root/tmp"
    printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    if [ "$kind" = busybox ]; then
        with_libraries "$busybox" /bin/busybox
        for tool in $tools; do ln -s busybox "$root/bin/$tool"; done
    else
        for tool in $tools; do with_libraries "$(command -v "$tool")" "/bin/$tool"; done
    fi
    # The loader and libraries of the agent; the agent itself comes with the folder.
    with_libraries "$agent" /bin/agent-libraries
    rm "$root/bin/agent-libraries"
    for device in null urandom; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
}

# What somebody carries to the host on a stick: no modes worth anything.
make_carried() {
    mkdir -p "$root/carried/identity"
    cp "$deploy"/install.sh "$deploy"/rustle-agent.* "$root/carried/"
    cp "$agent" "$root/carried/rustle-agent"
    cp "$identity"/*.pem "$root/carried/identity/"
    sed 's/^#listen = .*/listen = "0.0.0.0:0"/' "$deploy/agent.toml" >"$root/carried/agent.toml"
    chmod -R a+rwX "$root/carried"
}

in_root() { env -i "$chroot" "$root" /bin/sh -c 'PATH=/bin TMPDIR=/tmp; export PATH TMPDIR; exec "$@"' sh "$@"; }

# run CODE ARGS...: install.sh ends with this code.
run() {
    wanted=$1
    shift
    code=0
    in_root sh /carried/install.sh "$@" >"$work/said" 2>&1 || code=$?
    [ "$code" = "$wanted" ] || fail "install.sh $* ended with $code, not $wanted"
}

says() { grep -q -- "$1" "$work/said" || fail "it does not say \`$1\`"; }

# Everything in the root but what is carried: names, modes, owners, times, sizes, inodes.
state_of_root() { (cd "$root" && ls -lanidR --time-style=full-iso etc usr var etc/* etc/*/* etc/*/*/* usr/* usr/*/* usr/*/*/* var/* var/*/* 2>/dev/null | sort -u); }

unchanged_since() { state_of_root | cmp -s - "$work/before" || { state_of_root | diff "$work/before" - >"$work/said" || :; fail "$1 changed something"; }; }

mode() { [ "$(ls -ldn "$root$1" | awk '{ print substr($1, 1, 10), $3, $4 }')" = "$2 0 0" ] || fail "$1 is $(ls -ldn "$root$1")"; }

log_has() { grep -q "$1" "$root/var/log/rustle-agent.log"; }

# Waits until the agent logs this, or has ended, or half a minute is over.
wait_for_log() {
    tries=300
    until log_has "$1"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { cp "$root/var/log/rustle-agent.log" "$work/said"; fail "the agent does not say \`$1\`"; }
        sleep 0.1
    done
}

try_refusals() {
    state_of_root >"$work/before"
    run 2 --no-such-option
    run 2 --purge
    run 3 --from /nowhere
    says "there is no rustle-agent in"
    mv "$root/carried/identity/key.pem" "$root/carried/key.away"
    run 3
    says "has no key.pem"
    cp "$root/carried/identity/cert.pem" "$root/carried/identity/key.pem"
    run 3
    says "the identity in .* cannot be used"
    mv "$root/carried/key.away" "$root/carried/identity/key.pem"
    cp "$root/carried/rustle-agent" "$root/carried/agent.away"
    # Another machine's number in the ELF header: 0x0016 is s390x.
    printf '\000\026' | dd of="$root/carried/rustle-agent" bs=1 seek=18 conv=notrunc 2>/dev/null
    run 3
    says "the program is for s390x and this host is"
    mv "$root/carried/agent.away" "$root/carried/rustle-agent"
    cp "$root/carried/agent.toml" "$root/carried/toml.away"
    echo 'no_such_key = 1' >>"$root/carried/agent.toml"
    run 3
    says "no_such_key"
    mv "$root/carried/toml.away" "$root/carried/agent.toml"
    unchanged_since "a refusal"
}

try_install() {
    run 0
    says "rustle-agent .* is installed"
    says "/etc/init.d/rustle-agent start"
    mode /usr/local/bin/rustle-agent -rwxr-xr-x
    mode /etc/rustle-agent drwxr-xr-x
    mode /etc/rustle-agent/identity drwx------
    mode /etc/rustle-agent/identity/key.pem -rw-------
    mode /etc/rustle-agent/identity/cert.pem -rw-r--r--
    mode /var/lib/rustle-agent drwx------
    [ -z "$(ls -A "$root/tmp")" ] || fail "install.sh left something in /tmp: $(ls -A "$root/tmp")"
    state_of_root >"$work/before"
    run 0
    says "nothing was changed"
    unchanged_since "a second run"
    chmod 0644 "$root/etc/rustle-agent/identity/key.pem"
    run 0
    says "key.pem set: root, 0600"
    mode /etc/rustle-agent/identity/key.pem -rw-------
}

try_agent() {
    in_root /etc/init.d/rustle-agent start >"$work/said" 2>&1 || fail "the agent does not start"
    wait_for_log 'listens'
    in_root /etc/init.d/rustle-agent status >"$work/said" || fail "the agent does not run"
    # An upgrade under a running agent: the file is replaced, the process goes on.
    echo >>"$root/carried/rustle-agent"
    echo '# by hand' >>"$root/etc/rustle-agent/agent.toml"
    run 0
    says "/usr/local/bin/rustle-agent installed"
    grep -q '^# by hand' "$root/etc/rustle-agent/agent.toml" || fail "an agent.toml that was there is overwritten"
    in_root /etc/init.d/rustle-agent status >"$work/said" || fail "the running agent does not survive its upgrade"
    in_root /etc/init.d/rustle-agent restart >"$work/said" 2>&1 || fail "the new agent does not start"
    in_root /etc/init.d/rustle-agent stop >"$work/said" 2>&1 || fail "the agent does not stop"
    log_has ended || fail "the agent did not end by itself"
}

try_uninstall() {
    run 0 --uninstall
    [ ! -e "$root/usr/local/bin/rustle-agent" ] || fail "the program is still there"
    [ -f "$root/etc/rustle-agent/identity/key.pem" ] || fail "the identity is gone without --purge"
    run 0
    run 0 --uninstall --purge
    for place in usr/local/bin/rustle-agent etc/init.d/rustle-agent etc/rustle-agent var/lib/rustle-agent; do
        [ ! -e "$root/$place" ] || fail "/$place is left after --purge"
    done
    run 0 --uninstall --purge
    says "is not installed"
}

try_other_root() {
    mkdir -p "$root/image/lib/systemd" && : >"$root/image/lib/systemd/systemd" && chmod 0755 "$root/image/lib/systemd/systemd"
    run 0 --root /image
    for place in usr/local/bin/rustle-agent etc/rustle-agent/identity/key.pem etc/systemd/system/rustle-agent.service \
        etc/tmpfiles.d/rustle-agent.conf etc/sysctl.d/60-rustle-agent.conf; do
        [ -f "$root/image/$place" ] || fail "--root does not install /$place"
    done
    [ ! -e "$root/etc/rustle-agent" ] || fail "--root DIR installs outside of DIR"
    run 0 --root /image
    says "nothing was changed"
    run 0 --root /image --uninstall --purge
    [ -z "$(find "$root/image" -name '*rustle-agent*')" ] || fail "--uninstall --root leaves something"
}

# A systemd that only takes notes: whether it is told the right things, in the right order, and nothing twice.
try_systemd() {
    mkdir -p "$root/run/systemd/system"
    cat >"$root/bin/systemctl" <<'STUB'
#!/bin/sh
echo "$*" >>/run/told
case $* in
    *is-enabled*) [ -e /run/enabled ] ;;
    *is-active*) [ -e /run/active ] ;;
    *disable*) rm -f /run/enabled /run/active ;;
    *enable*) : >/run/enabled ;;
    *restart*) : >/run/active ;;
esac
STUB
    chmod 0755 "$root/bin/systemctl"
    told() { grep -v '^-q is-' "$root/run/told" | tr '\n' ';'; }
    run 0
    says "service started"
    [ "$(told)" = "daemon-reload;-q enable rustle-agent;restart rustle-agent;" ] || fail "systemd was told: $(told)"
    : >"$root/run/told"
    run 0
    says "nothing was changed"
    [ "$(told)" = "daemon-reload;" ] || fail "systemd was told for nothing: $(told)"
    echo >>"$root/carried/rustle-agent"
    : >"$root/run/told"
    run 0
    [ "$(told)" = "daemon-reload;restart rustle-agent;" ] || fail "after an upgrade systemd was told: $(told)"
    : >"$root/run/told"
    run 0 --uninstall --purge
    [ "$(told)" = "-q disable --now rustle-agent;daemon-reload;" ] || fail "at the end systemd was told: $(told)"
    [ ! -e "$root/etc/systemd/system/rustle-agent.service" ] || fail "the unit is left"
}

busybox=${BUSYBOX:-$(command -v busybox || :)}
for kind in ordinary busybox; do
    [ "$kind" = ordinary ] || [ -n "$busybox" ] || { echo "no busybox here: not tried with it"; continue; }
    make_root
    [ -z "$(find "$root" -xdev -name '*python*' -o -name '*perl*' -o -name 'apt*' -o -name 'dpkg*')" ] || fail "the root is not bare"
    make_carried
    try_refusals
    try_install
    try_agent
    try_uninstall
    try_other_root
    try_systemd
    echo "install.sh works in a bare root of $kind tools"
done
