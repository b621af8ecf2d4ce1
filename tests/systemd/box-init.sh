#!/bin/bash
# Runs in the new namespaces of a box (box.py): builds its root, and becomes its systemd.
# BOX_ROOT: an empty folder · BOX_DISK: another, on a disk · BOX_BASE: a root of Debian that the box
# begins as, or nothing, and it has this machine's /usr, read-only · BOX_ETC: a folder that is copied
# over /etc, or nothing · BOX_BINDS: "here:there here:there", read-only
set -euo pipefail
mount --make-rprivate /

begin_small() {  # programs of this machine, and little else
    mount -t tmpfs -o mode=755,size=512m box "$BOX_ROOT"
    cd "$BOX_ROOT"
    mkdir -p usr etc var run tmp proc sys dev opt srv root home old
    chmod 700 root
    for name in bin sbin lib lib64; do [ ! -e "/usr/$name" ] || ln -s "usr/$name" "$name"; done
    mount --rbind /usr usr
    mount -o remount,bind,ro usr
    mount --bind "$BOX_DISK" var  # no tmpfs: systemd-creds keeps its key on a disk only
    mkdir -p var/tmp var/lib
    chmod 1777 tmp var/tmp
    ln -sfn ../run var/run
    for name in alternatives ld.so.cache ld.so.conf ld.so.conf.d ssl; do
        [ ! -e "/etc/$name" ] || cp -a "/etc/$name" etc/
    done
    cp -L /etc/os-release etc/os-release
    cat >etc/passwd <<'PASSWD'
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
PASSWD
    printf '%s\n' root:x:0: daemon:x:1: adm:x:4: tty:x:5: utmp:x:43: nogroup:x:65534: \
        systemd-journal:x:102: >etc/group
    printf '%s\n' 'passwd: files systemd' 'group: files systemd' 'hosts: files dns' >etc/nsswitch.conf
    printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >etc/hosts
}

begin_as_base() {  # and what is written stands beside it; its apt reaches what this machine's does
    mkdir "$BOX_DISK/written" "$BOX_DISK/work"
    mount -t overlay box -o "lowerdir=$BOX_BASE,upperdir=$BOX_DISK/written,workdir=$BOX_DISK/work" \
        "$BOX_ROOT"
    cd "$BOX_ROOT"
    mkdir old
    for name in resolv.conf hosts; do rm -f "etc/$name"; cp -L "/etc/$name" etc/; done
    apt-config dump | grep ^Acquire:: >etc/apt/apt.conf.d/box
}

if [ -n "$BOX_BASE" ]; then begin_as_base; else begin_small; fi
mkdir -p var/log/journal
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys  # the kernel's settings are those of the machine
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid,nodev,size=256m tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev,size=256m tmpfs tmp

mount -t tmpfs -o mode=755,nosuid,size=4m tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${number%:*}" "dev/${number#*:}"; done

echo box >etc/hostname
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
mkdir -p etc/systemd/system etc/systemd/journald.conf.d
printf '%s\n' '[Journal]' Storage=persistent RateLimitIntervalSec=0 ForwardToSyslog=no \
    ForwardToConsole=no >etc/systemd/journald.conf.d/box.conf
printf '%s\n' '[Unit]' Requires=sysinit.target 'After=sysinit.target basic.target' \
    Wants=basic.target AllowIsolate=yes >etc/systemd/system/box.target
ln -sf box.target etc/systemd/system/default.target
# Nothing of a boot that touches the machine's kernel, or that no test looks at.
for unit in apt-daily.timer apt-daily-upgrade.timer console-getty.service dev-hugepages.mount \
    dpkg-db-backup.timer e2scrub_all.timer fstrim.timer getty.target kmod-static-nodes.service \
    proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount systemd-ask-password-console.path \
    systemd-ask-password-wall.path systemd-binfmt.service systemd-firstboot.service \
    systemd-initctl.socket systemd-journald-audit.socket systemd-logind.service \
    systemd-machine-id-commit.service systemd-modules-load.service systemd-networkd.service \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-random-seed.service \
    systemd-remount-fs.service systemd-repart.service systemd-sysctl.service \
    systemd-timesyncd.service systemd-tmpfiles-clean.timer systemd-tmpfiles-setup-dev.service \
    systemd-update-utmp.service; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
[ -z "$BOX_ETC" ] || cp -a "$BOX_ETC"/. etc/
for bind in $BOX_BINDS; do
    there=.${bind#*:}
    mkdir -p "$there"
    mount --bind "${bind%%:*}" "$there"
    mount -o remount,bind,ro "$there"
done

hostname box
pivot_root . old
umount -l /old
rmdir /old
mount --make-rshared /  # else the mounts that a helper of LoadCredential= makes are never seen
cd /
exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
    SYSTEMD_LOG_TARGET=journal /lib/systemd/systemd --system
