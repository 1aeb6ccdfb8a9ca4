#!/bin/sh
# Installs a Debian package into a copy of this machine's root that forgets everything, upgrades it, and purges it:
# install.sh EMPTY_FOLDER PACKAGE, in a mount namespace of its own. Exit code 77: nothing can be mounted here.
set -eu
folder=$1
mount -t tmpfs none "$folder" || exit 77
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root" || exit 77
mount -t proc proc "$folder/root/proc" || exit 77
mount --bind /dev "$folder/root/dev"
cp "$2" "$folder/root/hostdir.deb"
exec chroot "$folder/root" sh -eux -c '
    test ! -e /etc/hostdir
    dpkg --install /hostdir.deb
    id hostdir
    test ! -e /etc/systemd/system/multi-user.target.wants/hostdir.service
    echo "# an operator was here" >>/etc/hostdir/server.toml
    mkdir -p /var/lib/hostdir /var/log/hostdir
    dpkg --install /hostdir.deb
    tail -n 1 /etc/hostdir/server.toml | grep "an operator was here"
    dpkg --purge hostdir
    test -d /var/lib/hostdir
    test ! -e /var/log/hostdir
    test ! -e /etc/hostdir
'
