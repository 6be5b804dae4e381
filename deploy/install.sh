#!/bin/sh
# Installs rustle-agent and its identity from a folder carried by hand, on a host without network, Python or package
# manager. POSIX sh; busybox is enough. See usage() below, or --help.
#
# Everything is checked before anything is touched, each file is put in place by a rename, and a second run changes
# nothing. Where things go:
#   /usr/local/bin/rustle-agent                 the program
#   /etc/rustle-agent/agent.toml                configuration; kept if it is there
#   /etc/rustle-agent/identity/                 0700: cert.pem, key.pem (0600), ca.pem, crl.pem
#   /var/lib/rustle-agent/                      0700: received files
#   /etc/systemd/system/rustle-agent.service    with systemd; /etc is the administrator's, /usr/lib is the packages'
#   /etc/tmpfiles.d/rustle-agent.conf           with systemd
#   /etc/sysctl.d/60-rustle-agent.conf          where there is /etc/sysctl.d or systemd
#   /etc/init.d/rustle-agent                    with OpenRC or sysv
set -eu
umask 022

# The exit codes; a script may rely on them.
OK=0        # installed, or nothing to do
FAILED=1    # began and could not end; the message says what is left to do, and a second run goes on from there
USAGE=2     # wrong arguments
UNFIT=3     # the folder or the host does not fit; nothing was changed

usage() {
    cat <<'USAGE'
Installs rustle-agent from a folder.

usage: install.sh [--from FOLDER] [--identity FOLDER] [--root DIR] [--no-start]
       install.sh --uninstall [--purge] [--root DIR]

  --from FOLDER      what was carried here; default: the folder of this script. It holds
                       rustle-agent       the program
                       identity/          cert.pem, key.pem, ca.pem, and crl.pem if there is one
                       agent.toml         configuration, if the defaults will not do
  --identity FOLDER  the identity, if it is elsewhere: identities/web1, say
  --root DIR         install into the root file system at DIR; nothing is started
  --no-start         neither enable nor start the service
  --uninstall        stop the agent and remove the program and its service
  --purge            with --uninstall: configuration, identity and received files too
  --help             this text

exit codes: 0 done or nothing to do, 1 began and failed, 2 wrong arguments, 3 folder or host does not fit (nothing changed)
USAGE
}

say() { echo "rustle-agent: $*"; }
warn() { echo "rustle-agent: warning: $*" >&2; }
die() {
    code=$1
    shift
    echo "rustle-agent: error: $*" >&2
    exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------------------------------------------- arguments

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
from=$here
identity=
root=
start=yes
action=install
purge=no

value() { [ $# -ge 2 ] && [ -n "$2" ] || die $USAGE "$1 needs a value (--help tells more)"; }

while [ $# -gt 0 ]; do
    case $1 in
        --from) value "$@"; from=$2; shift ;;
        --identity) value "$@"; identity=$2; shift ;;
        --root) value "$@"; root=$2; shift ;;
        --no-start) start=no ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        -h | --help) usage; exit $OK ;;
        *) usage >&2; die $USAGE "unknown argument \`$1\`" ;;
    esac
    shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || die $USAGE "--purge goes with --uninstall only"
if [ -n "$root" ]; then
    [ -d "$root" ] || die $UNFIT "--root: \`$root\` is not a folder"
    root=$(CDPATH= cd -- "$root" && pwd)
    [ "$root" != / ] || root=
fi
[ -z "$root" ] || start=no
[ -n "$identity" ] || identity=$from/identity

program=$root/usr/local/bin/rustle-agent
etc=$root/etc/rustle-agent
state=$root/var/lib/rustle-agent
unit=$root/etc/systemd/system/rustle-agent.service
tmpfiles=$root/etc/tmpfiles.d/rustle-agent.conf
sysctl=$root/etc/sysctl.d/60-rustle-agent.conf
init=$root/etc/init.d/rustle-agent

# ------------------------------------------------------------------------------------------- what the host is like

# Which service manager the root has: systemd, openrc, sysv or none. That it is installed is not enough to start
# something: a chroot or a container often has a systemd that does not run.
service_manager() {
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        echo systemd
    elif [ -x "$root/lib/systemd/systemd" ] || [ -x "$root/usr/lib/systemd/systemd" ]; then
        echo systemd
    elif [ -x "$root/sbin/openrc-run" ] || [ -x "$root/usr/sbin/openrc-run" ]; then
        echo openrc
    elif [ -d "$root/etc/init.d" ] && { [ -d "$root/etc/rc2.d" ] || [ -d "$root/etc/rc.d" ]; }; then
        echo sysv
    else
        echo none
    fi
}

# Whether that manager is running, so that it can be told to start something.
service_manager_runs() {
    [ -z "$root" ] || return 1
    case $manager in
        systemd) [ -d /run/systemd/system ] && have systemctl ;;
        openrc) [ -d /run/openrc ] && have rc-service ;;
        sysv) [ "$(cat /proc/1/comm 2>/dev/null)" = init ] ;;
        none) false ;;
    esac
}

# What kind of machine an ELF file is for, as uname -m has it; nothing if it cannot be told.
machine_of() {
    have od || return 0
    set -- $(od -An -tx1 -j18 -N2 "$1" 2>/dev/null)
    case ${1-}${2-} in
        3e00) echo x86_64 ;;
        b700) echo aarch64 ;;
        f300) echo riscv64 ;;
        2800) echo armv7l ;;
        0300) echo i686 ;;
        0016) echo s390x ;;
        1500) echo ppc64le ;;
    esac
}

# ------------------------------------------------------------------------- checks; nothing is touched until they pass

check_user() {
    [ "$(id -u)" = 0 ] || die $UNFIT "only root can install the agent (this is user $(id -un)); try: sudo $0"
}

check_program() {
    [ -f "$from/rustle-agent" ] || die $UNFIT "there is no rustle-agent in \`$from\` (--from FOLDER says where it is)"
    # Run from a copy: memory sticks are often mounted noexec, and have no modes.
    cp "$from/rustle-agent" "$stage/rustle-agent" || die $UNFIT "cannot read \`$from/rustle-agent\`"
    chmod 0755 "$stage/rustle-agent"
    if version=$("$stage/rustle-agent" --version 2>"$stage/said"); then
        runs=yes
        return
    fi
    runs=no
    built_for=$(machine_of "$stage/rustle-agent")
    this=$(uname -m)
    if [ -n "$built_for" ] && [ "$built_for" != "$this" ]; then
        [ -z "$root" ] || { version="rustle-agent for $built_for"; warn "the program is for $built_for and cannot be tried on this $this"; return; }
        die $UNFIT "the program is for $built_for and this host is $this: bring a rustle-agent that was built for $this"
    fi
    case $(cat "$stage/said") in
        *ermission\ denied*) die $UNFIT "no program can be run from $stage (mounted noexec?): set TMPDIR to a folder where it can" ;;
        *GLIBC* | *"version \`"*) die $UNFIT "the program needs a newer C library than this host has: bring a static build (target musl). It said: $(cat "$stage/said")" ;;
        *"not found"*) die $UNFIT "the program needs a C library that this host does not have: bring a static build (target musl)" ;;
        *) die $UNFIT "the program does not run on this host: $(cat "$stage/said")" ;;
    esac
}

# The agent itself judges identity and configuration, from a private copy: it is the one that has to accept them.
check_identity() {
    [ -d "$identity" ] || die $UNFIT "there is no identity folder \`$identity\` (--identity FOLDER says where it is)"
    mkdir -m 0700 "$stage/identity"
    for name in cert.pem key.pem ca.pem; do
        [ -f "$identity/$name" ] || die $UNFIT "the identity in \`$identity\` has no $name; \`rustle-exec pki issue agent HOST\` makes a complete one"
    done
    for name in cert.pem key.pem ca.pem crl.pem; do
        [ -f "$identity/$name" ] || continue
        cp "$identity/$name" "$stage/identity/$name" || die $UNFIT "cannot read \`$identity/$name\`"
        grep -q -- '-----BEGIN ' "$stage/identity/$name" || die $UNFIT "\`$identity/$name\` is not a PEM file"
        chmod 0644 "$stage/identity/$name"
    done
    chmod 0600 "$stage/identity/key.pem"
    # A new identity without a revocation list must not make this host forget who has been revoked.
    if [ ! -f "$stage/identity/crl.pem" ] && [ -f "$etc/identity/crl.pem" ]; then
        cp "$etc/identity/crl.pem" "$stage/identity/crl.pem"
        chmod 0644 "$stage/identity/crl.pem"
    fi
    [ "$runs" = yes ] || return 0
    echo "identity = \"$stage/identity\"" >"$stage/check.toml"
    said=$("$stage/rustle-agent" --config "$stage/check.toml" --check-config 2>&1) ||
        die $UNFIT "the identity in \`$identity\` cannot be used: $(echo "$said" | sed "s|$stage/identity|$identity|g; s/^error: //")"
}

check_config() {
    if [ -f "$etc/agent.toml" ]; then
        config=$etc/agent.toml
    elif [ -f "$from/agent.toml" ]; then
        config=$from/agent.toml
    elif [ -f "$here/agent.toml" ]; then
        config=$here/agent.toml
    else
        echo 'identity = "/etc/rustle-agent/identity"' >"$stage/agent.toml"
        config=$stage/agent.toml
    fi
    [ "$runs" = yes ] || return 0
    # The identity was judged above and is not in its place yet.
    sed "s|^identity[[:space:]]*=.*|identity = \"$stage/identity\"|" "$config" >"$stage/check.toml"
    said=$("$stage/rustle-agent" --config "$stage/check.toml" --check-config 2>&1) ||
        die $UNFIT "\`$config\` cannot be used: $(echo "$said" | sed "s|$stage/check.toml|$config|g; s/^error: //")"
}

# Files of the service come with this script.
check_service_files() {
    case $manager in
        systemd) needed="rustle-agent.service rustle-agent.tmpfiles" ;;
        openrc) needed=rustle-agent.openrc ;;
        sysv) needed=rustle-agent.init ;;
        none) needed= ;;
    esac
    for name in $needed; do
        [ -f "$here/$name" ] || die $UNFIT "there is no $name beside this script: carry the whole folder"
    done
}

# A link or a file where a folder of ours should be is somebody else's doing: leave it alone and say so.
check_places() {
    for place in "$etc" "$etc/identity" "$state"; do
        [ ! -h "$place" ] || die $UNFIT "\`$place\` is a symbolic link; remove it, or install with --root"
        [ ! -e "$place" ] || [ -d "$place" ] || die $UNFIT "\`$place\` is there and is not a folder"
    done
}

# ------------------------------------------------------------------------------------ changes, each one told once

changed=no
restart=no

did() {
    changed=yes
    say "$@"
}

# mode_and_owner PATH: `drwx------ 0:0`
mode_and_owner() {
    set -- $(ls -ldn "$1")
    echo "$(echo "$1" | cut -c1-10) $3:$4"
}

# attributes PATH MODE LETTERS: gives a path to root with this mode, if it is not so.
attributes() {
    [ "$(mode_and_owner "$1")" != "$3 0:0" ] || return 0
    chown 0:0 "$1" && chmod "$2" "$1" || die $FAILED "cannot set owner and mode of \`$1\`"
    did "owner and mode of $1 set: root, $2"
}

# folder PATH MODE LETTERS
folder() {
    if [ ! -d "$1" ]; then
        mkdir -p "$(dirname "$1")" && (umask 077 && mkdir "$1") || die $FAILED "cannot make \`$1\`"
        chown 0:0 "$1" && chmod "$2" "$1" || die $FAILED "cannot set owner and mode of \`$1\`"
        did "$1 made"
        return
    fi
    attributes "$1" "$2" "$3"
}

# put SOURCE TARGET MODE LETTERS: the whole file or the old one, never half of one. A running program goes on with the
# file it was started from.
put() {
    if [ -f "$2" ] && [ ! -h "$2" ] && cmp -s "$1" "$2"; then
        attributes "$2" "$3" "$4"
        return 0
    fi
    [ ! -d "$2" ] || die $FAILED "\`$2\` is a folder"
    mkdir -p "$(dirname "$2")" || die $FAILED "cannot make \`$(dirname "$2")\`"
    new=$(dirname "$2")/.$(basename "$2").new
    rm -f "$new"
    (umask 077 && cp "$1" "$new") && chown 0:0 "$new" && chmod "$3" "$new" && mv -f "$new" "$2" ||
        { rm -f "$new"; die $FAILED "cannot write \`$2\`; what was there is as it was"; }
    if have restorecon; then restorecon "$2" 2>/dev/null || :; fi
    did "$2 installed"
    restart=yes
}

install_identity() {
    folder "$etc/identity" 0700 drwx------
    # The key last: until then the old pair works, or the agent says that key and certificate do not fit.
    for name in ca.pem crl.pem cert.pem; do
        [ ! -f "$stage/identity/$name" ] || put "$stage/identity/$name" "$etc/identity/$name" 0644 -rw-r--r--
    done
    put "$stage/identity/key.pem" "$etc/identity/key.pem" 0600 -rw-------
}

install_config() {
    if [ ! -f "$etc/agent.toml" ]; then
        put "$config" "$etc/agent.toml" 0644 -rw-r--r--
    elif [ -f "$from/agent.toml" ] && [ "$from" != "$here" ] && ! cmp -s "$from/agent.toml" "$etc/agent.toml"; then
        say "$etc/agent.toml is kept; the one in $from differs"
    fi
}

install_service() {
    case $manager in
        systemd) put "$here/rustle-agent.service" "$unit" 0644 -rw-r--r-- ;;
        openrc) put "$here/rustle-agent.openrc" "$init" 0755 -rwxr-xr-x ;;
        sysv) put "$here/rustle-agent.init" "$init" 0755 -rwxr-xr-x ;;
        none) ;;
    esac
}

# What the system around the agent is told. The agent itself need not be restarted for it.
install_settings() {
    agent_restart=$restart
    if [ "$manager" = systemd ]; then
        put "$here/rustle-agent.tmpfiles" "$tmpfiles" 0644 -rw-r--r--
    fi
    if [ -f "$here/rustle-agent.sysctl" ] && { [ "$manager" = systemd ] || [ -d "$root/etc/sysctl.d" ]; }; then
        restart=no
        put "$here/rustle-agent.sysctl" "$sysctl" 0644 -rw-r--r--
        # Not worth failing for: in a container the host's limits hold, and the agent says if they are low.
        if [ "$restart" = yes ] && [ -z "$root" ]; then
            sysctl -q -p "$sysctl" >/dev/null 2>&1 || warn "the limits in $sysctl take effect at the next boot"
        fi
    fi
    restart=$agent_restart
}

# --------------------------------------------------------------------------------------------------- the service

start_systemd() {
    # systemd says itself whether it read an older unit than the one that is there.
    systemctl daemon-reload || die $FAILED "systemd does not reload its units"
    systemctl -q is-enabled rustle-agent 2>/dev/null || {
        systemctl -q enable rustle-agent || die $FAILED "the service cannot be enabled"
        did "service enabled"
    }
    if systemctl -q is-active rustle-agent && [ "$restart" = no ]; then return; fi
    # Not `start`: a running agent is to take what was just installed. It drains first.
    systemctl restart rustle-agent || die $FAILED "the service does not start; \`journalctl -u rustle-agent -n 20\` says why"
    did "service started"
}

start_openrc() {
    rc-update show default 2>/dev/null | grep -q rustle-agent || {
        rc-update -q add rustle-agent default || die $FAILED "the service cannot be enabled"
        did "service enabled"
    }
    if rc-service -q rustle-agent status >/dev/null 2>&1 && [ "$restart" = no ]; then return; fi
    rc-service rustle-agent restart || die $FAILED "the service does not start; /var/log/rustle-agent.log says why"
    did "service started"
}

start_sysv() {
    if have update-rc.d; then update-rc.d rustle-agent defaults >/dev/null || warn "the service will not start at boot"
    elif have chkconfig; then chkconfig --add rustle-agent || warn "the service will not start at boot"
    else warn "link $init into your runlevels to start it at boot"; fi
    if "$init" status >/dev/null 2>&1 && [ "$restart" = no ]; then return; fi
    "$init" restart || die $FAILED "the service does not start"
    did "service started"
}

start_service() {
    if [ "$start" = yes ] && service_manager_runs; then
        "start_$manager"
    elif [ -z "$root" ] && [ "$changed" = yes ]; then
        say "no service was started. To start the agent:"
        case $manager in
            systemd) echo "    systemctl enable --now rustle-agent" ;;
            openrc) echo "    rc-update add rustle-agent default && rc-service rustle-agent start" ;;
            sysv) echo "    $init start" ;;
            none) echo "    STATE_DIRECTORY=$state $program --config $etc/agent.toml" ;;
        esac
    elif [ "$changed" = yes ] && [ "$manager" = systemd ]; then
        say "to start the agent at boot: systemctl --root $root enable rustle-agent"
    fi
}

# ----------------------------------------------------------------------------------------------------- the actions

install_agent() {
    check_user
    manager=$(service_manager)
    # Private from the first moment: a key lies in it for a while.
    stage=$(umask 077 && mktemp -d "${TMPDIR:-/tmp}/rustle-install.XXXXXX") || die $UNFIT "cannot make a temporary folder"
    trap 'rm -rf "$stage"' EXIT
    trap 'exit $FAILED' HUP INT TERM
    check_program
    check_places
    check_identity
    check_config
    check_service_files

    put "$stage/rustle-agent" "$program" 0755 -rwxr-xr-x
    folder "$etc" 0755 drwxr-xr-x
    install_identity
    install_config
    folder "$state" 0700 drwx------
    install_service
    install_settings
    start_service
    if [ "$changed" = yes ]; then
        say "$version is installed"
    else
        say "$version is installed already; nothing was changed"
    fi
}

# gone PATH: removes a file or, with -r, a folder.
gone() {
    if [ "$1" = -r ]; then
        [ -e "$2" ] || [ -h "$2" ] || return 0
        rm -rf "$2" || die $FAILED "cannot remove \`$2\`"
        did "$2 removed"
    elif [ -e "$1" ] || [ -h "$1" ]; then
        rm -f "$1" || die $FAILED "cannot remove \`$1\`"
        did "$1 removed"
    fi
}

stop_service() {
    case $manager in
        systemd) [ ! -f "$unit" ] || systemctl -q disable --now rustle-agent || die $FAILED "the service cannot be stopped" ;;
        openrc) [ ! -f "$init" ] || { rc-service -q rustle-agent stop; rc-update -q del rustle-agent default; } || : ;;
        sysv)
            [ ! -f "$init" ] || "$init" stop || die $FAILED "the service cannot be stopped"
            if have chkconfig; then chkconfig --del rustle-agent 2>/dev/null || :; fi
            ;;
    esac
}

uninstall_agent() {
    check_user
    manager=$(service_manager)
    if service_manager_runs; then stop_service; fi
    gone "$unit"
    gone "$tmpfiles"
    gone "$sysctl"
    gone "$init"
    gone "$program"
    [ "$manager" != systemd ] || ! service_manager_runs || systemctl daemon-reload
    [ "$manager" != sysv ] || ! have update-rc.d || [ -n "$root" ] || update-rc.d rustle-agent remove >/dev/null 2>&1 || :
    if [ "$purge" = yes ]; then
        gone -r "$etc"
        gone -r "$state"
    fi
    if [ "$changed" = no ]; then
        say "is not installed; nothing was changed"
    elif [ "$purge" = no ]; then
        say "removed; identity and configuration in $etc and received files in $state are kept (--purge removes them)"
    else
        say "removed with everything it had"
    fi
}

"${action}_agent"
